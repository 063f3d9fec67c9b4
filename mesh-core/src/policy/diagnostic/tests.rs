use super::*;
use crate::policy::source::{FileId, Sources};

fn span(file: FileId, start: u32, end: u32) -> SourceSpan {
    SourceSpan::new(file, start, end)
}

fn one(diagnostic: Diagnostic) -> Report {
    let mut report = Report::new();
    report.push(diagnostic);
    report
}

#[test]
fn a_report_is_in_the_order_of_files_and_positions() {
    let mut sources = Sources::new();
    let first = sources.add("z.yaml", "a: 1\nb: 2\n");
    let second = sources.add("a.yaml", "c: 3\n");
    let mut report = Report::new();
    report.push(Diagnostic::new(Code::WRONG_TYPE, span(second, 0, 1), "4"));
    report.push(Diagnostic::new(Code::DEPRECATED, span(first, 5, 6), "3"));
    report.push(Diagnostic::new(Code::SYNTAX, Place::Nowhere, "1"));
    report.push(Diagnostic::new(
        Code::UNKNOWN_REFERENCE,
        sources.origin(span(first, 0, 1)),
        "2",
    ));

    assert_eq!(
        report.lines(&sources),
        [
            "error[MESH0001]: 1",
            "z.yaml:1:1: error[MESH0201]: 2",
            "z.yaml:2:1: warning[MESH0503]: 3",
            "a.yaml:1:1: error[MESH0102]: 4",
        ]
    );
    assert_eq!(
        (report.errors(), report.warnings(), report.summary()),
        (3, 1, "3 errors, 1 warning".into())
    );
}

#[test]
fn the_json_form_is_the_contract() {
    let mut sources = Sources::new();
    let file = sources.add("dir/a.yaml", "ä: 1\nb: 2\n");
    let mut report =
        one(Diagnostic::new(Code::UNKNOWN_FIELD, span(file, 3, 4), "unknown field `b`").with_help("did you"));
    report.push(Diagnostic::new(
        Code::NO_DOCUMENT,
        Place::Path("dir".into()),
        "no policy files",
    ));
    report.push(Diagnostic::new(Code::DEPRECATED, Place::Nowhere, "old"));

    let json = serde_json::to_string(&report.json(&sources)).unwrap();
    assert_eq!(
        json,
        concat!(
            r#"{"errors":2,"warnings":1,"diagnostics":["#,
            r#"{"code":"MESH0503","severity":"warning","message":"old","file":null,"line":null,"column":null,"end_line":null,"end_column":null,"help":null,"labels":[],"fix":null},"#,
            r#"{"code":"MESH0006","severity":"error","message":"no policy files","file":"dir","line":null,"column":null,"end_line":null,"end_column":null,"help":null,"labels":[],"fix":null},"#,
            r#"{"code":"MESH0101","severity":"error","message":"unknown field `b`","file":"dir/a.yaml","line":1,"column":3,"end_line":1,"end_column":4,"help":"did you","labels":[],"fix":null}"#,
            "]}"
        )
    );
}

#[test]
fn the_json_form_has_labels_and_a_fix_in_the_quotation_marks_of_the_text() {
    let mut sources = Sources::new();
    let file = sources.add("a.json", "{\"hots\": 1,\n\"b\": 2}");
    let diagnostic = Diagnostic::new(Code::UNKNOWN_FIELD, span(file, 1, 7), "unknown field `hots`")
        .with_label(span(file, 10, 16), "beside this")
        .did_you_mean("hosts");
    let json = serde_json::to_value(one(diagnostic).json(&sources)).unwrap();
    assert_eq!(
        json["diagnostics"][0],
        serde_json::json!({
            "code": "MESH0101", "severity": "error", "message": "unknown field `hots`",
            "file": "a.json", "line": 1, "column": 2, "end_line": 1, "end_column": 8,
            "help": "did you mean `hosts`?",
            "labels": [{
                "message": "beside this",
                "file": "a.json", "line": 1, "column": 11, "end_line": 2, "end_column": 5,
            }],
            "fix": {
                "file": "a.json", "line": 1, "column": 2, "end_line": 1, "end_column": 8,
                "replacement": "\"hosts\"",
            },
        })
    );
}

#[test]
fn warnings_that_are_denied_are_errors_even_if_they_are_only_counted() {
    let mut sources = Sources::new();
    let file = sources.add("a.yaml", "a\n".repeat(2000));
    let mut report = Report::new();
    for line in 0..1500 {
        report.push(Diagnostic::new(
            Code::NOT_YET_IN_FORCE,
            span(file, line * 2, line * 2 + 1),
            "later",
        ));
    }
    report.deny_warnings();
    assert_eq!((report.errors(), report.warnings()), (1500, 0));
    assert!(report.lines(&sources)[0].starts_with("a.yaml:1:1: error[MESH0401]"));
    report.refuse_deferred();
    assert_eq!((report.errors(), report.warnings()), (1500, 0));
}

#[test]
fn tabs_and_wide_characters_keep_the_mark_below_the_text() {
    let mut sources = Sources::new();
    let file = sources.add("a.yaml", "a:\t{ bad: 1 }\nname: 車輪, oops\n");
    let tab = one(Diagnostic::new(
        Code::UNKNOWN_FIELD,
        span(file, 5, 8),
        "unknown field `bad`",
    ));
    let wide = one(Diagnostic::new(
        Code::UNKNOWN_FIELD,
        span(file, 28, 32),
        "unknown field `oops`",
    ));
    let expected = "\
error[MESH0101]: unknown field `bad`
 --> a.yaml:1:6
  |
1 | a:    { bad: 1 }
  |         ^^^
";
    assert_eq!(tab.render(&sources, Paint::Plain), expected);
    let expected = "\
error[MESH0101]: unknown field `oops`
 --> a.yaml:2:11
  |
2 | name: 車輪, oops
  |             ^^^^
";
    assert_eq!(wide.render(&sources, Paint::Plain), expected);
}

#[test]
fn the_same_problem_is_said_once_and_too_many_are_counted() {
    let mut sources = Sources::new();
    let file = sources.add("a.yaml", "a\n".repeat(2000));
    let mut report = Report::new();
    for line in 0..1500 {
        report.push(Diagnostic::new(Code::SYNTAX, span(file, line * 2, line * 2 + 1), "bad"));
        if line == 0 {
            report.push(Diagnostic::new(Code::SYNTAX, span(file, 0, 1), "bad"));
        }
    }
    assert_eq!(report.errors(), 1500);
    let lines = report.lines(&sources);
    assert_eq!(lines.len(), 1001);
    assert_eq!(lines[1000], "… and 500 more problems");
    assert!(
        report
            .render(&sources, Paint::Plain)
            .ends_with("\n… and 500 more problems\n")
    );

    let mut sum = one(Diagnostic::new(Code::DEPRECATED, Place::Nowhere, "old"));
    sum.append(report);
    assert_eq!(
        (sum.errors(), sum.warnings(), sum.lines(&sources).len()),
        (1500, 1, 1001)
    );
}

#[test]
fn labels_elsewhere_have_snippets_of_their_own() {
    let mut sources = Sources::new();
    let first = sources.add("a.yaml", format!("name: x\n{}name: y\n", "-\n".repeat(40)));
    let second = sources.add("b.yaml", "name: x\n");
    let diagnostic = Diagnostic::new(Code::DUPLICATE_DEFINITION, span(second, 6, 7), "`x` is defined twice")
        .with_label(span(first, 6, 7), "first defined here")
        .with_label(span(first, 94, 95), "not to be confused with this");
    let expected = "\
error[MESH0202]: `x` is defined twice
  --> b.yaml:1:7
   |
 1 | name: x
   |       ^
   |
  ::: a.yaml:1:7
   |
 1 | name: x
   |       - first defined here
   |
  ::: a.yaml:42:7
   |
42 | name: y
   |       - not to be confused with this
";
    assert_eq!(one(diagnostic).render(&sources, Paint::Plain), expected);
}

#[test]
fn a_span_over_several_lines_is_marked_on_its_first() {
    let mut sources = Sources::new();
    let file = sources.add("a.yaml", "spec:\n  a: 1\n  b: 2\n");
    let report = one(Diagnostic::new(
        Code::MISSING_FIELD,
        span(file, 8, 19),
        "missing field `c`",
    ));
    let expected = "\
error[MESH0103]: missing field `c`
 --> a.yaml:2:3
  |
2 |   a: 1
  |   ^^^^
";
    assert_eq!(report.render(&sources, Paint::Plain), expected);
}

#[test]
fn a_finding_about_the_model_underlines_the_word_at_its_origin() {
    let mut sources = Sources::new();
    let file = sources.add("a.yaml", "hosts: [a, shop]\n");
    let origin = sources.origin(span(file, 11, 15));
    let report = one(Diagnostic::new(Code::UNKNOWN_REFERENCE, &origin, "unknown host `shop`"));
    let expected = "\
error[MESH0201]: unknown host `shop`
 --> a.yaml:1:12
  |
1 | hosts: [a, shop]
  |            ^^^^
";
    assert_eq!(report.render(&sources, Paint::Plain), expected);
    let elsewhere = Origin {
        file: "gone.yaml".into(),
        line: 3,
        column: 4,
    };
    let report = one(Diagnostic::new(Code::UNKNOWN_REFERENCE, elsewhere, "unknown"));
    assert_eq!(report.lines(&sources), ["gone.yaml:3:4: error[MESH0201]: unknown"]);
    let built_in = Diagnostic::new(Code::UNKNOWN_REFERENCE, Origin::default(), "unknown");
    assert_eq!(built_in.place, Place::Nowhere);
}

#[test]
fn of_a_line_without_end_an_excerpt_is_shown() {
    let mut sources = Sources::new();
    let text = format!("{{{}\"x\": 1}}", "\"é\": 1,".repeat(100_000));
    let start = u32::try_from(text.find("\"x\"").unwrap()).unwrap();
    let file = sources.add("a.json", text);
    let report = one(Diagnostic::new(
        Code::UNKNOWN_FIELD,
        span(file, start, start + 3),
        "unknown field `x`",
    ));
    let expected = "\
error[MESH0101]: unknown field `x`
 --> a.json:1:700002
  |
  |
1 | 1,\"é\": 1,\"é\": 1,\"é\": 1,\"é\": 1,\"é\": 1,\"é\": 1,\"x\": 1}
  |                                             ^^^
";
    assert_eq!(report.render(&sources, Paint::Plain), expected);
}

#[test]
fn problems_without_a_position_render() {
    let sources = Sources::new();
    let report =
        one(Diagnostic::new(Code::NO_DOCUMENT, Place::Path("policy/".into()), "no files").with_help("write one"));
    let expected = "error[MESH0006]: no files\n--> policy/\n = help: write one\n";
    assert_eq!(report.render(&sources, Paint::Plain), expected);
    let report = one(Diagnostic::new(Code::NO_DOCUMENT, Place::Nowhere, "no files"));
    assert_eq!(report.render(&sources, Paint::Plain), "error[MESH0006]: no files\n");
    assert_eq!(Report::new().render(&sources, Paint::Plain), "");
}

#[test]
fn colours_are_for_terminals_alone() {
    let mut sources = Sources::new();
    let file = sources.add("a.yaml", "a: 1\n");
    let report = one(Diagnostic::new(Code::SYNTAX, span(file, 0, 1), "bad"));
    assert!(report.render(&sources, Paint::Ansi).contains("\u{1b}["));
    assert!(!report.render(&sources, Paint::Plain).contains('\u{1b}'));
}

#[test]
fn a_message_is_one_line_whatever_the_user_wrote() {
    let diagnostic = Diagnostic::new(
        Code::SYNTAX,
        Place::Path("a\nb".into()),
        format!("found {}", quoted("x\n\u{1b}[31my")),
    )
    .with_help("a\rb");
    assert_eq!(diagnostic.message, "found `x\\n\\u{1b}[31my`");
    assert_eq!(diagnostic.help.as_deref(), Some("a\\rb"));
    assert_eq!(
        one(diagnostic).lines(&Sources::new()),
        ["a\\nb: error[MESH0001]: found `x\\n\\u{1b}[31my`"]
    );
    assert_eq!(quoted(&"ü".repeat(70)), format!("`{}…`", "ü".repeat(60)));
}

#[test]
fn codes_are_unique_ordered_and_explained() {
    let ids: Vec<&str> = Code::ALL.iter().map(|code| code.id()).collect();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(ids, sorted);
    for code in Code::ALL {
        assert_eq!(Code::find(code.id()), Some(*code));
        let number = code.id().strip_prefix("MESH").unwrap();
        assert!(number.len() == 4 && number.parse::<u16>().is_ok(), "{code}");
        let is_warning = number.starts_with("05") || [Code::NOT_YET_IN_FORCE, Code::NOTHING_CONFIGURED].contains(code);
        assert_eq!(code.severity() == Severity::Warning, is_warning, "{code}");
        assert!(!code.title().is_empty() && code.explanation().ends_with('.'), "{code}");
    }
    assert_eq!(Code::find("MESH9999"), None);
}

#[test]
fn the_nearest_name_is_one_that_can_be_meant() {
    let names = ["hosts", "http", "tls", "tcp", "gateways", "exportTo", "perTryTimeout"];
    for (word, meant) in [
        ("host", Some("hosts")),
        ("htpp", Some("http")),
        ("tpc", Some("tcp")),
        ("export_to", Some("exportTo")),
        ("exprotTo", Some("exportTo")),
        ("per-try-timeout", Some("perTryTimeout")),
        ("GATEWAY", Some("gateways")),
        ("gateway", Some("gateways")),
        ("Timeout", Some("perTryTimeout")),
        ("exports", Some("exportTo")),
        ("subsets", None),
        ("x", None),
        ("", None),
    ] {
        assert_eq!(nearest(word, names), meant, "{word}");
    }
    assert_eq!(nearest(&"x".repeat(1 << 20), names), None);
}

#[test]
fn names_are_listed_as_a_sentence() {
    assert_eq!(listed(&[]), "nothing");
    assert_eq!(listed(&["a"]), "`a`");
    assert_eq!(listed(&["a", "b", "c"]), "`a`, `b` or `c`");
}
