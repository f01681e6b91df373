//! Redirects, followed as Go follows them.

use super::*;

#[test]
fn nine_redirects_are_followed_and_the_tenth_is_failure() {
    let again = redirect(302, "/again");
    let mut answers: Vec<(&[u8], End)> = vec![(&again, Fin); 9];
    answers.push((OK, Fin));
    check(&Server::new(&answers).probe(LONG), Success, Phase::Complete, Some(200), "");
    answers.insert(0, (&again, Fin));
    let message = "Get \"/again\": stopped after 10 redirects";
    check(&Server::new(&answers).probe(LONG), Failure, Phase::Redirect, Some(302), message);
}

#[test]
fn a_redirect_to_another_port_of_the_host_is_followed() {
    let there = Server::new(&[(b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n", Fin)]);
    let here = Server::new(&[(&redirect(307, &format!("http://{}/x?y#z", there.address)), Fin)]);
    let message = "HTTP probe failed with statuscode: 503";
    check(&here.probe(LONG), Failure, Phase::Complete, Some(503), message);
    let expected = format!(
        "GET /x?y HTTP/1.1\r\nHost: {}\r\nUser-Agent: kube-probe/1.36\r\nAccept: */*\r\nReferer: {}\r\n\
         Connection: close\r\n\r\n",
        there.address,
        here.url()
    );
    assert_eq!(there.request(), expected);
}

#[test]
fn a_relative_redirect_keeps_the_host_header() {
    let server = Server::new(&[(&redirect(301, "x"), Fin), (OK, Fin)]);
    attempt(&server.url(), &["Host: example.org"], LONG);
    for path in ["/p", "/x"] {
        assert!(server.request().starts_with(&format!("GET {path} HTTP/1.1\r\nHost: example.org\r\n")));
    }
}

#[test]
fn user_and_password_of_a_redirect_are_sent_and_not_shown() {
    let there = Server::new(&[(&redirect(302, "/x"), Fin), (b"HTTP/1.1 404 x\r\n\r\n", Fin)]);
    let here = Server::new(&[(&redirect(302, &format!("http://u:p%40@{}/y", there.address)), Fin)]);
    check(&here.probe(LONG), Failure, Phase::Complete, Some(404), "HTTP probe failed with statuscode: 404");
    let request = there.request();
    assert!(request.contains("\r\nAccept: */*\r\nAuthorization: Basic dTpwQA==\r\nReferer: "), "{request}");
    // A relative redirect keeps them, and Referer never has them.
    let request = there.request();
    assert!(request.contains("\r\nAuthorization: Basic dTpwQA==\r\n"), "{request}");
    assert!(request.contains(&format!("\r\nReferer: http://{}/y\r\n", there.address)), "{request}");
    let closed = closed();
    let outcome = judged(&redirect(302, &format!("http://u:p@{closed}/")), Fin);
    assert!(
        outcome.message.starts_with(&format!("Get \"http://u:***@{closed}/\": dial tcp ")),
        "{outcome:?}"
    );
}

#[test]
fn three_slashes_begin_a_path_and_not_a_host() {
    let server = Server::new(&[(&redirect(302, "///path"), Fin), (OK, Fin)]);
    check(&server.probe(LONG), Success, Phase::Complete, Some(200), "");
    server.request();
    assert!(server.request().starts_with("GET ///path HTTP/1.1\r\n"));
}

#[test]
fn headers_about_a_body_do_not_follow_a_redirect_that_drops_it() {
    for (status, follows) in [(302, false), (307, true)] {
        let server = Server::new(&[(&redirect(status, "/x"), Fin), (OK, Fin)]);
        attempt(&server.url(), &["Content-Type: a/b", "X-A: 1"], LONG);
        assert!(server.request().contains("\r\nContent-Type: a/b\r\n"));
        let second = server.request();
        assert_eq!(second.contains("Content-Type"), follows, "{second}");
        assert!(second.contains("\r\nX-A: 1\r\n"));
    }
}

#[test]
fn a_redirect_to_another_host_is_a_warning() {
    for location in ["http://example.invalid/", "//example.invalid/", "https://example.invalid/", "mailto:x"]
    {
        let outcome = judged(&redirect(302, location), Hang);
        let message = "Probe terminated redirects, Response body: body";
        check(&outcome, Warning, Phase::Complete, Some(302), message);
    }
}

#[test]
fn other_3xx_and_a_redirect_without_location_are_warnings() {
    for (status, header) in
        [(300, "Location: /x\r\n"), (302, ""), (302, "Location:\r\n"), (304, ""), (399, "")]
    {
        let answer = format!("HTTP/1.1 {status} x\r\n{header}Content-Length: 0\r\n\r\n");
        let message = "Probe terminated redirects, Response body: ";
        check(&judged(answer.as_bytes(), Hang), Warning, Phase::Complete, Some(status), message);
    }
}

#[test]
fn a_redirect_that_leads_nowhere_is_failure() {
    let closed = closed();
    let url = format!("http://{closed}/x");
    let message = format!("Get \"{url}\": dial tcp {closed}: connect: connection refused");
    check(&judged(&redirect(302, &url), Fin), Failure, Phase::Connect, None, &message);
    for (location, reason) in [
        ("http://[::1/", "missing ']' in host"),
        ("%zz", "invalid URL escape \"%zz\""),
        ("http://127.0.0.%31/", "invalid URL escape \"%31\""),
        ("http://127.0.0.1:9x/", "invalid port \":9x\" after host"),
    ] {
        let server = Server::new(&[(&redirect(302, location), Fin)]);
        let message = format!(
            "Get \"{}\": failed to parse Location header \"{location}\": parse \"{location}\": {reason}",
            server.url()
        );
        check(&server.probe(LONG), Failure, Phase::Redirect, Some(302), &message);
    }
}

#[test]
fn a_short_body_of_a_redirect_is_awaited_and_a_long_one_is_not() {
    let there = Server::new(&[(OK, Fin)]);
    for (length, result) in [(2049, Success), (2048, Failure)] {
        let location = there.url();
        let answer =
            format!("HTTP/1.1 302 x\r\nLocation: {location}\r\nContent-Length: {length}\r\n\r\npart");
        let here = Server::new(&[(answer.as_bytes(), Hang)]);
        let timeout = if result == Success { LONG } else { SHORT };
        assert_eq!(here.probe(timeout).result, result, "{length}");
    }
}
