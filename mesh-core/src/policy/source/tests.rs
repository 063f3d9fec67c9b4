use proptest::prelude::*;

use super::*;
use crate::policy::diagnostic::{Code, Paint, Report};

/// What a file holds, and what is wrong with it.
fn read(text: impl AsRef<[u8]>) -> (Vec<Document>, Sources, Report) {
    let mut sources = Sources::new();
    let mut report = Report::new();
    let file = sources.add_bytes("a.yaml", text.as_ref(), &mut report);
    let documents = file.map_or_else(Vec::new, |file| parse(&sources, file, &mut report));
    (documents, sources, report)
}

fn lines(text: impl AsRef<[u8]>) -> Vec<String> {
    let (_, sources, report) = read(text);
    report.lines(&sources)
}

fn rendered(text: impl AsRef<[u8]>) -> String {
    let (_, sources, report) = read(text);
    report.render(&sources, Paint::Plain)
}

const SAMPLE: &str = r#"# A policy with a bit of everything.
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: größe, labels: {"a b": 'it''s'} }
spec:
  hosts: &hosts
  - "reviews\u00e9"
  - ratings
  more: *hosts
  http:
    - match:
      - headers:
          end-user: { exact: jason }
      route: [{destination: {host: a}, weight: 90}, {destination: {host: b}, weight: 10}]
  text: |
    first
      second
  folded: >-
    one
    two
---
? explicit
: - - nested
  - ~
...
"#;

#[test]
fn every_node_knows_where_it_is_written() {
    let (documents, sources, report) = read("a: 1\nlist:\n  - x\n  - {k: 'v'}\nblock: |\n  t\nend:\n  deep: y # z\n");
    assert!(report.is_empty());
    let root = &documents[0].root;
    let list = root.get("list").unwrap();
    let deep = root.get("end").unwrap();
    for (node, line, column, text) in [
        (root.get("a").unwrap(), 1, 4, "1"),
        (list, 3, 3, "- x\n  - {k: 'v'}"),
        (&list.items()[1], 4, 5, "{k: 'v'}"),
        (list.items()[1].get("k").unwrap(), 4, 9, "'v'"),
        (deep, 8, 3, "deep: y"),
    ] {
        let origin = sources.origin(node.span);
        assert_eq!(
            (origin.line, origin.column, sources.text(node.span)),
            (line, column, text)
        );
    }
    assert_eq!(sources.origin(root.entries()[3].0.span).to_string(), "a.yaml:7:1");
    assert_eq!(root.get("block").unwrap().as_text(), Some("t\n"));
}

#[test]
fn columns_count_characters_however_long_the_line() {
    let long = "é".repeat(3000);
    let file = SourceFile::new("a", format!("x\nä{long}b\r\nc"));
    let text = file.text().clone();
    for (needle, position) in [("x", (1, 1)), ("ä", (2, 1)), ("b", (2, 3002)), ("c", (3, 1))] {
        let byte = u32::try_from(text.find(needle).unwrap()).unwrap();
        assert_eq!(file.position(byte), position, "{needle}");
        assert_eq!(file.byte_at(position.0, position.1), Some(byte), "{needle}");
    }
    assert_eq!(file.position(u32::MAX), (3, 2));
    assert_eq!(file.byte_at(4, 1), None);
    assert_eq!(file.byte_at(0, 1), None);
}

#[test]
fn quoting_tells_text_from_numbers_and_null() {
    let (documents, ..) = read("a: 5\nb: \"5\"\nc: null\nd: 'null'\ne:\nf: ~\n");
    let root = &documents[0].root;
    let style = |name: &str| match &root.get(name).unwrap().value {
        Value::Scalar(scalar) => Some(scalar.style),
        _ => None,
    };
    assert_eq!(style("a"), Some(Style::Plain));
    assert_eq!(style("b"), Some(Style::Quoted));
    assert_eq!(style("d"), Some(Style::Quoted));
    for name in ["c", "e", "f"] {
        assert!(root.get(name).unwrap().is_null(), "{name}");
    }
}

#[test]
fn a_file_has_several_documents_and_empty_ones_are_skipped() {
    let (documents, _, report) = read("\u{feff}---\na: 1\n---\n# nothing\n---\n\"b\": 2\n...\n---\n");
    assert!(report.is_empty());
    assert_eq!(documents.len(), 2);
    assert!(documents[1].root.get("b").is_some());
}

#[test]
fn a_file_without_a_document_is_an_error() {
    for text in [
        "",
        "# only\n# comments",
        "---\n---\n",
        "~",
        "null\n",
        "\n\n",
        "\u{feff}",
    ] {
        let expected = "a.yaml: error[MESH0006]: no document found, the file is empty or has only comments";
        assert_eq!(lines(text), [expected], "{text:?}");
    }
}

#[test]
fn a_syntax_error_hides_no_other_document() {
    let (documents, sources, report) = read("a: 1\n---\na: [\n---\nb: 1\nb: 2\n---\n\"\n");
    assert_eq!(documents.len(), 2);
    assert_eq!(
        report.lines(&sources),
        [
            "a.yaml:3:4: error[MESH0001]: this `[` is never closed",
            "a.yaml:6:1: error[MESH0002]: key `b` is given twice",
            "a.yaml:8:1: error[MESH0001]: this quote is never closed",
        ]
    );
}

#[test]
fn a_bad_beginning_of_a_document_spares_the_one_before_it() {
    let (documents, sources, report) = read("a: 1\n...\n%YAML 1.1\n---\nb: 1\n---\nc: 1\n");
    let keys: Vec<&str> = documents.iter().map(|one| &*one.root.entries()[0].0.name).collect();
    assert_eq!(keys, ["a", "c"]);
    assert_eq!(
        report.lines(&sources),
        ["a.yaml:3:1: error[MESH0001]: YAML directives are not supported"]
    );
}

#[test]
fn a_syntax_error_is_told_at_its_cause() {
    for (text, expected) in [
        (
            "b:1\na: 1\n",
            "a.yaml:1:2: error[MESH0001]: expected a blank behind `b:`",
        ),
        (
            "a:\n  - b:1\n    c: 1\n",
            "a.yaml:2:6: error[MESH0001]: expected a blank behind `b:`",
        ),
        (
            "a: http://b\n  c: 1\n",
            "a.yaml:2:4: error[MESH0001]: no `:` can stand here",
        ),
        (
            "a:\n  b: 1\n\tc: 2\n",
            "a.yaml:3:1: error[MESH0001]: found a tab in the indentation",
        ),
        (
            "a:\n  b: 1\n\u{a0} c: 2\n  d: 3\n",
            "a.yaml:3:1: error[MESH0001]: found a no-break space in the indentation",
        ),
        (
            "a:\n  b: 1\n<<<<<<< HEAD\n  c: 2\n",
            "a.yaml:3:1: error[MESH0001]: found a mark of a conflict that git could not merge",
        ),
        (
            "{{- if .Values.x }}\na: 1\n{{- end }}\n",
            "a.yaml:1:1: error[MESH0001]: found a template, expected a key",
        ),
    ] {
        assert_eq!(lines(text), [expected], "{text:?}");
    }
}

#[test]
fn syntax_errors_say_what_to_do() {
    for (text, expected) in [
        (
            "a:\n\tb: 1\n",
            "a.yaml:2:1: error[MESH0001]: found a tab in the indentation",
        ),
        (
            "%YAML 1.1\n---\na: 1\n",
            "a.yaml:1:1: error[MESH0001]: YAML directives are not supported",
        ),
        (
            "a: *b\n",
            "a.yaml:1:4: error[MESH0001]: no anchor of this name stands before the alias",
        ),
        (
            "a:\n- *\n",
            "a.yaml:2:3: error[MESH0001]: expected the name of an alias behind `*` or `&`",
        ),
        (
            "a: - b\n",
            "a.yaml:1:4: error[MESH0001]: no item of a list can begin here",
        ),
        (
            "a: \"b\" c\n",
            "a.yaml:1:8: error[MESH0001]: nothing can follow a closing quote",
        ),
        (
            "a: \"\\d\"\n",
            "a.yaml:1:4: error[MESH0001]: unknown escape in double quotes",
        ),
        (
            "a: 1\nb:1\n",
            "a.yaml:2:2: error[MESH0001]: expected a blank behind `b:`",
        ),
        (
            "- a\nb: 1\n",
            "a.yaml:2:1: error[MESH0001]: expected `-` and the next item of the list",
        ),
        (
            "a:\n    b: 1\n  c: 2\n",
            "a.yaml:3:3: error[MESH0001]: expected the next key of the mapping",
        ),
        ("a: b: c\n", "a.yaml:1:5: error[MESH0001]: no `:` can stand here"),
        ("a: @b\n", "a.yaml:1:4: error[MESH0001]: a value cannot begin with `@`"),
        ("a: [}\n", "a.yaml:1:4: error[MESH0001]: this `[` is closed by `}`"),
        (
            "a: \"x\nb: 2",
            "a.yaml:2:1: error[MESH0001]: quoted text goes on without indentation",
        ),
        (
            "a: {{ .Values.x }}\n",
            "a.yaml:1:5: error[MESH0001]: expected a key of plain text, found a list or mapping",
        ),
        (
            "a: \u{0}\n",
            "a.yaml:1:4: error[MESH0001]: expected text, found the control character 0x00",
        ),
    ] {
        assert_eq!(lines(text), [expected], "{text:?}");
    }
}

#[test]
fn an_open_bracket_is_shown_with_the_error_after_it() {
    let expected = "\
error[MESH0001]: expected `,` or a closing bracket
 --> a.yaml:2:2
  |
1 | a: [1, 2
  |    - opened here
2 | b: 3
  |  ^
  |
  = help: close the bracket, or put the text in quotes
";
    assert_eq!(rendered("a: [1, 2\nb: 3\n"), expected);
}

#[test]
fn duplicate_keys_are_reported_with_both_places() {
    let expected = "\
error[MESH0002]: key `host` is given twice
 --> a.yaml:4:5
  |
2 |   - host: a
  |     ---- first given here
3 |     port: 80
4 |     \"host\": b
  |     ^^^^^^
  |
  = help: remove one of the two
";
    let text = "routes:\n  - host: a\n    port: 80\n    \"host\": b\n";
    assert_eq!(rendered(text), expected);
    let (documents, ..) = read(text);
    let route = &documents[0].root.get("routes").unwrap().items()[0];
    assert_eq!(route.get("host").unwrap().as_text(), Some("a"));
    assert_eq!(route.entries().len(), 2);
    assert_eq!(
        lines(r#"{"a": 1, "b": {"c": 1, "c": 1}}"#),
        ["a.yaml:1:24: error[MESH0002]: key `c` is given twice"]
    );
}

#[test]
fn tags_merge_keys_and_endless_aliases_are_refused_and_the_rest_is_read() {
    let (documents, sources, report) =
        read("a: !include x\nb: !!python/object {c: 1}\nx: &x {y: 1}\nz:\n  <<: *x\n  ok: 1\nr: &r [*r]\n");
    let tag = "error[MESH0007]: YAML tags such as `!include` or `!!str` are not supported";
    assert_eq!(
        report.lines(&sources),
        [
            &*format!("a.yaml:1:4: {tag}"),
            &*format!("a.yaml:2:4: {tag}"),
            "a.yaml:5:3: error[MESH0008]: merge keys (`<<`) are not supported",
            "a.yaml:7:8: error[MESH0009]: this alias stands inside of what it names",
        ]
    );
    let root = &documents[0].root;
    assert_eq!(root.get("a").unwrap().value, Value::Refused);
    assert_eq!(root.get("b").unwrap().value, Value::Refused);
    assert_eq!(root.get("z").unwrap().get("ok").unwrap().as_text(), Some("1"));
    assert!(root.get("z").unwrap().get("y").is_none());
}

#[test]
fn an_alias_repeats_what_its_anchor_names() {
    let (documents, sources, report) = read("a: &x [1, 2]\nb: *x\n---\na: &x 3\nb: *x\n");
    assert!(report.is_empty());
    let second = documents[0].root.get("b").unwrap();
    assert_eq!(second.items().len(), 2);
    assert_eq!(sources.origin(second.span).to_string(), "a.yaml:1:7");
    assert_eq!(documents[1].root.get("b").unwrap().as_text(), Some("3"));
}

#[test]
fn a_megabyte_of_anchors_is_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for n in 1.. {
        bomb.push_str(&format!(
            "a{n}: &a{n} [*a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}]\n",
            n - 1
        ));
        if bomb.len() > 1 << 20 {
            break;
        }
    }
    assert_eq!(
        lines(&bomb),
        ["a.yaml:7:25: error[MESH0003]: the file has more than 1000000 values, aliases followed"]
    );
    let flat = "- &a x\n".repeat(600_000);
    assert_eq!(
        lines(flat),
        ["a.yaml:500000:6: error[MESH0003]: the file has more than 1000000 values, aliases followed"]
    );
}

/// M2.
#[test]
fn deep_nesting_is_refused() {
    let n = 100_000;
    for (text, place) in [
        (format!("{}{}", "[".repeat(n), "]".repeat(n)), "1:65"),
        ("[".repeat(n), "1:65"),
        ("{a: ".repeat(n), "1:257"),
        ("- ".repeat(n), "1:129"),
        ("? ".repeat(n), "1:129"),
        ((0..2000).map(|n| format!("{}a:\n", " ".repeat(n))).collect(), "65:65"),
    ] {
        let expected = format!("a.yaml:{place}: error[MESH0004]: nested deeper than 64 levels");
        assert_eq!(lines(&text), [expected], "{}", &text[..8]);
    }
    let deep_by_aliases: String = std::iter::once("a0: &a0 [x]\n".into())
        .chain((1..70).map(|n| format!("a{n}: &a{n} [*a{}]\n", n - 1)))
        .collect();
    assert_eq!(
        lines(deep_by_aliases),
        ["a.yaml:64:12: error[MESH0004]: nested deeper than 64 levels"]
    );
    assert!(lines(format!("{}x{}", "[".repeat(64), "]".repeat(64))).is_empty());
}

/// M10.
#[test]
fn too_much_text_is_refused() {
    let expected = "a.yaml: error[MESH0003]: the file has 9437184 bytes, the limit is 8388608";
    assert_eq!(lines(vec![b'x'; 9 << 20]), [expected]);
    let mut sources = Sources::new();
    let mut report = Report::new();
    let file = sources.add("a.yaml", "x".repeat(9 << 20));
    assert!(parse(&sources, file, &mut report).is_empty());
    assert_eq!(report.lines(&sources), [expected]);

    let list = "- x\n".repeat(1_000_000);
    assert_eq!(
        lines(list),
        ["a.yaml:1000000:3: error[MESH0003]: the file has more than 1000000 values, aliases followed"]
    );
}

#[test]
fn what_is_no_utf8_is_shown_at_its_first_byte() {
    let expected = "\
error[MESH0005]: expected UTF-8 text, found the byte 0xff
 --> a.yaml:2:6
  |
2 | b: \u{e9}\u{e9}\u{fffd}x
  |      ^
  |
  = help: save the file as UTF-8, or move what is no policy out of this directory
";
    assert_eq!(rendered(b"a: 1\nb: \xc3\xa9\xc3\xa9\xffx\n"), expected);
    assert_eq!(
        lines(b"\xff\xfea\0:\0"),
        ["a.yaml:1:1: error[MESH0005]: expected UTF-8 text, found UTF-16"]
    );
    let elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0";
    assert_eq!(read(elf).2.errors(), 1);
}

#[test]
fn a_document_cut_at_any_byte_is_read_or_refused() {
    let (whole, _, report) = read(SAMPLE);
    assert!(report.is_empty());
    assert_eq!(whole.len(), 2);
    for end in 0..SAMPLE.len() {
        let (documents, sources, report) = read(&SAMPLE.as_bytes()[..end]);
        assert!(!documents.is_empty() || report.has_errors(), "{end}");
        assert_eq!(report.lines(&sources).len(), report.errors(), "{end}");
        assert!(report.render(&sources, Paint::Ansi).len() >= report.errors(), "{end}");
    }
}

#[test]
fn a_byte_changed_anywhere_is_read_or_refused() {
    for index in 0..SAMPLE.len() {
        for byte in *b"\0\t\n :-[]{}&*!|>'\"%@`#,?x\xff" {
            let mut bytes = SAMPLE.as_bytes().to_vec();
            bytes[index] = byte;
            let (documents, sources, report) = read(bytes);
            assert!(!documents.is_empty() || report.has_errors(), "{index} {byte}");
            assert!(
                report.render(&sources, Paint::Plain).len() >= report.errors(),
                "{index} {byte}"
            );
        }
    }
}

#[test]
fn an_origin_leads_back_to_the_word_that_stands_there() {
    let (documents, sources, _) = read("spec: { host: a-b, port: 80 }\nname: c d # e\n");
    for (node, word) in [
        (documents[0].root.get("spec").unwrap().get("host").unwrap(), "a-b"),
        (documents[0].root.get("name").unwrap(), "c d"),
    ] {
        let origin = sources.origin(node.span);
        assert_eq!(sources.span_at(&origin).map(|span| sources.text(span)), Some(word));
    }
    assert_eq!(sources.span_at(&Origin::default()), None);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[a-c:\\-\\[\\]{},&*!|>'\"%#? \n\t\u{e9}\u{feff}]{0,80}") {
        let (documents, sources, report) = read(&text);
        prop_assert!(!documents.is_empty() || report.has_errors());
        for diagnostic in report.sorted(&sources) {
            prop_assert!(Code::find(diagnostic.code.id()).is_some());
        }
        prop_assert!(report.render(&sources, Paint::Plain).len() >= report.errors());
        for document in &documents {
            prop_assert!(spans_are_ordered(&document.root, &sources), "{documents:?}");
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (documents, sources, report) = read(&bytes);
        prop_assert!(!documents.is_empty() || report.has_errors());
        prop_assert_eq!(report.lines(&sources).len(), report.errors());
    }
}

fn spans_are_ordered(node: &Node, sources: &Sources) -> bool {
    let length = sources.file(node.span.file).map_or(0, |file| file.text().len());
    let is_inside = node.span.start <= node.span.end && node.span.end as usize <= length;
    is_inside
        && node.items().iter().all(|item| spans_are_ordered(item, sources))
        && node
            .entries()
            .iter()
            .all(|(_, value)| spans_are_ordered(value, sources))
}

/// What the two ways through a JSON text find.
fn both_ways(text: &str) -> (Option<Document>, Vec<Document>, Vec<String>) {
    let mut sources = Sources::new();
    let mut report = Report::new();
    let file = sources.add("a.json", text);
    let short = json::parse(file, sources.file(file).unwrap().text());
    let long = build::parse_yaml(file, sources.file(file).unwrap(), &mut report);
    (short, long, report.lines(&sources))
}

/// Any JSON, printed as programs and people print it.
fn json_text() -> impl Strategy<Value = String> {
    use serde_json::{Value as Json, to_string, to_string_pretty};
    let text = prop_oneof![
        "[ -~]{0,12}",
        "[a-zà-ÿ一-三\\\\\"\n\t/:#{}\\[\\],&*!|>%@`'~-]{0,8}",
        any::<String>()
    ];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        text.clone().prop_map(Json::from),
    ];
    let value = leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            proptest::collection::vec((text.clone(), inner), 0..6)
                .prop_map(|entries| Json::from(serde_json::Map::from_iter(entries))),
        ]
    });
    (value, any::<bool>()).prop_map(|(value, is_pretty)| match is_pretty {
        true => to_string_pretty(&value).unwrap(),
        false => to_string(&value).unwrap(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn json_is_the_yaml_that_it_is(text in json_text()) {
        let (short, long, problems) = both_ways(&text);
        if let Some(short) = short {
            assert_eq!((vec![short], Vec::<String>::new()), (long, problems), "{text}");
        }
    }

    /// Whatever is taken the short way is taken the long way, and means the same.
    #[test]
    fn changed_json_is_taken_by_both_or_left_to_yaml(text in json_text(), at in any::<prop::sample::Index>(), with in "[\\[\\]{}:,#\"\\\\ a0/\\-~\n\t.eE+]{0,3}") {
        let mut changed: Vec<char> = text.chars().collect();
        let at = at.index(changed.len());
        changed.splice(at..=at, with.chars());
        let changed = String::from_iter(changed);
        let (short, long, problems) = both_ways(&changed);
        if let Some(short) = short {
            assert_eq!((vec![short], Vec::<String>::new()), (long, problems), "{changed}");
        }
    }
}

#[test]
fn plain_json_takes_the_short_way() {
    for text in [
        "{}",
        " [] \r\n",
        "{\"a\": 1, \"b\": [true, null, -0.5e+3, \"größe\", \"a\\n\\u00e9\\/\"]}",
        "{\n  \"a\" : {\n    \"b\": []\n  }\n}\n",
    ] {
        let (short, long, problems) = both_ways(text);
        assert_eq!(problems, Vec::<String>::new(), "{text}");
        assert_eq!(short.map(|document| vec![document]), Some(long), "{text}");
    }
}

#[test]
fn what_is_no_plain_json_is_left_to_yaml() {
    let deep = "[".repeat(limits::DEPTH + 1) + &"]".repeat(limits::DEPTH + 1);
    for text in [
        "",
        "a: 1",
        "{a: 1}",
        "{\"a\": 1,}",
        "{\"a\": 1, \"a\": 2}",
        "{\"a\": 01}",
        "{\"a\": .5}",
        "{\"a\": +1}",
        "{\"a\": Null}",
        "{\"a\": \"\\ud83d\\ude00\"}",
        "{\"a\": \"\\x41\"}",
        "{\"a\"\n: 1}",
        "{\"a\": 1} {}",
        "{\"a\": 1} # b",
        "{\t\"a\": 1}",
        "[1 2]",
        "{\"a\": \"b",
        &deep,
    ] {
        assert!(both_ways(text).0.is_none(), "{text}");
    }
}
