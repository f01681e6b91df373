use super::*;

fn url(text: &str) -> Url {
    Url::parse(text).unwrap().unwrap()
}

fn joined(base: &str, location: &str) -> Result<String, String> {
    url(base)
        .join(location.as_bytes())
        .map(|(url, _)| url.to_string())
        .map_err(|error| format!("{}: {}", String::from_utf8_lossy(&error.text), error.error))
}

#[test]
fn a_reference_is_resolved_as_gos_net_url_resolves_it() {
    for (location, expected) in [
        ("g", "http://a:1/b/c/g"),
        ("./g/", "http://a:1/b/c/g/"),
        ("../g?x=1#f", "http://a:1/b/g?x=1#f"),
        ("../../../g", "http://a:1/g"),
        ("/g", "http://a:1/g"),
        ("?y", "http://a:1/b/c/d?y"),
        ("?", "http://a:1/b/c/d?"),
        ("#f", "http://a:1/b/c/d?q#f"),
        ("", "http://a:1/b/c/d?q"),
        (".", "http://a:1/b/c/"),
        ("..", "http://a:1/b/"),
        ("*", "http://a:1/b/c/*"),
        ("//h:2/x", "http://h:2/x"),
        ("///x", "http://a:1///x"),
        ("//", "http://a:1/b/c/d?q"),
        ("/x//y/..", "http://a:1/x//"),
        ("HTTPS://h", "https://h"),
        ("http://h/a/../b", "http://h/b"),
        ("//u@h/", "http://u@h/"),
        ("http://u:p%40@h/x", "http://u:***@h/x"),
        ("http://%C3%A9/", "http://%C3%A9/"),
    ] {
        assert_eq!(joined("http://a:1/b/c/d?q", location).as_deref(), Ok(expected), "{location}");
    }
    // A reference without an authority keeps the user.
    assert_eq!(joined("http://u:p@a/b", "/c").as_deref(), Ok("http://u:***@a/c"));
    assert_eq!(joined("http://a/b#f", "?y").as_deref(), Ok("http://a/b?y"));
    assert_eq!(joined("http://a/b#f", "").as_deref(), Ok("http://a/b#f"));
}

#[test]
fn a_path_is_escaped_only_if_necessary() {
    let target = |text: &str| String::from_utf8(url(text).request_target()).unwrap();
    assert_eq!(target("http://a/x%2Fy[1]"), "/x%2Fy[1]");
    assert_eq!(target("http://a/a b?c d#f"), "/a%20b?c d");
    assert_eq!(
        target("http://a/a|b\"<é[1]{}^`\\?é|\"[]^"),
        "/a%7Cb%22%3C%C3%A9%5B1%5D%7B%7D%5E%60%5C?é|\"[]^"
    );
    assert_eq!(target("http://a?x"), "/?x");
    let (latin, _) = url("http://a/").join(b"/\xe9?\xe9").unwrap();
    assert_eq!(latin.request_target(), b"/%E9?\xe9");
}

#[test]
fn host_and_port_are_split() {
    for (text, host, port) in [
        ("http://[::1]:80/x", "::1", Some("80")),
        ("http://[::1]", "::1", None),
        ("http://[fe80::1%25eth0]:1", "fe80::1%eth0", Some("1")),
        ("http://h:1", "h", Some("1")),
        ("http://u:p@h:/", "h", None),
        ("tcp://a:b:1", "a:b", Some("1")),
    ] {
        let url = url(text);
        let expected = (host.as_bytes(), port.map(str::as_bytes));
        assert_eq!((url.hostname(), url.port()), expected, "{text}");
    }
}

#[test]
fn invalid_urls_are_refused_with_gos_messages() {
    for (location, message) in [
        ("http://[::1/", "http://[::1/: missing ']' in host"),
        ("http://[1.2.3.4]/", "http://[1.2.3.4]/: invalid IP-literal"),
        ("http://a[::1]/", "http://a[::1]/: invalid IP-literal"),
        ("http://[x]/", r#"http://[x]/: invalid host: ParseAddr("x"): unable to parse IP"#),
        ("http://h:9x/", r#"http://h:9x/: invalid port ":9x" after host"#),
        ("http://h:1:2/", r#"http://h:1:2/: invalid port ":1:2" after host"#),
        ("http://127.0.0.%31/", r#"http://127.0.0.%31/: invalid URL escape "%31""#),
        ("http://a b/", r#"http://a b/: invalid character " " in host name"#),
        ("http://u /p@h/", r#"http://u /p@h/: invalid character " " in host name"#),
        ("http://u p@h/", "http://u p@h/: net/url: invalid userinfo"),
        ("http://h/%zz", r#"http://h/%zz: invalid URL escape "%zz""#),
        ("http://h/%é", r#"http://h/%é: invalid URL escape "%é""#),
        ("http://h/%a", r#"http://h/%a: invalid URL escape "%a""#),
        ("/x#%zz", r#"/x#%zz: invalid URL escape "%zz""#),
        ("/%zz#f", r#"/%zz: invalid URL escape "%zz""#),
        ("http://h/\r\nX: y", "http://h/\r\nX: y: net/url: invalid control character in URL"),
        ("9x:foo", "9x:foo: first path segment in URL cannot contain colon"),
        (":x", ":x: missing protocol scheme"),
    ] {
        assert_eq!(joined("http://a/", location).unwrap_err(), message, "{location}");
    }
    assert_eq!((Url::parse("/x"), Url::parse("mailto:x")), (Ok(None), Ok(None)));
}

proptest::proptest! {
    #[test]
    fn no_location_causes_a_panic_or_splits_a_request(
        location in "(http:)?[a:/?#%\\[\\]@.é 0-9]{0,12}|.{0,12}",
    ) {
        if let Ok((url, _)) = url("http://a:1/b?q").join(location.as_bytes()) {
            let target = url.request_target();
            let path = target.split(|c| *c == b'?').next().unwrap();
            proptest::prop_assert!(path.iter().all(u8::is_ascii_graphic), "{location}");
            for part in [&target, &url.without_user(), &url.authority().to_vec()] {
                proptest::prop_assert!(!part.iter().any(u8::is_ascii_control), "{location}");
            }
        }
    }
}
