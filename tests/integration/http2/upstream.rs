//! An application behind the probe listener, for clients of HTTP/2.

use super::*;
use tokio::net::TcpListener;

/// An application that answers one request per connection with these bytes, and returns the requests.
async fn application(answer: &'static [u8]) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut sent = Vec::new();
        let mut buffer = [0; 4096];
        while !sent.windows(4).any(|end| end == b"\r\n\r\n")
            || (sent.starts_with(b"POST") && !sent.ends_with(b"\r\n0\r\n\r\n"))
        {
            let count = socket.read(&mut buffer).await.unwrap();
            assert!(count > 0, "{:?}", String::from_utf8_lossy(&sent));
            sent.extend_from_slice(&buffer[..count]);
        }
        socket.write_all(answer).await.unwrap();
        socket.shutdown().await.unwrap();
        String::from_utf8(sent).unwrap()
    });
    (address, task)
}

#[tokio::test]
async fn the_request_of_a_stream_is_forwarded_with_its_host_and_answered() {
    let (address, task) =
        application(b"HTTP/1.1 203 Fine\r\nx-own: 1\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello")
            .await;
    let service = Service::start(&[("UPSTREAM", &address)]).await;
    let mut client = Client::connect(&service).await;
    let answer = client.get("/a?b=c").await.unwrap();
    assert_eq!((answer.head.status().as_u16(), &answer.body[..]), (203, &b"hello"[..]));
    assert_eq!(answer.head.headers()["x-own"], "1");
    assert!(!answer.head.headers().contains_key("connection"));
    let sent = task.await.unwrap().to_ascii_lowercase();
    assert!(sent.starts_with("get /a?b=c http/1.1\r\n"), "{sent}");
    assert!(sent.contains("\r\nhost: probesim.test\r\n"), "{sent}");
    assert_eq!(service.metric("probesim_requests_total", &["traffic", "code=\"203\""]).await, 1.0);
}

#[tokio::test]
async fn bodies_and_trailers_pass_in_both_directions() {
    let (address, task) = application(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: grpc-status\r\n\r\n5\r\nhello\r\n0\r\ngrpc-status: 0\r\n\r\n",
    )
    .await;
    let service = Service::start(&[("UPSTREAM", &address)]).await;
    let mut client = Client::connect(&service).await;
    let mut call = Request::post("http://probesim.test/a.B/C").body(()).unwrap();
    call.headers_mut().insert("te", "trailers".parse().unwrap());
    let (answer, mut body) = client.requests.send_request(call, false).unwrap();
    body.send_data(Bytes::from_static(b"ping"), true).unwrap();
    let answer = read(timeout(PATIENCE, answer).await.unwrap().unwrap()).await;
    assert_eq!(&answer.body[..], b"hello");
    let trailers = answer.end.unwrap().expect("trailers");
    assert_eq!(trailers["grpc-status"], "0");
    let sent = task.await.unwrap();
    assert!(sent.contains("\r\n4\r\nping\r\n"), "{sent}");
}

#[tokio::test]
async fn with_connection_true_a_part_of_the_applications_body_comes_before_the_end() {
    for mode in ["truncate", "body-reset"] {
        let plan =
            format!("{{faults: [{{name: cut, target: traffic, mode: {mode}, body: 2, connection: true}}]}}");
        let (url, _task) = application(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\napp").await;
        let service = Service::start(&[("UPSTREAM", &url), ("FAULTS", &plan)]).await;
        let mut client = Client::connect(&service).await;
        let answer = client.get("/x").await.unwrap();
        assert_eq!(
            (answer.body.as_slice(), answer.end.unwrap_err().is_reset()),
            (&b"ap"[..], false),
            "{mode}"
        );
        let ended = client.ended().await;
        assert_eq!(ended.is_err(), mode == "body-reset", "{ended:?}");
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_spares_the_application() {
    let plan = "{faults: [{name: drill, target: traffic, mode: close}]}";
    let service = Service::start(&[("UPSTREAM", "http://127.0.0.1:9"), ("FAULTS", plan)]).await;
    let mut client = Client::connect(&service).await;
    assert_eq!(client.reset("/a").await, Reason::CANCEL);
    assert_eq!(service.metric("probesim_upstream_errors_total", &[]).await, 0.0);
    assert_eq!(client.get("/healthz").await.unwrap().head.status(), StatusCode::BAD_GATEWAY);
}
