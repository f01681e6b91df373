//! Variables that the command line sets.

use super::*;

fn flag(written: &str, variable: &str, value: &str) -> Flag {
    Flag { written: written.to_owned(), variable: variable.to_owned(), value: value.to_owned() }
}

fn with(pairs: &[(&str, &str)], flags: &[Flag]) -> Result<Loaded, Errors> {
    load_with(pairs.iter().map(|(name, value)| (name.into(), value.into())), flags)
}

#[test]
fn a_flag_wins_over_the_environment_and_the_last_one_counts() {
    let port = |flags: &[Flag]| with(&[("PORT", "1000")], flags).unwrap().config.probe_address.port;
    assert_eq!(port(&[]), 1000);
    assert_eq!(port(&[flag("--port", "PORT", "2000")]), 2000);
    assert_eq!(port(&[flag("--port", "PORT", "2000"), flag("--set PORT", "PORT", "3000")]), 3000);
    assert_eq!(port(&[flag("--port", "PORT", "")]), 8080, "an empty value unsets the variable");
}

#[test]
fn a_flag_replaces_other_names_for_the_same_thing() {
    let loaded = with(
        &[("FAIL_COUNT", "3"), ("RECOVERY_PERIOD", "2"), ("ADMIN_TOKEN_FILE", "/token")],
        &[
            flag("--set FAIL_AFTER_REQUESTS", "FAIL_AFTER_REQUESTS", "7"),
            flag("--set ADMIN_TOKEN", "ADMIN_TOKEN", "x"),
        ],
    );
    let config = loaded.unwrap().config;
    assert_eq!(config.admin_token, Some(Token::Text("x".to_owned())));
    let rules: Value = config.plan.rules().iter().map(write_rule).collect();
    assert_eq!(rules[0]["when"], json!({"requests": {"after": 7, "for": 2}}));
}

#[test]
fn errors_and_warnings_name_the_flag() {
    let errors = with(
        &[("LATENCY", "x")],
        &[
            flag("--port", "PORT", "70000"),
            flag("--set FAULTS", "FAULTS", "faults: [{name: a}]"),
            flag("--set FAILURE_RATE", "FAILURE_RATE", "120"),
        ],
    );
    let text = errors.unwrap_err().to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], r#"--set FAILURE_RATE="120": is not between 0% and 100%"#);
    assert_eq!(lines[1], "--set FAULTS: faults[0] (a): `target` is missing");
    assert!(lines[2].starts_with(r#"LATENCY="x": "#), "{text}");
    assert_eq!(lines[3], r#"--port="70000": is not a whole number from 0 to 65535"#);
    let loaded = with(&[], &[flag("--set FAIL_COUNT", "FAIL_COUNT", "5")]).unwrap();
    assert_eq!(loaded.warnings[0].to_string(), "--set FAIL_COUNT: has no effect without RECOVERY_PERIOD");
}

#[test]
fn the_directory_of_the_state_is_known_before_anything_else_is_read() {
    let flags = [flag("--set STATE_DIR", "STATE_DIR", "/of-a-flag"), flag("--port", "PORT", "1000")];
    let unset = [flag("--set STATE_DIR", "STATE_DIR", "")];
    for pairs in [&[][..], &[("STATE_DIR", "/state")], &[("STATE_DIR", " /state ")], &[("STATE_DIR", " ")]] {
        let variables: Vec<(OsString, OsString)> =
            pairs.iter().map(|(name, value)| (name.into(), value.into())).collect();
        for flags in [&[][..], &flags, &unset] {
            let known = state_dir(&variables, flags);
            assert_eq!(known, with(pairs, flags).unwrap().config.files.state, "{pairs:?} {flags:?}");
        }
    }
}
