use super::*;
use proptest::prelude::*;
use serde_json::json;

fn value(text: &str) -> Value {
    parse(text, MAX_PLAN).unwrap()
}

fn error(text: &str) -> String {
    parse(text, MAX_PLAN).unwrap_err().to_string()
}

#[test]
fn yaml_and_json_give_the_same_values() {
    let yaml = "seed: 18446744073709551615\nfaults:\n- name: a\n  rate: 20%\n  delay: {p99.9: 5ms}\n  from: [\"!10.1.2.3\"]\n";
    let json = "{\r\n\t\"seed\": 18446744073709551615,\r\n\t\"faults\": [{\"name\":\"a\",\"rate\":\"20%\",\"delay\":{\"p99.9\":\"5ms\"},\"from\":[\"!10.1.2.3\"]}]}";
    let expected = json!({
        "seed": u64::MAX,
        "faults": [{"name": "a", "rate": "20%", "delay": {"p99.9": "5ms"}, "from": ["!10.1.2.3"]}]
    });
    assert_eq!(value(yaml), expected);
    assert_eq!(value(json), expected);
    assert_eq!(value(&format!("\u{feff}{json}")), expected);
}

#[test]
fn escapes_of_json_are_read() {
    assert_eq!(value(r#"["a\/b\u00e9\n", "x"]"#), json!(["a/b\u{e9}\n", "x"]));
}

#[test]
fn documents_of_a_stream_know_their_line() {
    let documents = parse_all("# first\na: 1\n---\n\nb: 2\n---\n...\n---\n- c\n", MAX_PLAN).unwrap();
    let lines: Vec<_> = documents.iter().map(|document| document.line).collect();
    assert_eq!((lines[0], lines[1], *lines.last().unwrap()), (2, 5, 9));
    assert_eq!(documents[1].value, json!({"b": 2}));
    assert_eq!(documents[2].value, Value::Null);
    assert_eq!(parse_all("", MAX_PLAN), Ok(vec![]));
    assert_eq!(error(""), "holds nothing");
    assert_eq!(error("# nothing\n"), "holds nothing");
    assert_eq!(error("a\n---\nb\n"), "holds 2 documents instead of one");
}

#[test]
fn a_key_given_twice_is_an_error_with_its_line_and_column() {
    assert_eq!(error("a:\n  b: 1\n  b: 2\n"), "line 3 column 3: the key \"b\" is given twice");
    assert_eq!(error(r#"{"a": 1, "a": 2}"#), "line 1 column 10: the key \"a\" is given twice");
}

#[test]
fn what_is_not_supported_is_named() {
    assert_eq!(
        error("a: &a {b: 1}\nc:\n  <<: *a\n"),
        "line 3 column 3: merge keys (<<) are not supported; write the fields out"
    );
    assert_eq!(error("[a, b]: c"), "line 1 column 1: a key must be plain text");
    assert_eq!(error("a: !env PORT"), "line 1 column 4: the tag !env is not supported here");
    assert_eq!(error("a: !!int x"), "line 1 column 4: the tag tag:yaml.org,2002:!int is not supported here");
    assert_eq!(value("a: !!str 12"), json!({"a": "12"}));
}

#[test]
fn characters_that_no_document_may_have_are_errors() {
    assert_eq!(error("a: 1\nb: \0"), "line 2 column 4: the character \\u{0} is not allowed");
    assert_eq!(error("a: \u{7}"), "line 1 column 4: the character \\u{7} is not allowed");
    assert!(error("a: [1").starts_with("line "), "{}", error("a: [1"));
}

#[test]
fn aliases_are_copies_until_they_explode() {
    assert_eq!(value("a: &a [1]\nb: *a\n"), json!({"a": [1], "b": [1]}));
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        use std::fmt::Write;
        let below = format!("*a{}", level - 1);
        let list = [below.as_str(); 10].join(", ");
        writeln!(laughs, "a{level}: &a{level} [{list}]").unwrap();
    }
    let text = error(&laughs);
    assert!(text.ends_with("holds more than 131072 values, those of aliases counted each time"), "{text}");
}

#[test]
fn a_long_text_copied_by_aliases_is_held_by_the_budget() {
    let text = format!("- &a {}\n{}", "x".repeat(500_000), "- *a\n".repeat(50_000));
    assert!(matches!(
        parse(&text, MAX_PLAN),
        Err(DocumentError { line: 3, problem: Problem::TooManyNodes(_), .. })
    ));
}

#[test]
fn anchors_inside_anchors_are_held_by_the_budget() {
    let open = (0..60).fold(String::new(), |open, i| open + &format!("&a{i} ["));
    let text = format!("{open}{}{}", "a,".repeat(60_000), "]".repeat(60));
    assert!(matches!(parse(&text, MAX_PLAN), Err(DocumentError { problem: Problem::TooManyNodes(_), .. })));
}

#[test]
fn a_recursive_anchor_is_refused() {
    assert_eq!(error("a: &a [*a]"), "line 1 column 8: an alias stands inside what it stands for");
}

#[test]
fn deep_nesting_is_refused_without_deep_recursion() {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(&nested(64), MAX_PLAN).is_ok());
    assert!(error(&nested(65)).ends_with("nested deeper than 64"), "{}", error(&nested(65)));
    for text in ["[".repeat(1 << 20), "{a: ".repeat(1 << 18), "- ".repeat(1 << 19), "? ".repeat(1 << 19)] {
        assert!(parse(&text, MAX_PLAN).is_err());
    }
    // Depth by aliases counts, too.
    let mut by_alias = "- &a0 [x]\n".to_owned();
    for level in 1..100 {
        use std::fmt::Write;
        writeln!(by_alias, "- &a{level} [*a{}]", level - 1).unwrap();
    }
    assert!(error(&by_alias).ends_with("nested deeper than 64"));
}

#[test]
fn a_text_above_the_limit_is_refused() {
    assert_eq!(error(&"x".repeat(MAX_PLAN + 1)), "1048577 bytes are more than the 1048576 allowed");
    assert!(parse(&"x".repeat(MAX_PLAN), MAX_PLAN).is_ok());
    assert!(error(&format!("[{}]", "a,".repeat(400_000))).contains("holds more than"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[-\\[\\]{}:,?&*!|>'\"%@` \nab0~.#\t\r<é\u{85}\u{2028}]{0,60}") {
        let _ = parse_all(&text, MAX_PLAN);
    }

    #[test]
    fn json_reads_back(text in "\\PC{0,20}", number in any::<u64>(), float in -1e9..1e9_f64) {
        let value = json!({"text": text, "number": number, "list": [float, null, true, {"a": {}}]});
        prop_assert_eq!(parse(&value.to_string(), MAX_PLAN), Ok(value));
    }
}
