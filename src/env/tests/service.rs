//! Variables of the service itself.

use super::*;

#[test]
fn a_token_is_told_by_no_message_and_has_one_place() {
    let token = |pairs: &[(&str, &str)]| loaded(pairs).config.admin_token;
    assert_eq!(token(&[("ADMIN_TOKEN", "hunter2\n")]), Some(Token::Text("hunter2".to_owned())));
    assert_eq!(token(&[("ADMIN_TOKEN_FILE", "/token")]), Some(Token::File("/token".into())));
    assert_eq!(token(&[("ADMIN_TOKEN", "")]), None);
    let told = loaded(&[("ADMIN_TOKEN", "hunter2")]).effective;
    assert!(told.iter().all(|setting| !setting.value.contains("hunter2")) && !told.is_empty());
    assert_eq!(
        errors(&[("ADMIN_TOKEN", "hunter2"), ("ADMIN_TOKEN_FILE", "/token")]),
        ["ADMIN_TOKEN: does not go with ADMIN_TOKEN_FILE, which is also set; keep one"]
    );
    assert_eq!(
        errors(&[("ADMIN_TOKEN", "hunter2\nhunter3")]),
        ["ADMIN_TOKEN: contains a line break or another control character, which no request can send"]
    );
}

#[test]
fn no_route_is_there_twice() {
    for list in ["/api/*,/api/", "/api/,/api/*", "/api/*,/api/*"] {
        let paths = loaded(&[("TRAFFIC_PATHS", list)]).config.paths;
        let traffic: Vec<_> = paths.iter().filter(|(_, target)| *target == Target::Traffic).collect();
        assert_eq!(traffic, [&("/api/*".to_owned(), Target::Traffic)], "{list}");
    }
}

#[test]
fn the_service_has_defaults_and_takes_what_is_given() {
    let config = loaded(&[]).config;
    let s = Duration::from_secs;
    assert_eq!(config.admin_address, BindAddress { ip: None, port: 8081 });
    assert_eq!(
        (
            config.limits.connections,
            config.limits.head_time,
            config.limits.idle_time,
            config.limits.head_size
        ),
        (4096, s(10), s(75), 16 << 10)
    );
    assert_eq!((config.process.shutdown_delay, config.process.shutdown_grace), (s(0), s(5)));
    assert_eq!((config.process.worker_threads, config.process.log_format), (1, None));
    assert_eq!(config.seed, SeedChoice { seed: None, scope: SeedScope::Pod });
    assert_eq!(config.paths.len(), 7);

    let config = loaded(&[
        ("PORT", "8081"),
        ("BIND_ADDRESS", "127.0.0.1"),
        ("ADMIN_ADDRESS", "[::1]:8081"),
        ("LOG_LEVEL", "debug"),
        ("LOG_FORMAT", "text"),
        ("SHUTDOWN_DELAY", "1"),
        ("TRAFFIC_PATHS", "/api/*,/api/"),
        ("LIVENESS_PATHS", "/healthz,/alive"),
        ("POD_NAME", "web-0"),
        ("SEED_SCOPE", "fleet"),
    ])
    .config;
    assert_eq!(config.probe_address, BindAddress { ip: Some([127, 0, 0, 1].into()), port: 8081 });
    assert_eq!(config.admin_address.ip, Some("::1".parse().unwrap()));
    assert_eq!(
        (config.process.log_level, config.process.log_format),
        (tracing::Level::DEBUG, Some(LogFormat::Text))
    );
    let more: Vec<_> = config.paths[7..].iter().map(|(path, target)| (path.as_str(), *target)).collect();
    assert_eq!(more, [("/alive", Target::Liveness), ("/api/*", Target::Traffic)]);
    assert_eq!(config.identity.pod.as_deref(), Some("web-0"));
    assert_eq!(config.seed.scope, SeedScope::Fleet);
    // A free port never collides.
    assert!(load_pairs(&[("PORT", "0"), ("ADMIN_ADDRESS", ":0")]).is_ok());
}

#[test]
fn port_and_its_lower_case_do_not_collide() {
    for pairs in [[("PORT", "9000"), ("port", "1")], [("port", "1"), ("PORT", "9000")]] {
        let loaded = loaded(&pairs);
        assert_eq!(loaded.config.probe_address.port, 9000);
        let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings, ["port: unknown variable, ignored; did you mean PORT?"]);
    }
}

#[test]
fn words_are_taken_in_any_case() {
    let process = |name, value| loaded(&[(name, value)]).config.process;
    for value in ["debug", "DEBUG", "Debug"] {
        assert_eq!(process("LOG_LEVEL", value).log_level, tracing::Level::DEBUG, "{value}");
    }
    for value in ["warn", "WARN", "warning", "Warning"] {
        assert_eq!(process("LOG_LEVEL", value).log_level, tracing::Level::WARN, "{value}");
    }
    assert_eq!(process("LOG_FORMAT", "JSON").log_format, Some(LogFormat::Json));
    assert_eq!(loaded(&[("SEED_SCOPE", "Fleet")]).config.seed.scope, SeedScope::Fleet);
    assert_eq!(rules(&[("FAILURE_RATE", "5"), ("FAILURE_MODE", "Hang")])[0]["mode"], "hang");
    assert_eq!(rules(&[("PARTITION_FOR", "5"), ("PARTITION_MODE", "DROP")])[0]["mode"], "drop");
    assert_eq!(
        rules(&[("LATENCY", "5"), ("LATENCY_DISTRIBUTION", "Exponential")])[0]["delay"],
        json!({"distribution": "exponential", "mean": "5ms"})
    );
}
