use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
struct TestRequest {
    method: &'static str,
    target: String,
    host: Option<&'static str>,
    headers: Vec<(&'static str, &'static str)>,
}

impl RequestView for TestRequest {
    fn method(&self) -> &str {
        self.method
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    fn host(&self) -> Option<&str> {
        self.host
    }

    fn header(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.as_bytes())
    }
}

fn test_request(target: &str) -> TestRequest {
    TestRequest { method: "GET", target: target.to_owned(), host: None, headers: Vec::new() }
}

fn path(path: &str) -> Match {
    let mut wanted = Match::default();
    wanted.set_path(path).unwrap();
    wanted
}

fn query(name: &str, value: &str) -> Match {
    let mut wanted = Match::default();
    wanted.add_query(name, value).unwrap();
    wanted
}

#[test]
fn the_raw_path_is_compared() {
    for (pattern, target, admits) in [
        ("/orders", "/orders", true),
        ("/orders", "/orders?x=1", true),
        ("/orders", "/orders/", false),
        ("/orders", "/Orders", false),
        ("/orders", "/%6frders", false),
        ("/orders/*", "/orders/7", true),
        ("/orders/*", "/orders/", true),
        ("/orders/*", "/orders", false),
        ("/orders/*", "/ordersx/7", false),
        ("/*", "/", true),
        ("/", "/x", false),
    ] {
        assert_eq!(path(pattern).admits(&test_request(target)), admits, "{pattern} {target}");
    }
}

#[test]
fn one_of_the_methods_is_enough() {
    let mut wanted = Match::default();
    wanted.add_method("post").unwrap();
    wanted.add_method("PUT").unwrap();
    assert_eq!(wanted.methods(), ["POST", "PUT"]);
    for (method, admits) in [("POST", true), ("PUT", true), ("GET", false)] {
        assert_eq!(wanted.admits(&TestRequest { method, ..test_request("/") }), admits, "{method}");
    }
}

#[test]
fn a_host_without_a_port_means_any_port() {
    for (pattern, host, admits) in [
        ("shop.example", Some("shop.example"), true),
        ("shop.example", Some("Shop.Example:8080"), true),
        ("shop.example:8080", Some("shop.example:8080"), true),
        ("shop.example:8080", Some("shop.example"), false),
        ("shop.example", Some("a.shop.example"), false),
        ("[::1]", Some("[::1]:8080"), true),
        ("[::1]", Some("[::1]"), true),
        ("[::1]:80", Some("[::1]"), false),
        ("shop.example", None, false),
    ] {
        let mut wanted = Match::default();
        wanted.set_host(pattern).unwrap();
        assert_eq!(wanted.admits(&TestRequest { host, ..test_request("/") }), admits, "{pattern} {host:?}");
    }
}

#[test]
fn a_header_matches_if_any_of_its_values_does() {
    let with = |headers: &[(&'static str, &'static str)]| TestRequest {
        headers: headers.to_vec(),
        ..test_request("/")
    };
    let mut wanted = Match::default();
    wanted.add_header("X-Tenant", "blue").unwrap();
    wanted.add_header("authorization", "*").unwrap();
    let both = [("x-tenant", "red"), ("x-tenant", "blue"), ("authorization", "")];
    assert!(wanted.admits(&with(&both)));
    assert!(!wanted.admits(&with(&both[..2])), "authorization is missing");
    assert!(!wanted.admits(&with(&[("x-tenant", "Blue"), ("authorization", "x")])), "values are exact");
}

#[test]
fn parameters_are_compared_decoded_and_any_value_may_match() {
    for (name, value, target, admits) in [
        ("user", "42", "/?user=42", true),
        ("user", "42", "/?a=1&user=7&user=42", true),
        ("user", "42", "/?user=421", false),
        ("user", "42", "/?xuser=42", false),
        ("user", "42", "/", false),
        ("q", "a b", "/?q=a%20b", true),
        ("q", "a b", "/?q=a+b", true),
        ("q", "ä", "/?q=%C3%A4", true),
        ("q", "100%", "/?q=100%", true),
        ("q", "%zz", "/?q=%zz", true),
        ("debug", "*", "/?debug", true),
        ("debug", "*", "/?debug=", true),
        ("debug", "", "/?debug", true),
        ("debug", "*", "/?debugger=1", false),
        ("b c", "*", "/?b%20c=1", true),
    ] {
        assert_eq!(query(name, value).admits(&test_request(target)), admits, "{name}={value} {target}");
    }
}

#[test]
fn all_conditions_must_hold() {
    let mut wanted = path("/orders");
    wanted.add_method("POST").unwrap();
    wanted.add_query("dry", "1").unwrap();
    let full = TestRequest { method: "POST", ..test_request("/orders?dry=1") };
    assert!(wanted.admits(&full));
    assert!(!wanted.admits(&TestRequest { method: "GET", ..full.clone() }));
    assert!(!wanted.admits(&TestRequest { target: "/orders".to_owned(), ..full.clone() }));
    assert!(!wanted.admits(&TestRequest { target: "/order?dry=1".to_owned(), ..full }));
}

#[test]
fn values_that_no_request_can_have_are_rejected() {
    let mut wanted = Match::default();
    let long = "x".repeat(MAX_MATCH_TEXT + 1);
    for bad in ["", "orders", "/a?b", "/a b", "/a#b", "/ä", "/a*b", "/a*", "*"] {
        assert_eq!(wanted.set_path(bad), Err(MatchError::Path), "{bad}");
    }
    assert_eq!(wanted.set_path(&format!("/{long}")), Err(MatchError::TooLong(MAX_MATCH_TEXT + 2)));
    for bad in ["", "GE T", "GET,POST", "ä"] {
        assert_eq!(wanted.add_method(bad), Err(MatchError::Method), "{bad}");
    }
    for bad in ["", "a b", "a/b", "http://a"] {
        assert_eq!(wanted.set_host(bad), Err(MatchError::Host), "{bad}");
    }
    for bad in ["", "a b", "a:", ":path"] {
        assert_eq!(wanted.add_header(bad, "x"), Err(MatchError::HeaderName), "{bad}");
    }
    for bad in [" x", "x ", "a\r\nb", "\0"] {
        assert_eq!(wanted.add_header("a", bad), Err(MatchError::HeaderValue), "{bad}");
    }
    assert_eq!(wanted.add_query("", "x"), Err(MatchError::ParameterName));
    assert!(wanted.is_empty(), "{wanted:?}");
    wanted.add_header("Accept", "x").unwrap();
    assert_eq!(wanted.add_header("accept", "y"), Err(MatchError::Twice("accept".to_owned())));
    for i in 1..MAX_MATCHES {
        wanted.add_header(&format!("x-{i}"), "*").unwrap();
    }
    assert_eq!(wanted.add_header("one-more", "*"), Err(MatchError::TooMany));
}

#[test]
fn only_the_first_200_parameters_of_a_query_are_compared() {
    for (before, admits) in [(199, true), (200, false)] {
        let target = format!("/?{}debug=1", "a=b&".repeat(before));
        assert_eq!(query("debug", "1").admits(&test_request(&target)), admits, "{before} before it");
    }
}

proptest! {
    #[test]
    fn any_encoded_parameter_is_found(name in "\\PC{1,8}", value in "\\PC{0,8}") {
        prop_assume!(value != "*");
        let encoded = |text: &str| {
            text.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02x}"))
        };
        let target = format!("/?a=b&{}={}", encoded(&name), encoded(&value));
        prop_assert!(query(&name, &value).admits(&test_request(&target)));
        prop_assert!(query(&name, "*").admits(&test_request(&target)));
    }

    #[test]
    fn any_query_is_parsed_to_its_end(text in "[ -~]{0,40}") {
        let view = test_request(&format!("/?{text}"));
        prop_assert_eq!(query("no such parameter", "*").admits(&view), text.contains("no such parameter"));
    }
}
