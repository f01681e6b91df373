//! Access to the admin API.

use super::*;

#[tokio::test]
async fn every_caller_needs_the_token_and_it_can_change_in_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "first\n").unwrap();
    let service = Service::start(&[("ADMIN_TOKEN_FILE", file.to_str().unwrap())]).await;
    let with = |header: &str| {
        let text = request("GET", "/v1/state", &[header], &Value::Null)
            .replace("host: localhost", "host: web-0.example");
        exchange(service.admin, text)
    };
    let missing = with("x: y").await;
    assert_eq!(
        (missing.status(), missing.header("www-authenticate").as_deref()),
        (401, Some("Bearer realm=\"probesim\""))
    );
    for (header, status) in [
        ("authorization: Bearer first", 200),
        ("authorization: bearer first", 200),
        ("x-probesim-token: first", 200),
        ("x-probesim-token: firs", 401),
        ("authorization: Bearer firs", 401),
        ("authorization: Bearer first1", 401),
        ("authorization: Basic first", 401),
        ("authorization: Bearer", 401),
    ] {
        assert_eq!(with(header).await.status(), status, "{header}");
    }
    std::fs::write(&file, "second").unwrap();
    assert_eq!(with("authorization: Bearer first").await.status(), 401);
    assert_eq!(with("authorization: Bearer second").await.status(), 200);
    for broken in ["", "\n"] {
        std::fs::write(&file, broken).unwrap();
        assert_eq!(with("authorization: Bearer ").await.status(), 503);
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(with("authorization: Bearer second").await.status(), 503);
    assert_eq!(get(service.admin, "/metrics").await.status(), 200);
    assert_eq!(get(service.admin, "/openapi.json").await.status(), 200);
}

/// An address of this machine that is not loopback, if it has one.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the kernel only chooses a source address.
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[tokio::test]
async fn without_a_token_only_loopback_callers_with_a_loopback_host_are_answered() {
    let service = Service::start(&[("ADMIN_ADDRESS", ":0")]).await;
    let ask = |addr: SocketAddr, host: &str, more: &str| {
        exchange(addr, format!("GET /v1/state HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n"))
    };
    let port = service.admin.port();
    for (host, more, status) in [
        ("localhost", "", 200),
        (&*format!("127.0.0.1:{port}"), "", 200),
        ("[::1]:8081", "", 200),
        ("probesim.example", "", 403),
        ("localhost.example", "", 403),
        ("localhost", "origin: http://localhost\r\n", 200),
        ("localhost:1", "origin: http://localhost:2\r\n", 403),
        ("localhost", "origin: https://evil.example\r\n", 403),
        ("localhost", "origin: null\r\n", 403),
    ] {
        assert_eq!(ask(service.admin, host, more).await.status(), status, "{host} {more}");
    }
    for host in ["", "host: localhost\r\n"] {
        let old = exchange(service.admin, format!("GET /v1/state HTTP/1.0\r\n{host}\r\n")).await;
        assert!(old.text().starts_with("HTTP/1.0 403"), "{host}: {}", old.text());
    }
    for sign in
        ["x-forwarded-for: 10.0.0.1", "forwarded: for=10.0.0.1", "via: 1.1 proxy", "x-real-ip: 10.0.0.1"]
    {
        let reply = ask(service.admin, "localhost", &format!("{sign}\r\n")).await;
        assert_eq!(reply.status(), 403, "{sign}");
        assert!(reply.body().contains("shows a reverse proxy"), "{}", reply.body());
    }
    let reply = ask(service.admin, "localhost", "host: localhost\r\n").await;
    assert_eq!(reply.status(), 400, "two Host headers");
    assert_eq!(ask(service.admin, "a@localhost", "").await.status(), 400);
    let from = |source: [u8; 4], target: [u8; 4]| async move {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        let mut stream = socket.connect((target, port).into()).await.unwrap();
        let head = "GET /v1/state HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
        text.get(9..12).unwrap().to_owned()
    };
    assert_eq!(from([127, 0, 0, 1], [127, 0, 0, 1]).await, "200");
    assert_eq!(
        from([127, 0, 0, 6], [127, 0, 0, 1]).await,
        "403",
        "a mesh delivers foreign requests from there"
    );
    assert_eq!(from([127, 0, 0, 1], [127, 0, 0, 2]).await, "403");
    let Some(own) = own_address() else {
        println!("this machine has loopback alone: foreign peers are not tried");
        return;
    };
    let foreign = ask(SocketAddr::new(own, port), "localhost", "").await;
    assert_eq!(foreign.status(), 403);
    assert!(foreign.body().contains("only loopback callers are answered"), "{}", foreign.body());
    assert_eq!(get(SocketAddr::new(own, port), "/metrics").await.status(), 200);
}

#[tokio::test]
async fn without_loopback_and_without_a_token_every_change_is_refused() {
    let service = Service::start(&[("ADMIN_LOOPBACK", "false")]).await;
    let (status, problem) = service.ask("GET", "/v1/state", Value::Null).await;
    assert_eq!(status, 403);
    assert!(problem["detail"].as_str().unwrap().contains("set ADMIN_TOKEN or ADMIN_TOKEN_FILE"), "{problem}");
    assert_eq!(get(service.admin, "/metrics").await.status(), 200);
}
