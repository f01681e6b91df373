//! The page at `/` of the admin listener, as a browser gets it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::{Value, json};

use crate::support::{Reply, Service, exchange, repository};

async fn ask(service: &Service, method: &str, path: &str, headers: &str) -> Reply {
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
    exchange(service.admin, request).await
}

const BROWSER: &str =
    "accept: text/html,application/xhtml+xml,*/*;q=0.8\r\naccept-encoding: gzip, deflate, br\r\n";

#[tokio::test]
async fn a_browser_gets_the_page_and_other_clients_get_404() {
    let service = Service::start(&[]).await;
    let page = ask(&service, "GET", "/", BROWSER).await;
    assert_eq!(page.status(), 200);
    for header in [
        "content-type: text/html; charset=utf-8",
        "content-encoding: gzip",
        "x-frame-options: DENY",
        "x-content-type-options: nosniff",
        "vary: Accept, Accept-Encoding",
        "cache-control: no-cache",
    ] {
        assert!(page.head().contains(header), "{header}: {}", page.head());
    }
    let head = page.head();
    let policy = head.lines().find(|line| line.starts_with("content-security-policy: ")).unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe-"), "{policy}");
    assert!(!head.to_lowercase().contains("set-cookie"));
    for accept in ["", "accept: */*\r\n", "accept: application/json\r\n"] {
        let other = ask(&service, "GET", "/", accept).await;
        assert_eq!((other.status(), other.body().as_str()), (404, "not found"), "{accept}");
    }
    assert_eq!(ask(&service, "POST", "/", BROWSER).await.status(), 405);
    let head = ask(&service, "HEAD", "/", BROWSER).await;
    assert_eq!((head.status(), head.bytes.ends_with(b"\r\n\r\n")), (200, true));
    service.stop().await;
}

#[tokio::test]
async fn a_cached_file_is_not_sent_again_and_an_unsupported_encoding_gets_406() {
    let service = Service::start(&[]).await;
    let file = ask(&service, "GET", "/page/app.js", "").await;
    assert_eq!(file.status(), 200);
    let head = file.head();
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
        let again = ask(&service, "GET", "/page/app.js", &format!("if-none-match: {known}\r\n")).await;
        assert_eq!((again.status(), again.body().as_str()), (304, ""), "{known}");
        assert!(again.head().contains(&tag));
    }
    assert_eq!(ask(&service, "GET", "/page/app.js", "if-none-match: \"other\"\r\n").await.status(), 200);
    let plain = ask(&service, "GET", "/page/app.js", "accept-encoding: identity\r\n").await;
    assert_eq!(plain.status(), 406);
    assert!(plain.body().contains("gzip"), "{}", plain.body());
    for missing in ["/page/", "/page/none.js", "/page/../app.js", "/page/%2e%2e/app.js", "/page//app.js"] {
        assert_eq!(ask(&service, "GET", missing, BROWSER).await.status(), 404, "{missing}");
    }
    service.stop().await;
}

#[tokio::test]
async fn the_page_loads_without_a_token_and_steers_with_it_behind_a_proxy() {
    let service = Service::start(&[("ADMIN_TOKEN", "secret")]).await;
    assert_eq!(ask(&service, "GET", "/", BROWSER).await.status(), 200);
    let origin = "origin: http://127.0.0.1:8001\r\nx-forwarded-for: 10.0.0.1\r\n";
    for (token, status) in
        [("", 401), ("x-probesim-token: wrong\r\n", 401), ("x-probesim-token: secret\r\n", 200)]
    {
        let stop = ask(&service, "POST", "/v1/stop", &format!("{origin}{token}content-length: 0\r\n")).await;
        assert_eq!(stop.status(), status, "{token}");
    }
    service.stop().await;
}

#[test]
fn the_vendored_libraries_match_the_lock_file() {
    let read = |path: &str| std::fs::read_to_string(repository(path)).unwrap();
    let lock: Value = serde_json::from_str(&read("tests/e2e/page/package-lock.json")).unwrap();
    let licences = read("src/admin/page/vendor/licences.txt");
    for (file, package) in [("preact.js", "preact"), ("hooks.js", "preact"), ("htm.js", "htm")] {
        let of = &lock["packages"][format!("node_modules/{package}")];
        let text = |field: &str| of[field].as_str().unwrap();
        let head = format!(
            "/*! {package} {}, {}, licences.txt; {} */",
            text("version"),
            text("license"),
            text("integrity")
        );
        let code = read(&format!("src/admin/page/vendor/{file}"));
        assert_eq!(code.lines().next().unwrap(), head, "{file}: tests/e2e/page/vendor.mjs makes it anew");
        assert!(licences.contains(&format!("{package} {}\n", text("version"))));
        assert!(!code.contains("import\"http") && !code.contains("sourceMappingURL"), "{file}");
    }
    let package: Value = serde_json::from_str(&read("tests/e2e/page/package.json")).unwrap();
    assert_eq!(package["dependencies"], lock["packages"][""]["dependencies"]);
    assert_eq!(package["devDependencies"], lock["packages"][""]["devDependencies"]);
}

/// Asks with a JSON body.
async fn send(service: &Service, method: &str, path: &str, kind: &str, body: &str) -> (u16, Value) {
    let headers = format!("content-type: {kind}\r\ncontent-length: {}\r\n", body.len());
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n{body}");
    let reply = exchange(service.admin, request).await;
    (reply.status(), serde_json::from_str(&reply.body()).unwrap_or_default())
}

async fn preview(service: &Service, body: Value) -> (u16, Value) {
    send(service, "POST", "/v1/preview", "application/json", &body.to_string()).await
}

#[tokio::test]
async fn a_preview_shows_what_a_rule_will_do_and_changes_nothing() {
    let service = Service::start(&[]).await;
    let rule = json!({
        "name": "flaps", "target": "readiness", "mode": "status", "rate": "20%", "ttl": "12m",
        "when": {"after": "1m", "for": "20s", "every": "5m"},
    });
    let (status, answer) = preview(&service, json!({"fault": rule, "ahead": "1h"})).await;
    assert_eq!((status, &answer["created"], &answer["stopped"]), (200, &json!(true), &json!(false)));
    let of = &answer["rules"][0];
    // Three windows fit before its end.
    assert_eq!(of["windows"], json!([[60.0, 80.0], [360.0, 380.0], [660.0, 680.0]]));
    assert_eq!((&of["open_s"], &of["share"], &of["expected"]), (&json!(60.0), &json!(20.0), &json!(0.333)));
    let ends = of["ends_s"].as_f64().unwrap();
    assert!((719.0..=720.0).contains(&ends), "{ends}");
    let (_, state) = send(&service, "GET", "/v1/state", "application/json", "").await;
    assert_eq!((&state["generation"], &state["rules"]), (&json!(1), &json!([])));
    service.stop().await;
}

#[tokio::test]
async fn a_preview_accounts_for_ramps_and_many_windows() {
    let service = Service::start(&[]).await;
    let fault = |more: Value| {
        let mut rule = json!({"name": "x", "target": "traffic", "mode": "close"});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"fault": rule, "ahead": "10m"})
    };
    // It rises for five minutes, then stays for five: 75 % on average.
    let (_, ramp) = preview(&service, fault(json!({"ramp": "5m"}))).await;
    assert_eq!(ramp["rules"][0]["expected"], 75.0);
    // Half a second of each second: 600 windows, of which 200 are listed.
    let (_, many) = preview(&service, fault(json!({"when": {"for": "500ms", "every": "1s"}}))).await;
    let of = &many["rules"][0];
    assert_eq!((of["windows"].as_array().unwrap().len(), &of["more"]), (200, &json!(true)));
    assert_eq!((&of["open_s"], &of["expected"]), (&json!(300.0), &json!(50.0)));
    let (_, counted) = preview(&service, fault(json!({"when": {"requests": {"for": 3}}}))).await;
    assert_eq!(
        (&counted["rules"][0]["by_requests"], &counted["rules"][0]["windows"]),
        (&json!(true), &json!([[0.0]]))
    );
    service.stop().await;
}

#[tokio::test]
async fn a_wrong_preview_is_refused_with_the_field_it_is_about() {
    let service = Service::start(&[]).await;
    let rule = json!({"name": "x", "target": "readiness", "mode": "status"});
    for (body, field, reason) in [
        (json!({"fault": {"name": "x", "target": "readiness", "mode": "statu"}}), "mode", "is not one of"),
        (json!({"fault": {"target": "readiness", "mode": "status"}}), "name", ""),
        (json!({"fault": rule, "plan": {"faults": []}}), "fault", "does not go with plan"),
        (json!({"fault": rule, "ahead": "25h"}), "ahead", "at most 24h"),
        (json!({"past": "x"}), "past", "is not a duration"),
        (json!({"past": []}), "past", "is not a duration"),
        (json!({"futur": "1h"}), "", "unknown field \"futur\"; the fields are fault, plan, past, ahead"),
        (json!([]), "", "is not a mapping with fault, plan, past, ahead"),
    ] {
        let (status, problem) = preview(&service, body.clone()).await;
        let error = &problem["errors"][0];
        assert_eq!((status, error["field"].as_str()), (422, Some(field)), "{body}: {problem}");
        assert!(error["reason"].as_str().unwrap().contains(reason), "{problem}");
    }
    assert_eq!(ask(&service, "GET", "/v1/preview", "").await.status(), 405);
    service.stop().await;
}

#[tokio::test]
async fn a_preview_of_the_plan_in_force_has_past_and_future_windows() {
    let service = Service::start(&[("READINESS_FAILURE_RATE", "100")]).await;
    let (status, answer) = preview(&service, json!({"past": "1h"})).await;
    assert_eq!(status, 200);
    let windows = &answer["rules"][0]["windows"];
    let opens = windows[0][0].as_f64().unwrap();
    assert!(opens <= 0.0 && opens > -60.0 && windows[0].as_array().unwrap().len() == 1, "{windows}");
    assert_eq!(send(&service, "POST", "/v1/stop", "application/json", "{}").await.0, 200);
    let (_, stopped) = preview(&service, json!({})).await;
    assert_eq!((&stopped["stopped"], &stopped["rules"][0]["expected"]), (&json!(true), &json!(100.0)));
    service.stop().await;
}

#[tokio::test]
async fn targets_show_how_requests_ended_and_a_stop_shows_what_it_released() {
    let service = Service::start(&[("READINESS_FAILURE_RATE", "100"), ("LIVENESS_LATENCY", "20")]).await;
    for path in ["/readyz", "/readyz", "/livez"] {
        service.get(path).await;
    }
    let (_, report) = send(&service, "GET", "/v1/targets", "application/json", "").await;
    let of = |name: &str| {
        report["targets"].as_array().unwrap().iter().find(|of| of["name"] == name).unwrap().clone()
    };
    let readiness = of("readiness");
    assert_eq!(
        (&readiness["up"], &readiness["faulted"], &readiness["codes"]),
        (&json!(false), &json!(1), &json!({"500": 2}))
    );
    let liveness = of("liveness");
    assert_eq!((&liveness["up"], &liveness["codes"]), (&json!(true), &json!({"200": 1})));
    let durations: Vec<u64> = serde_json::from_value(liveness["durations"].clone()).unwrap();
    let bounds: Vec<f64> = serde_json::from_value(report["bounds"].clone()).unwrap();
    let at = bounds.iter().position(|bound| *bound >= 0.02).unwrap();
    assert_eq!((durations.len(), durations[at - 1], *durations.last().unwrap()), (bounds.len() + 1, 0, 1));
    let (_, stopped) = send(&service, "POST", "/v1/stop", "application/json", "{}").await;
    assert_eq!(stopped["released"]["rules"], 2);
    let (_, report) = send(&service, "GET", "/v1/targets", "application/json", "").await;
    assert_eq!((&report["stopped"], &report["targets"][1]["faulted"]), (&json!(true), &json!(0)));
    service.stop().await;
}

#[tokio::test]
async fn a_plan_may_be_put_as_yaml() {
    let service = Service::start(&[]).await;
    let plan = "# a drill\nfaults:\n  - {name: down, target: readiness, mode: status}\n";
    assert_eq!(send(&service, "PUT", "/v1/plan", "application/yaml", plan).await.0, 200);
    assert_eq!(service.get("/readyz").await.status(), 500);
    let (status, problem) = send(&service, "PUT", "/v1/plan", "application/yaml", "faults: [\n").await;
    assert_eq!(status, 400);
    assert!(problem["detail"].as_str().unwrap().contains("cannot be read"), "{problem}");
    service.stop().await;
}
