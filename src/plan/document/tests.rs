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
    let documents = parse_manifests("# first\na: 1\n---\n\nb: 2\n---\n...\n---\n- c\n", MAX_PLAN).unwrap();
    let lines: Vec<_> = documents.iter().map(|document| document.line).collect();
    assert_eq!((lines[0], lines[1], *lines.last().unwrap()), (2, 5, 9));
    assert_eq!(documents[1].value, json!({"b": 2}));
    assert_eq!(documents[2].value, Value::Null);
    assert_eq!(parse_manifests("", MAX_PLAN), Ok(vec![]));
    assert_eq!(error(""), "is empty");
    assert_eq!(error("# nothing\n"), "is empty");
    assert_eq!(error("a\n---\nb\n"), "contains 2 documents instead of one");
}

#[test]
fn a_key_given_twice_is_an_error_with_its_line_and_column() {
    assert_eq!(error("a:\n  b: 1\n  b: 2\n"), "line 3 column 3: the key \"b\" is given twice");
    assert_eq!(error(r#"{"a": 1, "a": 2}"#), "line 1 column 10: the key \"a\" is given twice");
}

fn manifests(text: &str) -> Vec<Value> {
    let documents = parse_manifests(text, MAX_PLAN).unwrap_or_else(|error| panic!("{error}: {text}"));
    documents.into_iter().map(|document| document.value).collect()
}

fn manifest_error(text: &str) -> String {
    parse_manifests(text, MAX_PLAN).unwrap_err().to_string()
}

#[test]
fn a_flow_collection_may_end_at_any_indentation() {
    for text in [
        "a:\n  b: [\n    1,\n  ]\n",
        "a:\n  b: [\n    1\n]\n",
        "a:\n  b: [\n1\n ]\n",
        "a:\n  b:\n    [\n    1,\n    ]\n",
        "a: {b: [\n 1\n ]\n}\n",
        "a: {\n  b: [1],\n}\n",
    ] {
        assert_eq!(manifests(text), [json!({"a": {"b": [1]}})], "{text}");
    }
}

#[test]
fn a_quoted_text_may_go_on_at_any_indentation() {
    for text in [
        "a:\n  b: \"one\n  two\"\n",
        "a:\n  b: 'one\n    two'\n",
        "a:\n  b: \"one\n two\"\n",
        "a:\n  b: \"one\\\n \\ two\"\n",
    ] {
        assert_eq!(manifests(text), [json!({"a": {"b": "one two"}})], "{text}");
    }
}

#[test]
fn a_byte_order_mark_may_begin_any_document() {
    let expected = [json!({"a": 1}), json!({"b": 2})];
    assert_eq!(manifests("\u{feff}a: 1\n---\n\u{feff}b: 2\n"), expected);
    assert_eq!(manifests("\u{feff}a: 1\n---\r\n# c\r\n\u{feff}b: 2\r\n"), expected);
    assert_eq!(manifests("---\na: 1\n\u{feff}---\nb: 2\n"), expected);
    assert_eq!(
        manifest_error("a: 1\n\u{feff}b: 2\n"),
        "line 2 column 1: the character \\u{feff} is not allowed"
    );
}

#[test]
fn json_objects_one_after_the_other_are_documents() {
    let expected = [json!({"a": "}\u{1f600}"}), json!({"b": [2]})];
    assert_eq!(manifests("{\"a\": \"}\\ud83d\\ude00\"}\n{\n\t\"b\": [2]\n}\n"), expected);
    assert_eq!(manifests("{\"a\": \"}\\ud83d\\ude00\"}{\"b\": [2]}"), expected);
    let documents = parse_manifests("{\"a\": 1}\n\n{\"a\": 1}", MAX_PLAN).unwrap();
    assert_eq!(documents.iter().map(|document| document.line).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(
        manifest_error("{\"a\": 1}\n{\"b\": [}\n"),
        "line 2 column 7: is not YAML or JSON: mismatched bracket '[' closed by '}'"
    );
}

#[test]
fn a_manifest_takes_the_last_of_duplicate_keys_and_reports_them() {
    let duplicates = |text: &str| {
        let documents = parse_manifests(text, MAX_PLAN).unwrap();
        let last = documents.last().unwrap();
        (last.value.clone(), last.duplicates.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let twice = |place: &str| {
        format!("{place}: the key \"b\" is given twice; like kubectl, this takes the last value")
    };
    assert_eq!(duplicates("a:\n  b: 1\n  b: 2\n"), (json!({"a": {"b": 2}}), vec![twice("line 3 column 3")]));
    assert_eq!(
        duplicates("{\"a\": 1}\n{\"b\": 1, \"b\": 2}"),
        (json!({"b": 2}), vec![twice("line 2 column 10")])
    );
    assert_eq!(duplicates("b: 1\nb:\n").0, json!({"b": null}));
    let many = "b: 1\n".repeat(49) + "b: 49\n";
    assert_eq!((duplicates(&many).0, duplicates(&many).1.len()), (json!({"b": 49}), 20));
    assert_eq!(
        duplicates("a: &a {b: 1}\nc: {<<: *a, b: 2, b: 3}\n"),
        (json!({"a": {"b": 1}, "c": {"b": 3}}), vec![twice("line 2 column 19")])
    );
    assert_eq!(duplicates("b: 1\nb: 2\n---\nb: 1\n").1, Vec::<String>::new());
}

#[test]
fn many_json_objects_are_held_by_the_budget() {
    assert!(manifest_error(&"{}".repeat(MAX_PLAN / 2)).ends_with("counting the values of each alias"));
    assert!(parse_manifests(&"{}\n".repeat(1000), MAX_PLAN).is_ok_and(|documents| documents.len() == 1000));
}

#[test]
fn kyaml_is_read() {
    let text = "---\n{\n  # a comment\n  kind: \"Pod\",\n  list: [\n    \"no\",\n    { a: 1, },\n  ],\n}\n---\n{\n  b: 2,\n}\n";
    assert_eq!(manifests(text), [json!({"kind": "Pod", "list": ["no", {"a": 1}]}), json!({"b": 2})]);
}

#[test]
fn a_merge_key_takes_the_fields_of_mappings() {
    let merged = |text: &str| {
        manifests(&format!("- &a {{x: 1, u: 2}}\n- &b {{x: 3, z: 4}}\n- {text}\n"))[0][2].clone()
    };
    assert_eq!(merged("{<<: *a}"), json!({"x": 1, "u": 2}));
    assert_eq!(merged("{<<: *a, x: 9}"), json!({"x": 9, "u": 2}));
    assert_eq!(merged("{<<: [*a, *b]}"), json!({"x": 1, "z": 4, "u": 2}));
    assert_eq!(merged("{<<: {w: 0}, z: 1}"), json!({"w": 0, "z": 1}));
    // go-yaml v2 takes the fields in their order.
    assert_eq!(merged("{x: 9, <<: *a}"), json!({"x": 1, "u": 2}));
    assert_eq!(merged("{\"<<\": 1}"), json!({"<<": 1}));
    for wrong in ["{<<: 1}", "{<<: [1]}"] {
        let text = format!("a: {wrong}\n");
        assert!(manifest_error(&text).ends_with("a merge key (<<) needs a mapping or a list of mappings"));
    }
}

#[test]
fn merge_keys_are_held_by_the_budget() {
    let fields = (0..1000).fold(String::new(), |text, i| text + &format!("k{i}: {i}, "));
    let merges = "- {<<: *a}\n".repeat(1000);
    assert!(manifest_error(&format!("- &a {{{fields}}}\n{merges}")).contains("more than"));
}

#[test]
fn manifests_have_the_scalars_of_yaml_1_1() {
    let text = "{a: yes, b: off, c: 010, d: 1_000, e: \"yes\", on: y, f: !!int 010, g: !!str 010}";
    assert_eq!(
        manifests(text),
        [json!({"a": true, "b": false, "c": 8, "d": 1000, "e": "yes", "true": true, "f": 8, "g": "010"})]
    );
    assert_eq!(manifest_error("a: .inf"), "line 1 column 4: .inf is a number that JSON cannot represent");
}

#[test]
fn a_plan_says_where_yaml_1_1_reads_something_else() {
    let document =
        parse_document("seed: 010\nfaults:\n- {name: on, forward: yes, rate: \"no\"}\n", MAX_PLAN).unwrap();
    assert_eq!(document.value["seed"], json!(10));
    let places: Vec<_> = document.ambiguous.iter().map(|a| (a.line, a.column, a.text.as_str())).collect();
    assert_eq!(places, [(1, 7, "010"), (3, 10, "on"), (3, 23, "yes")]);
    assert_eq!(
        document.ambiguous[0].to_string(),
        "line 1 column 7: 010 is read as YAML 1.2; YAML 1.1 reads 8: write the value that is meant, or put text in quotes"
    );
    let many = parse_document(&format!("[{}]", "yes, ".repeat(1000)), MAX_PLAN).unwrap();
    assert_eq!(many.ambiguous.len(), 20);
    assert_eq!(parse_manifests("a: yes", MAX_PLAN).unwrap()[0].ambiguous, []);
}

#[test]
fn a_template_that_is_not_rendered_is_called_that() {
    let rendered_by = "is a template that has not been rendered ({{ … }}); pass the output of `helm template` or of the tool that renders it";
    for (text, place) in [
        ("kind: Pod\nmetadata:\n  name: {{ .Release.Name }}\n", "line 3 column 9"),
        ("{{- if .Values.enabled }}\nkind: Pod\n{{- end }}\n", "line 1 column 1"),
        (
            "kind: Pod\nmetadata:\n  labels:\n    {{- include \"labels\" . | nindent 4 }}\nspec: {}\n",
            "line 4 column 5",
        ),
        ("a: {{ .a }}-x\n", "line 1 column 4"),
    ] {
        assert_eq!(manifest_error(text), format!("{place}: {rendered_by}"), "{text}");
    }
    // A template inside a text is nobody's mistake, and not what is wrong here.
    assert!(!manifest_error("a: |\n  {{ $labels.pod }}\nb: 1\n\nc: [\n").contains("template"));
}

#[test]
fn what_is_not_supported_is_named() {
    assert_eq!(
        error("a: &a {b: 1}\nc:\n  <<: *a\n"),
        "line 3 column 3: merge keys (<<) are not supported; write the fields out"
    );
    assert_eq!(error("[a, b]: c"), "line 1 column 1: a key must be plain text");
    assert_eq!(error("a: !env PORT"), "line 1 column 9: the tag !env is not supported here");
    assert_eq!(error("a: !!int x"), "line 1 column 10: the tag !!int is not supported here");
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
    assert!(text.ends_with("contains more than 65536 values, counting the values of each alias"), "{text}");
}

#[test]
fn a_long_text_copied_by_aliases_is_held_by_the_budget() {
    let text = format!("- &a {}\n{}", "x".repeat(500_000), "- *a\n".repeat(50_000));
    assert!(matches!(
        parse(&text, MAX_PLAN),
        Err(DocumentError { line: 3, problem: DocumentProblem::TooMuchMemory(_), .. })
    ));
}

#[test]
fn anchors_inside_anchors_are_held_by_the_budget() {
    let open = (0..60).fold(String::new(), |open, i| open + &format!("&a{i} ["));
    let text = format!("{open}{}{}", "a,".repeat(60_000), "]".repeat(60));
    assert!(matches!(
        parse(&text, MAX_PLAN),
        Err(DocumentError { problem: DocumentProblem::TooManyValues(_), .. })
    ));
}

#[test]
fn a_recursive_anchor_is_refused() {
    assert_eq!(error("a: &a [*a]"), "line 1 column 8: an alias is inside the value that it refers to");
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
    assert!(error(&format!("[{}]", "a,".repeat(400_000))).contains("more than"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[-\\[\\]{}:,?&*!|>'\"%@` \nab0~.#\t\r<é\u{85}\u{2028}]{0,60}") {
        let _ = parse_manifests(&text, MAX_PLAN);
    }

    #[test]
    fn json_reads_back(text in "\\PC{0,20}", number in any::<u64>(), float in -1e9..1e9_f64) {
        let value = json!({"text": text, "number": number, "list": [float, null, true, {"a": {}}]});
        prop_assert_eq!(parse(&value.to_string(), MAX_PLAN), Ok(value));
    }
}
