use super::*;

fn shown(text: &str) -> Vec<String> {
    parse_list(text).unwrap().iter().map(ToString::to_string).collect()
}

fn error(text: &str) -> String {
    parse_list(text).unwrap_err().to_string()
}

#[test]
fn proxies_are_read_from_a_variable_and_listen_on_loopback_unless_told_otherwise() {
    assert_eq!(
        shown("stock=:18090->http://stock:8080, pay=0.0.0.0:18091->http://pay , x=18092->unix:/run/x,"),
        [
            "stock=127.0.0.1:18090->http://stock:8080",
            "pay=0.0.0.0:18091->http://pay:80",
            "x=127.0.0.1:18092->unix:/run/x",
        ]
    );
    assert_eq!(
        shown("db=15432->postgres:5432, cache=:16379->tcp://[::1]:6379"),
        ["db=127.0.0.1:15432->postgres:5432", "cache=127.0.0.1:16379->[::1]:6379"]
    );
    assert_eq!(shown("a=[::1]:1->http://b, c=localhost:1->http://d").len(), 2);
    assert_eq!(shown("a=:0->http://b, c=:0->http://d").len(), 2, "free ports never collide");
    assert_eq!(shown(""), [""; 0]);
}

#[test]
fn wrong_proxies_are_named() {
    for (text, expected) in [
        ("db", "db: is not a proxy such as stock=:18090->http://stock:8080 or db=:15432->postgres:5432"),
        (
            "db=:1",
            "db=:1: is not a proxy such as stock=:18090->http://stock:8080 or db=:15432->postgres:5432",
        ),
        (
            "traffic=:1->http://a",
            "traffic=:1->http://a: the name traffic is reserved; a proxy needs another one",
        ),
        (
            "db=x->http://a",
            "db=x->http://a: is not an address to listen on, such as :18090 (only loopback) or 0.0.0.0:18090",
        ),
        ("db=:70000->http://a", "db=:70000->http://a: is not an address to listen on"),
        ("db=:1->postgres", "db=:1->postgres: has no port; write it behind the host, such as postgres:5432"),
        ("db=:1->postgres:0", "db=:1->postgres:0: has no valid port"),
        ("db=:1->udp://a:1", "db=:1->udp://a:1: is not the address of an upstream"),
        ("a=:1->http://x, a=:2->http://y", "entry 2 (a): name: the name a is already used by another proxy"),
        (
            "a=:1->http://x, b=:1->http://y",
            "entry 2 (b): listen=\"127.0.0.1:1\": is also the port of proxy a",
        ),
        (
            "a=:1->http://x, b=0.0.0.0:1->http://y",
            "entry 2 (b): listen=\"0.0.0.0:1\": is also the port of proxy a",
        ),
    ] {
        assert!(error(text).starts_with(expected), "{text}: {}", error(text));
    }
}

#[test]
fn tls_with_a_tcp_server_is_a_scheme_or_a_field() {
    let tls = |text: &str| parse_list(text).unwrap().remove(0).tls.is_some();
    assert!(tls("db=:1->tls://redis:6380") && tls("db=:1->https://a"));
    assert!(!tls("db=:1->redis:6380") && !tls("db=:1->tcp://redis:6380") && !tls("db=:1->http://a"));
    assert!(error("db=:1->tls://redis").contains("has no port"), "{}", error("db=:1->tls://redis"));
    assert!(
        error("db=:1->tls://tls://redis:1").contains("is not"),
        "{}",
        error("db=:1->tls://tls://redis:1")
    );
    let read = |more: Value| {
        let mut proxy = json!({"name": "a", "listen": ":1", "upstream": "tls://redis:6380"});
        proxy.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        read_proxy(&proxy, "").map_err(|errors| errors.lines().remove(0))
    };
    let field = json!({"name": "a", "listen": ":1", "upstream": "redis:6380", "tls": true});
    for more in [json!({}), json!({"tls": true}), json!({"protocol": "tcp"})] {
        assert_eq!(read(more), Ok(read_proxy(&field, "").unwrap()));
    }
    assert!(read(json!({"server_name": "cache", "insecure": true})).unwrap().tls.unwrap().insecure);
    for (more, error) in [
        (json!({"tls": false}), "a: tls: does not go with an upstream with tls://"),
        (json!({"protocol": "http"}), "a: protocol=\"http\": does not go with the scheme of its `upstream`"),
    ] {
        assert_eq!(read(more).unwrap_err(), error);
    }
}

#[test]
fn a_proxy_is_shown_as_it_can_be_written() {
    for text in ["e=127.0.0.1:9->tls://pg:1", "d=127.0.0.1:8->pg:5432", "f=127.0.0.1:7->https://a:8443"] {
        assert_eq!(parse_list(text).unwrap()[0].to_string(), text);
    }
}

#[test]
fn a_written_proxy_reads_back() {
    for proxy in
        parse_list("a=:1->http://b:8080, c=[::1]:7->unix:/run/x, d=:8->pg:5432, e=:9->tls://pg:1").unwrap()
    {
        assert_eq!(read_proxy(&write_proxy(&proxy), "").unwrap(), proxy);
    }
}

#[test]
fn the_protocol_may_be_given_beside_the_upstream_and_must_agree_with_it() {
    let read = |upstream: &str, protocol: &str| {
        let proxy = json!({"name": "a", "listen": ":1", "upstream": upstream, "protocol": protocol});
        read_proxy(&proxy, "").map(|proxy| proxy.to_string()).map_err(|errors| errors.lines().remove(0))
    };
    assert_eq!(read("stock:8080", "http").unwrap(), "a=127.0.0.1:1->http://stock:8080");
    assert_eq!(read("postgres:5432", "tcp").unwrap(), "a=127.0.0.1:1->postgres:5432");
    assert_eq!(read("h2c://stock:8080", "http").unwrap(), "a=127.0.0.1:1->h2c://stock:8080");
    for (upstream, protocol, error) in [
        ("http://stock", "tcp", "a: protocol=\"tcp\": does not go with the scheme of its `upstream`"),
        ("tcp://stock:1", "http", "a: protocol=\"http\": does not go with the scheme of its `upstream`"),
        ("stock:1", "udp", "a: protocol=\"udp\": is not one of tcp, http"),
    ] {
        assert_eq!(read(upstream, protocol).unwrap_err(), error);
    }
}

#[test]
fn everything_that_is_wrong_with_a_list_is_reported() {
    let list = json!([
        {"name": "a", "listen": ":1", "upstream": "http://b"},
        {"name": "A", "listen": "x", "upstream": 5, "port": 7},
        {"name": "a"},
        "b=:1->http://c",
    ]);
    let errors = read_list(&list, "").unwrap_err().lines();
    assert_eq!(
        errors,
        [
            "proxies[1] (A): unknown field \"port\"; the fields are name, listen, upstream, protocol, tls, ca, server_name, insecure",
            "proxies[1] (A): name=\"A\": the name \"A\" is not a DNS label: 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit",
            "proxies[1] (A): listen=\"x\": is not an address to listen on, such as :18090 (only loopback) or 0.0.0.0:18090",
            "proxies[1] (A): upstream=\"5\": has no valid host before the port; put an IPv6 address in brackets",
            "proxies[2] (a): `listen` is missing",
            "proxies[2] (a): `upstream` is missing",
            "proxies[3]=\"b=:1->http://c\": is not a mapping with name, listen, upstream, protocol, tls, ca, server_name, insecure",
        ]
    );
    let many: Vec<Value> = (0..=MAX_PROXIES).map(|_| json!({})).collect();
    assert_eq!(
        read_list(&many.into(), "FAULTS").unwrap_err().lines(),
        ["FAULTS: proxies: 59 entries are more than the 58 allowed"]
    );
}
