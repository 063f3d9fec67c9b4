//! How far paths are normalised, and what a normalised path can still be taken for.

use std::borrow::Cow;

use super::path::{self, Form};
use super::{BadPath, PathRules};

/// How far the paths of requests are normalised before they are matched and forwarded (Istio's `pathNormalization`).
///
/// What a mode gives no meaning to stays refused, whatever the mode: see [`BadPath`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "Istio's four modes")]
pub enum PathNormalization {
    /// Paths are forwarded as they were sent. No rule may deny by path.
    None,
    /// Dot segments are resolved, escapes of unreserved characters decoded, `\` becomes `/` (Istio's default).
    #[default]
    Base,
    /// The same, then several slashes become one.
    MergeSlashes,
    /// `%2F` and `%5C` become `/` before all that.
    DecodeAndMergeSlashes,
}

/// A path as it is forwarded, and as a server may read that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Forms<'a> {
    pub(super) forwarded: Cow<'a, str>,
    /// Other paths that it may be taken for: authorization must allow them, too. Empty while no rule looks at paths.
    pub(super) readings: Vec<String>,
}

/// What is asked of a path beside its [`PathNormalization`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// It may be rewritten.
    Rewritable,
    /// It must be canonical, without doubled slashes, as it is.
    Canonical,
}

/// The forms of a path; the forwarded one is borrowed where it is as it was sent.
///
/// Takes time linear in the path's length.
pub(super) fn forms(
    sent: &str,
    mode: PathNormalization,
    rules: PathRules,
    demand: Demand,
) -> Result<Forms<'_>, BadPath> {
    match path::is_plain(sent) {
        // Whatever the mode, nothing of it is rewritten, and nobody can read it otherwise.
        true => Ok(Forms {
            forwarded: Cow::Borrowed(sent),
            readings: Vec::new(),
        }),
        false => examined(sent, mode, rules, demand),
    }
}

/// The forms of any path.
fn examined(sent: &str, mode: PathNormalization, rules: PathRules, demand: Demand) -> Result<Forms<'_>, BadPath> {
    let separated = match mode {
        PathNormalization::None => Cow::Borrowed(sent),
        _ => separate(sent, mode),
    };
    if !separated.starts_with('/') {
        return Err(BadPath::NotAbsolute);
    }
    if mode == PathNormalization::None {
        return as_sent(sent, rules);
    }
    let form = path::inspect(&separated, rules)?;
    if demand == Demand::Canonical && (form != Form::Canonical || separated != sent) {
        return Err(BadPath::NotCanonical);
    }
    let forwarded = forwarded(separated.clone(), form, mode, rules)?;
    let readings = match form {
        Form::Canonical => Vec::new(),
        _ => readings(&separated, &forwarded, rules)?,
    };
    Ok(Forms { forwarded, readings })
}

/// The path as it came.
fn as_sent(sent: &str, rules: PathRules) -> Result<Forms<'_>, BadPath> {
    path::check_characters(sent)?;
    let readings = match rules {
        PathRules::Present => readings_as_sent(sent)?,
        PathRules::Absent => Vec::new(),
    };
    Ok(Forms {
        forwarded: Cow::Borrowed(sent),
        readings,
    })
}

/// What servers make of a path that nobody has resolved. One with dot segments is refused: where they lead depends on what is
/// decoded and merged before.
fn readings_as_sent(sent: &str) -> Result<Vec<String>, BadPath> {
    let separated = separate(sent, PathNormalization::DecodeAndMergeSlashes);
    path::inspect(&separated, PathRules::Present)?;
    let decoded = path::respell(&separated);
    path::inspect(&decoded, PathRules::Present)?;
    if path::has_dot_segments(&decoded) {
        return Err(BadPath::NotCanonical);
    }
    let respelt = path::respell(sent);
    let merged = [path::collapse(&respelt), path::collapse(&decoded)];
    Ok(distinct([respelt, decoded].into_iter().chain(merged), sent))
}

/// The paths that differ from the one that is forwarded, each once.
fn distinct(paths: impl IntoIterator<Item = String>, forwarded: &str) -> Vec<String> {
    let mut distinct = Vec::new();
    for path in paths {
        if path != forwarded && !distinct.contains(&path) {
            distinct.push(path);
        }
    }
    distinct
}

/// Writes what the mode takes for a slash as one.
fn separate(sent: &str, mode: PathNormalization) -> Cow<'_, str> {
    let slashes: &[&str] = match mode {
        PathNormalization::DecodeAndMergeSlashes => &["\\", "%2F", "%2f", "%5C", "%5c"],
        _ => &["\\"],
    };
    let mut path = Cow::Borrowed(sent);
    for slash in slashes {
        if path.contains(slash) {
            path = Cow::Owned(path.replace(slash, "/"));
        }
    }
    path
}

fn forwarded(
    separated: Cow<'_, str>,
    form: Form,
    mode: PathNormalization,
    rules: PathRules,
) -> Result<Cow<'_, str>, BadPath> {
    match (form, mode) {
        (Form::Canonical, _) | (Form::Slashes, PathNormalization::Base) => Ok(separated),
        (_, PathNormalization::Base) => checked(path::resolve(&path::respell(&separated))?, rules),
        // Envoy's order: dot segments first.
        _ => checked(path::collapse(&path::resolve(&path::respell(&separated))?), rules),
    }
}

/// Decoding may have put together what was refused apart: `%25%32f` is `%252f` now.
fn checked(path: String, rules: PathRules) -> Result<Cow<'static, str>, BadPath> {
    path::inspect(&path, rules)?;
    Ok(Cow::Owned(path))
}

/// What servers make of doubled slashes that merge them: of those that are forwarded, and of those that `..` has met.
fn readings(separated: &str, forwarded: &str, rules: PathRules) -> Result<Vec<String>, BadPath> {
    if rules == PathRules::Absent || !separated.contains("//") {
        return Ok(Vec::new());
    }
    let merged_first = path::resolve(&path::collapse(&path::respell(separated)))?;
    Ok(distinct([path::collapse(forwarded), merged_first], forwarded))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn paths() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "/",
            "/",
            "/",
            "a",
            "b1",
            ".",
            "..",
            "-",
            "_~",
            "!$&'()*+,=:@",
            ";",
            "%2F",
            "%41",
            "%25",
            "\\",
            "\"",
            "?",
            "|",
            "\u{7f}",
            "\u{e9}",
            " ",
        ]);
        let pieces = prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat());
        prop_oneof![pieces, any::<String>().prop_map(|text| format!("/{text}"))]
    }

    proptest! {
        /// What is plain has one form, in every mode, and is asked for no second look.
        #[test]
        fn a_plain_path_is_forwarded_as_it_is_and_read_in_one_way(path in paths()) {
            if !path::is_plain(&path) {
                return Ok(());
            }
            use PathNormalization::{Base, DecodeAndMergeSlashes, MergeSlashes, None};
            for mode in [None, Base, MergeSlashes, DecodeAndMergeSlashes] {
                for rules in [PathRules::Absent, PathRules::Present] {
                    for demand in [Demand::Rewritable, Demand::Canonical] {
                        let forms = examined(&path, mode, rules, demand).unwrap();
                        prop_assert!(matches!(forms.forwarded, Cow::Borrowed(same) if same == path));
                        prop_assert!(forms.readings.is_empty());
                    }
                }
            }
        }
    }

    #[test]
    fn usual_paths_are_plain_and_whatever_needs_a_look_is_not() {
        for plain in ["/", "/api/v1/items", "/a.b/c..d/e-f_g~", "/!$&'()*+,=:@", "/a/"] {
            assert!(path::is_plain(plain), "{plain}");
        }
        let odd = [
            "",
            "*",
            "a",
            "//",
            "/a//b",
            "/.",
            "/..",
            "/a/./b",
            "/.well-known",
            "/a;b",
            "/%61",
            "/a\\b",
            "/a b",
            "/a\"b",
            "/a\u{7f}",
            "/\u{e9}",
            "/a\0",
        ];
        for odd in odd {
            assert!(!path::is_plain(odd), "{odd}");
        }
    }
}
