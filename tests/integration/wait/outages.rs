//! Outages of the API server: restarts, expired watches and throttling.

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
