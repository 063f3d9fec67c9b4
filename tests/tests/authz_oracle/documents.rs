//! Documents of YAML.

use std::sync::Arc;

use mesh_core::policy::diagnostic::Report;
use mesh_core::policy::source::{Node, Sources, parse};

/// The documents of a text.
pub(crate) fn documents(text: &str) -> Vec<Node> {
    let (mut sources, mut report) = (Sources::new(), Report::new());
    let file = sources.add("golden", text);
    let documents = parse(&sources, file, &mut report);
    documents
        .into_iter()
        .map(|document| Arc::unwrap_or_clone(document.root))
        .collect()
}

pub(crate) fn at<'n>(node: &'n Node, path: &[&str]) -> Option<&'n Node> {
    path.iter().try_fold(node, |node, name| node.get(name))
}

pub(crate) fn text<'n>(node: &'n Node, path: &[&str]) -> Option<&'n str> {
    at(node, path).and_then(Node::as_text)
}

pub(crate) fn items<'n>(node: &'n Node, path: &[&str]) -> &'n [Node] {
    at(node, path).map_or(&[], Node::items)
}
