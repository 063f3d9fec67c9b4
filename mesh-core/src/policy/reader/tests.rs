use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::policy::diagnostic::{Paint, listed};
use crate::policy::source::{Spanned, parse};

/// What `read` makes of a document, and the lines of the report.
fn read<T>(text: &str, read: impl FnOnce(&Reader<'_>, &Node) -> T) -> (T, Vec<String>) {
    read_as(Spelling::Exact, text, read)
}

fn read_as<T>(spelling: Spelling, text: &str, read: impl FnOnce(&Reader<'_>, &Node) -> T) -> (T, Vec<String>) {
    let mut sources = Sources::new();
    let mut report = Report::new();
    let file = sources.add("a.yaml", text);
    let documents = parse(&sources, file, &mut report);
    let value = read(
        &Reader::new(&sources, &mut report).with_spelling(spelling),
        &documents[0].root,
    );
    (value, report.lines(&sources))
}

/// Reads a scalar that stands in a list, so that `null` is a document too.
fn scalar<T>(text: &str, reader: impl FnOnce(&Reader<'static>, &Node) -> Option<T>) -> Result<T, String> {
    let sources: &'static mut Sources = Box::leak(Box::default());
    let report: &'static mut Report = Box::leak(Box::default());
    let file = sources.add("a.yaml", format!("- {text}\n"));
    let sources: &'static Sources = sources;
    let documents = parse(sources, file, report);
    let cx = Reader::new(sources, report);
    let value = reader(&cx, &documents[0].root.items()[0]);
    let lines = cx.report.borrow().lines(sources);
    match (value, &*lines) {
        (Some(value), []) => Ok(value),
        (None, [line]) => Err(line.strip_prefix("a.yaml:1:3: error[").unwrap().into()),
        (_, lines) => panic!("{text}: {lines:?}"),
    }
}

fn wrong<T>(found: &str) -> Result<T, String> {
    Err(format!("MESH0102]: {found}"))
}

fn invalid<T>(found: &str) -> Result<T, String> {
    Err(format!("MESH0104]: {found}"))
}

#[test]
fn text_is_what_is_no_number_and_no_boolean() {
    for (text, value) in [
        ("abc", "abc"),
        ("\"5\"", "5"),
        ("'true'", "true"),
        ("''", ""),
        ("yes", "yes"),
        ("1_000", "1_000"),
        ("1.2.3", "1.2.3"),
        ("10s", "10s"),
        ("2024-01-01", "2024-01-01"),
        ("e5", "e5"),
        ("0x", "0x"),
        (".", "."),
        ("-", "-"),
    ] {
        let quoted = if text == "-" { "\"-\"" } else { text };
        assert_eq!(scalar(quoted, Reader::string).as_deref(), Ok(value), "{text}");
    }
    for number in [
        "5", "-1", "+1", "010", "0x1f", "0o17", "1.10", "1e3", ".5", "5.", ".inf", "-.Inf", ".nan",
    ] {
        let expected = wrong(&format!("expected text, found the number `{number}`"));
        assert_eq!(scalar(number, Reader::string), expected);
        assert_eq!(scalar(number, Reader::any_text).as_deref(), Ok(number));
    }
    assert_eq!(
        scalar("True", Reader::string),
        wrong("expected text, found the boolean `True`")
    );
    assert_eq!(scalar("~", Reader::string), wrong("expected text, found nothing"));
    assert_eq!(scalar("[a]", Reader::string), wrong("expected text, found a list"));
    assert_eq!(
        scalar("{a: b}", Reader::any_text),
        wrong("expected text, found a mapping")
    );
    assert_eq!(scalar("''", Reader::name), invalid("expected a name, found empty text"));
    assert_eq!(scalar("a", Reader::name).as_deref(), Ok("a"));
}

#[test]
fn only_true_and_false_are_booleans() {
    assert_eq!(scalar("true", Reader::bool), Ok(true));
    assert_eq!(scalar("false", Reader::bool), Ok(false));
    for (text, found) in [
        ("yes", "the text `yes`"),
        ("off", "the text `off`"),
        ("TRUE", "the boolean `TRUE`"),
        ("'true'", "the text `true`"),
        ("1", "the number `1`"),
        ("~", "nothing"),
    ] {
        let expected = wrong(&format!("expected `true` or `false`, found {found}"));
        assert_eq!(scalar(text, Reader::bool), expected, "{text}");
    }
}

#[test]
fn numbers_are_decimal_and_in_range() {
    assert_eq!(scalar("0", Reader::u32), Ok(0));
    assert_eq!(scalar("4294967295", Reader::u32), Ok(u32::MAX));
    assert_eq!(scalar("-9223372036854775808", Reader::i64), Ok(i64::MIN));
    assert_eq!(scalar("65535", Reader::u16), Ok(u16::MAX));
    assert_eq!(scalar("7", within::<u8>(1..=9)), Ok(7));
    let out_of_range = |range: &str, found: &str| format!("expected a whole number of {range}, found `{found}`");
    assert_eq!(
        scalar("4294967296", Reader::u32),
        invalid(&out_of_range("0 to 4294967295", "4294967296"))
    );
    assert_eq!(scalar("-1", Reader::u16), invalid(&out_of_range("0 to 65535", "-1")));
    assert_eq!(scalar("0", Reader::port), invalid(&out_of_range("1 to 65535", "0")));
    assert_eq!(
        scalar("10", within::<u8>(1..=9)),
        invalid(&out_of_range("1 to 9", "10"))
    );
    let range = "-9223372036854775808 to 9223372036854775807";
    let huge = "99999999999999999999";
    assert_eq!(scalar(huge, Reader::i64), invalid(&out_of_range(range, huge)));
    for text in ["1.0", "1e3", "0x1f"] {
        let expected = wrong(&format!("expected a whole number, found the number `{text}`"));
        assert_eq!(scalar(text, Reader::u32), expected);
    }
    for text in ["1_000", "abc"] {
        assert_eq!(
            scalar(text, Reader::u32),
            wrong(&format!("expected a whole number, found the text `{text}`"))
        );
    }
    assert_eq!(
        scalar("'5'", Reader::u32),
        wrong("expected a whole number, found the text `5`")
    );
    assert_eq!(
        scalar("010", Reader::u32),
        invalid("`010` may be read as octal, write it without leading zeros")
    );
}

#[test]
fn fractions_are_finite() {
    for (text, value) in [("1", 1.0), ("0.5", 0.5), (".5", 0.5), ("-1e3", -1000.0), ("5.", 5.0)] {
        assert_eq!(scalar(text, Reader::f64), Ok(value), "{text}");
    }
    for text in [".nan", ".inf", "1e999"] {
        assert_eq!(
            scalar(text, Reader::f64),
            invalid(&format!("expected a finite number, found `{text}`"))
        );
    }
    for text in ["NaN", "inf", "abc"] {
        assert_eq!(
            scalar(text, Reader::f64),
            wrong(&format!("expected a number, found the text `{text}`"))
        );
    }
}

#[test]
fn percentages_are_whole_and_at_most_100() {
    assert_eq!(scalar("50", Reader::percent), Ok(50));
    assert_eq!(scalar("50%", Reader::percent), Ok(50));
    assert_eq!(scalar("'100%'", Reader::percent), Ok(100));
    assert_eq!(
        scalar("101", Reader::percent),
        invalid("expected a whole number of 0 to 100, found `101`")
    );
    for text in ["101%", "1.5%", "-1%", "050%", "NaN%"] {
        let expected = invalid(&format!(
            "expected a whole percentage of `0%` to `100%`, found `{text}`"
        ));
        assert_eq!(scalar(text, Reader::percent), expected);
    }
}

#[test]
fn durations_have_a_unit() {
    assert_eq!(scalar("10s", Reader::duration), Ok(Duration::from_secs(10)));
    assert_eq!(scalar("'0.5s'", Reader::duration), Ok(Duration::from_millis(500)));
    let expected = "duration `10` has no unit, expected one of `ns`, `us`, `ms`, `s`, `m`, `h`";
    assert_eq!(scalar("10", Reader::duration), invalid(expected));
    assert_eq!(
        scalar("-1s", Reader::duration),
        invalid("`-1s` is not a duration, expected a number and a unit such as `10s`, `1m30s` or `250ms`")
    );
    assert_eq!(
        scalar("{}", Reader::duration),
        wrong("expected a duration such as `10s`, found a mapping")
    );
}

#[test]
fn a_port_is_a_number_or_a_name() {
    assert_eq!(scalar("80", Reader::int_or_string), Ok(IntOrString::Int(80)));
    assert_eq!(
        scalar("http", Reader::int_or_string),
        Ok(IntOrString::String("http".into()))
    );
    assert_eq!(
        scalar("'80'", Reader::int_or_string),
        Ok(IntOrString::String("80".into()))
    );
    assert_eq!(
        scalar("1.5", Reader::int_or_string),
        wrong("expected text, found the number `1.5`")
    );
}

#[test]
fn an_unknown_field_is_shown_with_the_name_that_was_meant() {
    let mut sources = Sources::new();
    let mut report = Report::new();
    let file = sources.add("a.yaml", "name: x\nretrys: 3\nweight: 1\n");
    let documents = parse(&sources, file, &mut report);
    let cx = Reader::new(&sources, &mut report);
    let mut fields = cx.mapping(&documents[0].root).unwrap();
    fields.required("name", Reader::string);
    fields.optional("retries", Reader::u32);
    fields.finish();
    let expected = "\
error[MESH0101]: unknown field `retrys`
 --> a.yaml:2:1
  |
2 | retrys: 3
  | ^^^^^^
  |
  = help: did you mean `retries`?

error[MESH0101]: unknown field `weight`
 --> a.yaml:3:1
  |
3 | weight: 1
  | ^^^^^^
  |
  = help: expected `name` or `retries`
";
    assert_eq!(report.render(&sources, Paint::Plain), expected);
}

#[test]
fn a_wrong_type_is_one_diagnostic_at_the_value() {
    let mut sources = Sources::new();
    let mut report = Report::new();
    let file = sources.add("a.yaml", "retries:\n  - attempts: many\nhosts:\n  a: b\nname: 1.10\n");
    let documents = parse(&sources, file, &mut report);
    let cx = Reader::new(&sources, &mut report);
    let mut fields = cx.mapping(&documents[0].root).unwrap();
    let retries = fields.optional("retries", |cx, node| cx.mapping(node).map(Fields::finish));
    let hosts = fields.list("hosts", Reader::string);
    let name = fields.required("name", Reader::string);
    fields.finish();
    assert_eq!((retries, hosts.len(), name), (None, 0, None));
    let expected = "\
error[MESH0102]: `retries`: expected a mapping, found a list
 --> a.yaml:2:3
  |
2 |   - attempts: many
  |   ^^^^^^^^^^^^^^^^

error[MESH0102]: `hosts`: expected a list, found a mapping
 --> a.yaml:4:3
  |
4 |   a: b
  |   ^^^^
  |
  = help: each item of a list begins with `- `

error[MESH0102]: `name`: expected text, found the number `1.10`
 --> a.yaml:5:7
  |
5 | name: 1.10
  |       ^^^^
  |
  = help: write it in quotes: `\"1.10\"`
";
    assert_eq!(report.render(&sources, Paint::Plain), expected);
}

#[test]
fn a_missing_field_is_reported_at_the_mapping_once() {
    let text = "a: {}\nb: {host: ~}\nc: {host: 5}\nd: {host: !x y}\ne: {host: x}\n";
    let host = |cx: &Reader<'_>, node: &Node| {
        let mut fields = cx.mapping(node)?;
        let host = fields.required("host", Reader::string);
        fields.finish();
        host
    };
    let (hosts, lines) = read(text, |cx, node| map_of(host)(cx, node).unwrap());
    assert_eq!(hosts, BTreeMap::from([("e".into(), "x".into())]));
    assert_eq!(
        lines,
        [
            "a.yaml:1:4: error[MESH0103]: missing field `host`",
            "a.yaml:2:4: error[MESH0103]: missing field `host`",
            "a.yaml:3:11: error[MESH0102]: `host`: expected text, found the number `5`",
            "a.yaml:4:11: error[MESH0007]: YAML tags such as `!include` or `!!str` are not supported",
        ]
    );
}

#[test]
fn null_counts_as_absent() {
    let ((hosts, timeout, map), lines) = read("hosts: ~\ntimeout:\nmap: null\nfault: ~\n", |cx, node| {
        let mut fields = cx.mapping(node).unwrap();
        let read = (
            fields.list("hosts", Reader::string),
            fields.optional("timeout", Reader::duration),
            fields.map("map", Reader::string),
        );
        fields.refuse("fault", Code::NOT_YET_IN_FORCE, "faults are not injected");
        fields.finish();
        read
    });
    assert_eq!((hosts.len(), timeout, map.len(), lines.len()), (0, None, 0, 0));
}

#[test]
fn of_fields_that_exclude_each_other_the_second_is_reported() {
    let (found, lines) = read("regex: a\nexact: b\nprefix: c\n", |cx, node| {
        let mut fields = cx.mapping(node).unwrap();
        let found = fields
            .required_one_of(&["exact", "prefix", "regex"])
            .map(|(name, _)| name);
        fields.finish();
        found
    });
    assert_eq!(found, Some("regex"));
    assert_eq!(
        lines,
        [
            "a.yaml:2:1: error[MESH0105]: fields `regex` and `exact` exclude each other",
            "a.yaml:3:1: error[MESH0105]: fields `regex` and `prefix` exclude each other",
        ]
    );
    let (found, lines) = read("{}", |cx, node| {
        let mut fields = cx.mapping(node).unwrap();
        (
            fields.one_of(&["exact", "prefix"]).is_none(),
            fields.required_one_of(&["exact", "prefix"]).is_none(),
        )
    });
    assert_eq!(found, (true, true));
    assert_eq!(
        lines,
        ["a.yaml:1:1: error[MESH0103]: missing field `exact` or `prefix`"]
    );
}

#[test]
fn a_refused_field_is_as_severe_as_its_code() {
    let (_, lines) = read("a: {x: 1}\nb: 2\nstatus: {y: 3}\n", |cx, node| {
        let mut fields = cx.mapping(node).unwrap();
        fields.refuse("a", Code::NOT_IN_PROCESS, "it configures a proxy");
        fields.refuse("b", Code::ACCEPTED_NOT_IN_FORCE, "traces are not exported");
        fields.refuse("c", Code::NOT_YET_IN_FORCE, "absent");
        fields.skip(&["status"]);
        fields.finish();
    });
    assert_eq!(
        lines,
        [
            "a.yaml:1:1: error[MESH0402]: field `a` is not supported in a process: it configures a proxy",
            "a.yaml:2:1: warning[MESH0501]: field `b` is not yet in force: traces are not exported",
        ]
    );
}

#[test]
fn snake_case_is_read_where_protobuf_reads_it() {
    let fields = |cx: &Reader<'_>, node: &Node| {
        let mut fields = cx.mapping(node).unwrap();
        let percentage = fields.optional("mirrorPercentage", Reader::percent);
        let trips = fields.optional("consecutive5xxErrors", Reader::u32);
        fields.finish();
        (percentage, trips)
    };
    let snake = "mirror_percentage: 5\nconsecutive5xx_errors: 7\n";
    assert_eq!(
        read_as(Spelling::CamelOrSnake, snake, fields),
        ((Some(5), Some(7)), vec![])
    );
    let camel = "mirrorPercentage: 5\n";
    assert_eq!(
        read_as(Spelling::CamelOrSnake, camel, fields),
        ((Some(5), None), vec![])
    );
    let (value, lines) = read("mirror_percentage: 5\n", fields);
    assert_eq!(value, (None, None));
    assert_eq!(
        lines,
        ["a.yaml:1:1: error[MESH0101]: unknown field `mirror_percentage`"]
    );

    let both = "mirrorPercentage: 5\nmirror_percentage: 6\n";
    let expected = "a.yaml:2:1: error[MESH0105]: fields `mirrorPercentage` and `mirror_percentage` exclude each other";
    assert_eq!(
        read_as(Spelling::CamelOrSnake, both, fields),
        ((Some(5), None), vec![expected.into()])
    );
}

#[test]
fn fields_that_are_dropped_refuse_what_was_not_read() {
    let (_, lines) = read("a: 1\nb: 2\n", |cx, node| {
        let mut fields = cx.mapping(node).unwrap();
        fields.optional("a", Reader::u32)
    });
    assert_eq!(lines, ["a.yaml:2:1: error[MESH0101]: unknown field `b`"]);

    let (_, lines) = read("a: x\nb: 2\n", |cx, node| {
        let mut fields = cx.mapping(node)?;
        fields.optional("a", Reader::u32)?;
        fields.optional("b", Reader::u32)
    });
    assert_eq!(
        lines,
        ["a.yaml:1:4: error[MESH0102]: `a`: expected a whole number, found the text `x`"]
    );
}

#[test]
fn items_keep_their_place() {
    let (hosts, lines): (Vec<Spanned<String>>, _) = read("hosts:\n- a\n- 5\n- c\n", |cx, node| {
        let mut fields = cx.mapping(node).unwrap();
        let hosts = fields.list("hosts", spanned(Reader::string));
        assert_eq!(
            hosts.iter().map(|host| cx.origin(host.span).line).collect::<Vec<_>>(),
            [2, 4]
        );
        hosts
    });
    assert_eq!(hosts.iter().map(|host| host.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(
        lines,
        ["a.yaml:3:3: error[MESH0102]: `hosts`: expected text, found the number `5`"]
    );
}

#[test]
fn a_choice_lists_the_names_it_knows() {
    const MODES: &[(&str, u8)] = &[("STRICT", 1), ("PERMISSIVE", 2)];
    assert_eq!(scalar("STRICT", choice(MODES)), Ok(1));
    let names = listed(&["STRICT", "PERMISSIVE"]);
    assert_eq!(
        scalar("strict", choice(MODES)),
        invalid(&format!("unknown value `strict`, expected {names}"))
    );
    assert_eq!(
        scalar("5", choice(MODES)),
        invalid("unknown value `5`, expected `STRICT` or `PERMISSIVE`")
    );
}

#[test]
fn what_came_through_two_aliases_is_reported_once() {
    let (_, lines) = read("a: &x {port: many}\nb: *x\n", |cx, node| {
        let mut fields = cx.mapping(node).unwrap();
        for name in ["a", "b"] {
            fields.optional(name, |cx, node| cx.mapping(node)?.optional("port", Reader::port));
        }
    });
    assert_eq!(
        lines,
        ["a.yaml:1:14: error[MESH0102]: `port`: expected a whole number, found the text `many`"]
    );
}
