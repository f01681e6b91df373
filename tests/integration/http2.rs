//! HTTP/2 on the probe listener: with prior knowledge, and over TLS.

#![allow(clippy::float_cmp)]

mod agreement;
mod faults;
mod floods;
mod h2c;
mod health;
mod limits;
mod over_tls;
mod tools;
mod upstream;

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use h2::{Reason, RecvStream};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Duration, timeout};

use crate::support::{End, PATIENCE, Service, eventually, exchange, read_to_end};

/// The preface and an empty SETTINGS frame.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A client of HTTP/2, with one connection.
struct Client {
    requests: SendRequest<Bytes>,
    /// Ends with the connection.
    connection: JoinHandle<Result<(), h2::Error>>,
}

/// An answer, read to its end.
#[derive(Debug)]
struct Answer {
    head: Response<()>,
    body: Vec<u8>,
    /// How the body ended.
    end: Result<Option<HeaderMap>, h2::Error>,
}

impl Client {
    async fn connect(service: &Service) -> Self {
        Self::with(service, &h2::client::Builder::new()).await
    }

    async fn with(service: &Service, builder: &h2::client::Builder) -> Self {
        Self::over(TcpStream::connect(service.probe).await.unwrap(), builder).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        builder: &h2::client::Builder,
    ) -> Self {
        let (requests, connection): (SendRequest<Bytes>, Connection<_, _>) =
            builder.handshake(stream).await.unwrap();
        Self { requests, connection: tokio::spawn(connection) }
    }

    /// Sends a request without a body, and waits for the head of its answer.
    async fn head(&mut self, path: &str) -> Result<Response<RecvStream>, h2::Error> {
        let answer = self.send(request(path)).await?;
        timeout(PATIENCE, answer).await.expect("an answer or an error")
    }

    async fn send(&mut self, request: Request<()>) -> Result<h2::client::ResponseFuture, h2::Error> {
        self.requests = self.requests.clone().ready().await?;
        self.requests.send_request(request, true).map(|(answer, _)| answer)
    }

    async fn get(&mut self, path: &str) -> Result<Answer, h2::Error> {
        Ok(read(self.head(path).await?).await)
    }

    /// The error of a request without an answer.
    async fn reset(&mut self, path: &str) -> Reason {
        let error = self.head(path).await.unwrap_err();
        assert!(error.is_reset() && error.is_remote(), "{error:?}");
        error.reason().unwrap()
    }

    async fn ended(self) -> Result<(), h2::Error> {
        drop(self.requests);
        timeout(PATIENCE, self.connection).await.expect("the connection ends").unwrap()
    }
}

/// A service that delays answers to liveness requests.
async fn delayed(delay: &str, vars: &[(&str, &str)]) -> Service {
    let plan = format!("{{faults: [{{name: late, target: liveness, delay: {delay}}}]}}");
    Service::start(&[&[("FAULTS", plan.as_str())], vars].concat()).await
}

fn request(path: &str) -> Request<()> {
    Request::get(format!("http://probesim.test{path}")).body(()).unwrap()
}

async fn read(answer: Response<RecvStream>) -> Answer {
    let (parts, mut stream) = answer.into_parts();
    let mut body = Vec::new();
    let end = loop {
        match timeout(PATIENCE, stream.data()).await.expect("data or an end") {
            Some(Ok(data)) => {
                stream.flow_control().release_capacity(data.len()).unwrap();
                body.extend_from_slice(&data);
            }
            Some(Err(error)) => break Err(error),
            None => break stream.trailers().await,
        }
    };
    Answer { head: Response::from_parts(parts, ()), body, end }
}

#[tokio::test]
async fn requests_share_a_connection_and_are_counted_like_those_of_http_1() {
    let service = Service::start(&[]).await;
    let mut client = Client::connect(&service).await;
    for path in ["/healthz", "/readyz", "/healthz"] {
        let answer = client.get(path).await.unwrap();
        assert_eq!((answer.head.status(), &answer.body[..]), (StatusCode::OK, &b"ok"[..]));
        assert!(answer.head.headers().contains_key("date") && answer.end.unwrap().is_none());
    }
    assert_eq!(client.get("/nowhere").await.unwrap().head.status(), StatusCode::NOT_FOUND);
    assert_eq!(service.metric("probesim_connections", &[]).await, 1.0);
    assert_eq!(service.metric("probesim_requests_total", &["liveness", "code=\"200\""]).await, 2.0);
    assert_eq!(service.metric("probesim_requests_total", &["readiness", "code=\"200\""]).await, 1.0);
    client.ended().await.unwrap();
    eventually("the connection is closed", || async {
        service.metric("probesim_connections", &[]).await == 0.0
    })
    .await;
}

#[tokio::test]
async fn answers_to_requests_that_come_together_are_sent_together() {
    let service = Service::start(&[]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.write_all(HELLO).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut bytes = [0; 4096];
    // SETTINGS, and their acknowledgement.
    assert!(stream.try_read(&mut bytes).unwrap() > 0);
    let requests: Vec<u8> =
        (0..10).flat_map(|number| floods::frame(1, 5, 2 * number + 1, floods::GET)).collect();
    stream.write_all(&requests).await.unwrap();
    let count = timeout(PATIENCE, stream.read(&mut bytes)).await.unwrap().unwrap();
    let (mut heads, mut rest) = (0, &bytes[..count]);
    while let [a, b, c, kind, after @ ..] = rest {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        heads += usize::from(*kind == 1);
        rest = &after[5 + length..];
    }
    assert_eq!(heads, 10);
}

#[tokio::test]
async fn each_stream_is_a_numbered_request() {
    let plan = "{faults: [{name: second, target: liveness, mode: status, status: 503, \
                 when: {requests: {after: 1, for: 1}}}]}";
    let service = Service::start(&[("FAULTS", plan)]).await;
    let mut client = Client::connect(&service).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(client.get("/healthz").await.unwrap().head.status().as_u16());
    }
    assert_eq!(statuses, [200, 503, 200]);
}

#[tokio::test]
async fn a_slow_stream_does_not_delay_others() {
    let service = delayed("700ms", &[]).await;
    let mut client = Client::connect(&service).await;
    let slow = client.send(request("/healthz")).await.unwrap();
    let began = tokio::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(client.get("/readyz").await.unwrap().head.status(), StatusCode::OK);
    }
    assert!(began.elapsed() < Duration::from_millis(650), "{:?}", began.elapsed());
    assert_eq!(slow.await.unwrap().status(), StatusCode::OK);
    assert!(began.elapsed() >= Duration::from_millis(690), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_stream_that_its_client_cancels_counts_as_gone() {
    let service = delayed("1h", &[]).await;
    let mut client = Client::connect(&service).await;
    drop(client.send(request("/healthz")).await.unwrap());
    eventually("the client is counted as gone", || async {
        service.metric("probesim_clients_gone_total", &["liveness"]).await == 1.0
    })
    .await;
    assert_eq!(client.get("/readyz").await.unwrap().head.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_unread_request_body_is_accepted() {
    let service = Service::start(&[]).await;
    let mut client = Client::connect(&service).await;
    for _ in 0..5 {
        let request = Request::post("http://probesim.test/healthz").body(()).unwrap();
        let (answer, mut body) = client.requests.send_request(request, false).unwrap();
        body.send_data(Bytes::from(vec![b'b'; 60_000]), true).unwrap();
        assert_eq!(timeout(PATIENCE, answer).await.unwrap().unwrap().status(), StatusCode::OK);
    }
    assert_eq!(client.get("/readyz").await.unwrap().head.status(), StatusCode::OK);
}

#[tokio::test]
async fn connect_and_requests_without_a_host_are_refused() {
    let service = Service::start(&[]).await;
    let mut client = Client::connect(&service).await;
    let connect = Request::builder().method(Method::CONNECT).uri("probesim.test:80").body(()).unwrap();
    let answer = client.send(connect).await.unwrap().await.unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    let mut twice = request("/healthz");
    twice.headers_mut().append("host", "a".parse().unwrap());
    twice.headers_mut().append("host", "b".parse().unwrap());
    assert_eq!(client.send(twice).await.unwrap().await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_preface_that_comes_byte_by_byte_is_recognised_and_one_that_goes_wrong_is_http_1() {
    let service = Service::start(&[]).await;
    let mut socket = TcpStream::connect(service.probe).await.unwrap();
    for byte in HELLO {
        socket.write_all(&[*byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let mut header = [0; 9];
    timeout(PATIENCE, socket.read_exact(&mut header)).await.unwrap().unwrap();
    assert_eq!(header[3], 4, "SETTINGS come first: {header:?}");
    let other = exchange(service.probe, "PRI /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(other.status(), 200);
    let wrong = exchange(service.probe, "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n").await;
    assert_eq!((wrong.status(), wrong.end), (400, End::Fin));
}

#[tokio::test]
async fn clients_that_leave_before_or_within_the_preface_are_not_errors() {
    let service = Service::start(&[]).await;
    for bytes in [&b""[..], &HELLO[..1], &HELLO[..10], &HELLO[..24], HELLO] {
        let mut socket = TcpStream::connect(service.probe).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        socket.shutdown().await.unwrap();
        let reply = read_to_end(&mut socket).await;
        assert_eq!(reply.end, End::Fin, "{bytes:?}: {:?}", reply.bytes);
    }
    eventually("all connections are closed", || async {
        service.metric("probesim_connections", &[]).await == 0.0
    })
    .await;
    assert_eq!(service.metric("probesim_requests_total", &[]).await, 0.0);
    assert_eq!(service.metric("probesim_limits_hit_total", &[]).await, 0.0);
}

#[tokio::test]
async fn the_admin_listener_speaks_http_1_alone() {
    let service = Service::start(&[]).await;
    let reply = exchange(service.admin, std::str::from_utf8(HELLO).unwrap()).await;
    assert_eq!((reply.bytes.len(), reply.end), (0, End::Fin));
}

#[tokio::test]
async fn a_drain_sends_goaway_and_lets_streams_finish() {
    let service = delayed("800ms", &[("SHUTDOWN_GRACE", "20s")]).await;
    let (mut busy, idle) = (Client::connect(&service).await, Client::connect(&service).await);
    let slow = busy.send(request("/healthz")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let stopping = tokio::spawn(service.stop());
    // The client keeps its handle for further requests: the server is the one that ends the connection.
    let _requests = idle.requests;
    timeout(PATIENCE, idle.connection).await.unwrap().unwrap().unwrap();
    assert_eq!(slow.await.unwrap().status(), StatusCode::OK);
    let took = stopping.await.unwrap();
    assert!(took < Duration::from_secs(5), "{took:?}");
    timeout(PATIENCE, busy.connection).await.unwrap().unwrap().unwrap();
}
