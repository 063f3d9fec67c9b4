//! What `docs/cli.md` shows is what the command prints.

use std::path::Path;
use std::process::Command;

use crate::mesh::Folder;

/// The blocks of a language, without their fences.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    let bodies = text.split(&fence).skip(1);
    bodies.map(|rest| rest.split_once("```").unwrap().0).collect()
}

/// What a shell prints for a line, remarks included.
fn shell(line: &str, directory: &Path) -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_mesh")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-c", &format!("{line} 2>&1")])
        .current_dir(directory)
        .env("PATH", path)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_example_of_the_reference_prints_what_it_shows() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli.md")).unwrap();
    let folder = Folder::new(&[("shop.yaml", blocks(&text, "yaml")[0])]);
    let examples = blocks(&text, "console");
    assert!(examples.len() > 10);

    for example in examples {
        let (line, shown) = example.strip_prefix("$ ").unwrap().split_once('\n').unwrap();
        assert_eq!(shell(line, folder.path()), shown, "$ {line}");
    }
}
