//! Outages of the API server: restarts, expired watches and throttling.

use std::sync::Arc;

use super::*;

#[test]
fn a_server_that_restarts_is_waited_for_and_nothing_is_missed() {
    let server = ApiServer::new(|request: &Request| match (request.is_watch(), request.number) {
        (false, _) => list("7", &[deployment(5, false)]),
        (true, 0..4) => Answer::Watch(Vec::new()),
        (true, _) => Answer::Watch(vec![event("MODIFIED", &deployment(8, true))]),
    });
    let waiting = begin(&server, "deployment/postgres");
    until(|| server.requests().len() == 2);
    server.stop();
    thread::sleep(Duration::from_millis(300));
    server.start_again();
    until(|| server.requests().len() == 3);
    server.stop();
    server.start_again();
    until(|| server.requests().len() == 4);
    server.stop();
    server.start_again();
    let ran = waiting.join().unwrap();
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    let requests = server.requests();
    assert!(requests[1..].iter().all(Request::is_watch), "it goes on from where it was: {requests:?}");
    assert!(ran.out.contains("connect"), "an outage is said: {}", ran.out);
}

fn until(holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "it does not come");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_expired_watch_is_restarted_with_a_list() {
    // Once as an event and once as a status.
    let gone = status(410, "too old resource version");
    let server = ApiServer::new(move |request: &Request| match (request.is_watch(), request.number) {
        (false, number) => list(&format!("{number}"), &[deployment(5, number > 3)]),
        (true, 1) => Answer::WatchThenEnd(vec![event("ERROR", &gone)]),
        (true, 3) => Answer::Json(410, gone.clone()),
        (true, _) => Answer::Watch(Vec::new()),
    });
    let ran = waited(&server, "deployment/postgres");
    assert_eq!((ran.code, lines(&ran).len()), (0, 2), "{}", ran.out);
    let kinds: Vec<bool> = server.requests().iter().take(5).map(Request::is_watch).collect();
    assert_eq!(kinds, [false, true, false, true, false]);
}

#[test]
fn a_watch_that_ends_continues_from_its_last_event_or_bookmark() {
    let server = ApiServer::new(|request: &Request| match (request.is_watch(), request.number) {
        (false, _) => list("1", &[deployment(1, false)]),
        (true, 1) => Answer::WatchThenEnd(vec![event("MODIFIED", &deployment(4, false))]),
        (true, 2) => {
            assert!(request.path.ends_with("resourceVersion=4"), "{}", request.path);
            let bookmark = json!({"metadata": {"resourceVersion": "9"}});
            Answer::WatchThenEnd(vec![event("BOOKMARK", &bookmark)])
        }
        (true, _) => {
            assert!(request.path.ends_with("resourceVersion=9"), "{}", request.path);
            Answer::Watch(vec![event("MODIFIED", &deployment(10, true))])
        }
    });
    assert_eq!(waited(&server, "deployment/postgres").code, 0);
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn throttling_and_server_errors_are_waited_out() {
    let server = ApiServer::new(|request: &Request| match request.number {
        0 => Answer::JsonWith(429, "Retry-After: 1\r\n", status(429, "slow down")),
        1 => Answer::Json(500, status(500, "etcd is away")),
        2 => Answer::Text("<html>".to_owned()),
        3 => Answer::Close,
        4 => list("1", &[deployment(1, true)]),
        _ => Answer::Watch(Vec::new()),
    });
    let start = Instant::now();
    let ran = waited(&server, "deployment/postgres");
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(start.elapsed() >= Duration::from_secs(1), "Retry-After is obeyed");
    for part in
        ["429, too many requests: slow down", "500, error of the API server: etcd is away", "expected value"]
    {
        assert!(ran.out.contains(part), "{part} is not in {}", ran.out);
    }
}

#[test]
fn a_watch_that_breaks_off_within_an_event_misses_nothing() {
    for ends in [false, true] {
        let server = ApiServer::new(move |request: &Request| match (request.is_watch(), request.number) {
            (false, _) => list("7", &[deployment(5, false)]),
            (true, 1) => Answer::WatchCut { event: event("MODIFIED", &deployment(8, true)), bytes: 60, ends },
            (true, _) => Answer::Watch(vec![event("MODIFIED", &deployment(8, true))]),
        });
        let ran = waited(&server, "deployment/postgres");
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
        let requests = server.requests();
        assert_eq!(requests.len(), 3, "{requests:?}");
        assert!(requests[1..].iter().all(|request| request.path.ends_with("&resourceVersion=7")));
    }
}

#[test]
fn a_watch_is_refused_and_goes_on() {
    for (code, header, says) in [
        (429, "Retry-After: 2\r\n", "429, too many requests: later"),
        (503, "", "503, error of the API server: later"),
    ] {
        let server = ApiServer::new(move |request: &Request| match request.number {
            1 => Answer::JsonWith(code, header, status(code, "later")),
            number => match request.is_watch() {
                false => list("1", &[deployment(1, number > 1)]),
                true => Answer::Watch(Vec::new()),
            },
        });
        let start = Instant::now();
        let ran = waited(&server, "deployment/postgres");
        assert_eq!(ran.code, 0, "{}", ran.out);
        assert!(ran.out.contains(says), "{}", ran.out);
        assert_eq!(start.elapsed() >= Duration::from_secs(2), code == 429, "{:?}", start.elapsed());
    }
}

#[test]
fn a_server_that_restarts_with_another_certificate_of_its_authority_is_trusted() {
    let authority = Authority::new();
    let issue = || authority.config(&["127.0.0.1"], |_| {});
    let server =
        ApiServer::with(Some(issue()), |request: &Request| match (request.is_watch(), request.number) {
            (false, _) => list("7", &[deployment(5, false)]),
            (true, 0..2) => Answer::Watch(Vec::new()),
            (true, _) => Answer::Watch(vec![event("MODIFIED", &deployment(8, true))]),
        });
    let args = format!("deployment/postgres --certificate-authority {}", authority.file().display());
    let waiting = begin(&server, &args);
    until(|| server.requests().len() == 2);
    server.stop();
    server.start_again_with(Some(Arc::new(issue())));
    let ran = waiting.join().unwrap();
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    assert!(server.requests()[1..].iter().all(Request::is_watch));
}

#[test]
fn a_token_that_expires_during_a_watch_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "first").unwrap();
    let rotated = token.clone();
    let server = ApiServer::new(move |request: &Request| match (request.is_watch(), request.number) {
        (true, 1) => Answer::WatchThenEnd(Vec::new()),
        (true, 2) => Answer::Json(401, status(401, "Unauthorized")),
        // Until the kubelet has rotated it.
        (false, 3) => {
            std::fs::write(&rotated, "second").unwrap();
            Answer::Json(401, status(401, "Unauthorized"))
        }
        (false, number) => list("1", &[deployment(1, number > 3)]),
        (true, _) => Answer::Watch(Vec::new()),
    });
    let ran = waited(&server, &format!("deployment/postgres --token-file {}", token.display()));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    assert!(ran.out.contains("401, the token was rejected"), "{}", ran.out);
    let tokens: Vec<_> =
        server.requests().into_iter().take(5).map(|request| request.token.unwrap()).collect();
    assert_eq!(tokens, ["first", "first", "first", "first", "second"]);
}
