//! An application that speaks HTTP/2, behind the probe listener.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use h2::server::SendResponse;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::*;

type Call = Request<RecvStream>;

/// An application that answers each stream by a function.
pub(super) struct Application {
    pub(super) url: String,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Application {
    /// Answers `done` to every request.
    pub(super) async fn done() -> Self {
        Self::answering(|_, mut respond| async move { done(&mut respond) }).await
    }

    async fn answering<F, S>(answer: S) -> Self
    where
        S: Fn(Call, SendResponse<Bytes>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::with(h2::server::Builder::new(), answer).await
    }

    async fn with<F, S>(builder: h2::server::Builder, answer: S) -> Self
    where
        S: Fn(Call, SendResponse<Bytes>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("h2c://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let task = tokio::spawn(async move {
            let mut serving = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                let (builder, answer) = (builder.clone(), answer.clone());
                serving.spawn(async move {
                    let mut connection = builder.handshake(socket).await.unwrap();
                    let mut streams = JoinSet::new();
                    while let Some(Ok((call, respond))) = connection.accept().await {
                        streams.spawn(answer(call, respond));
                    }
                });
            }
        });
        Self { url, connections, task }
    }

    async fn service(&self) -> Service {
        Service::start(&[("UPSTREAM", &self.url)]).await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers with what the request had: target, host and the body, in the order they came, and its trailers as trailers.
async fn echo(call: Call, mut respond: SendResponse<Bytes>) {
    let (head, mut body) = call.into_parts();
    let mut answer = Response::new(());
    answer.headers_mut().insert("x-target", head.uri.to_string().parse().unwrap());
    answer.headers_mut().insert("x-method", head.method.as_str().parse().unwrap());
    answer.headers_mut().insert("trailer", "x-end".parse().unwrap());
    for name in ["host", "te", "x-forwarded-for", "connection", "transfer-encoding", "upgrade"] {
        if let Some(value) = head.headers.get(name) {
            answer
                .headers_mut()
                .insert(hyper::header::HeaderName::try_from(format!("x-{name}")).unwrap(), value.clone());
        }
    }
    let mut stream = respond.send_response(answer, false).unwrap();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        stream.send_data(data, false).unwrap();
    }
    let trailers = body.trailers().await.ok().flatten();
    stream.send_trailers(trailers.unwrap_or_default()).unwrap();
}

/// Answers `done` to a request without a body.
fn done(respond: &mut SendResponse<Bytes>) {
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(Bytes::from_static(b"done"), true).unwrap();
}

#[tokio::test]
async fn a_call_with_bodies_and_trailers_passes_in_both_directions() {
    let application = Application::answering(echo).await;
    let service = application.service().await;
    let mut client = Client::connect(&service).await;
    let call = Request::post("http://app.test:81/a.B/C?x=%2F").header("te", "trailers").body(()).unwrap();
    let (answer, mut body) = client.requests.send_request(call, false).unwrap();
    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
    let head = answer.headers().clone();
    assert_eq!(head["x-target"], "http://app.test:81/a.B/C?x=%2F");
    assert_eq!((&head["x-method"], &head["x-te"]), (&"POST".parse().unwrap(), &"trailers".parse().unwrap()));
    assert_eq!(head["x-x-forwarded-for"], "127.0.0.1");
    assert!(!head.contains_key("x-host"), "the host is in the target alone");
    // The head of the answer arrives before the body of the request: a bidirectional call.
    let mut stream = answer.into_body();
    for piece in ["one", "two"] {
        body.send_data(Bytes::from_static(piece.as_bytes()), false).unwrap();
        let data = timeout(PATIENCE, stream.data()).await.unwrap().unwrap().unwrap();
        assert_eq!(&data[..], piece.as_bytes());
    }
    body.send_trailers([("x-end".parse().unwrap(), "7".parse().unwrap())].into_iter().collect()).unwrap();
    assert!(timeout(PATIENCE, stream.data()).await.unwrap().is_none());
    assert_eq!(stream.trailers().await.unwrap().unwrap()["x-end"], "7");
    assert_eq!(service.metric("probesim_upstream_requests_total", &["code=\"200\""]).await, 1.0);
}

#[tokio::test]
async fn clients_of_http_1_can_call_it() {
    let application = Application::answering(echo).await;
    let service = application.service().await;
    let request = "POST /a?b=c HTTP/1.1\r\nHost: app.test\r\nTE: trailers\r\nTrailer: X-End\r\n\
                   Transfer-Encoding: chunked\r\nConnection: close, TE\r\n\r\n\
                   5\r\nhello\r\n0\r\nX-End: 9\r\n\r\n";
    let answer = exchange(service.probe, request).await;
    assert_eq!(answer.status(), 200);
    let text = answer.text();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.contains("x-target: http://app.test/a?b=c\r\n"), "{text}");
    assert!(!text.contains("x-connection") && !text.contains("x-transfer-encoding"), "{text}");
    assert!(text.ends_with("5\r\nhello\r\n0\r\nx-end: 9\r\n\r\n"), "{text}");
    // A change of protocol is not possible, and not needed: the request is an ordinary one.
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade, close\r\n\r\n";
    let answer = exchange(service.probe, upgrade).await;
    assert_eq!(answer.status(), 200);
    assert!(!answer.text().contains("x-upgrade"), "{}", answer.text());
    let odd = "OPTIONS * HTTP/1.0\r\n\r\n";
    assert!(exchange(service.probe, odd).await.text().contains("x-method: OPTIONS\r\n"));
}

#[tokio::test]
async fn requests_share_few_connections_within_what_the_application_allows() {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(4);
    let application = Application::with(builder, |_, mut respond| async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        done(&mut respond);
    })
    .await;
    let service = application.service().await;
    let mut client = Client::connect(&service).await;
    for _ in 0..2 {
        assert_eq!(client.get("/").await.unwrap().body, b"done");
    }
    assert_eq!(application.connections(), 1);
    let began = tokio::time::Instant::now();
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(client.send(request("/")).await.unwrap());
    }
    for answer in answers {
        assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(application.connections(), 3);
}

#[tokio::test]
async fn a_reset_of_the_application_reaches_the_client_with_its_code() {
    let application = Application::answering(|call, mut respond| async move {
        if call.uri().path() == "/early" {
            return respond.send_reset(Reason::ENHANCE_YOUR_CALM);
        }
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data(Bytes::from_static(b"be"), false).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.send_reset(Reason::CANCEL);
    })
    .await;
    let service = application.service().await;
    let mut client = Client::connect(&service).await;
    assert_eq!(client.reset("/early").await, Reason::ENHANCE_YOUR_CALM);
    assert_eq!(service.metric("probesim_upstream_errors_total", &["reason=\"reset\""]).await, 1.0);
    assert_eq!(service.metric("probesim_upstream_requests_total", &["code=\"none\""]).await, 1.0);
    assert_eq!(service.metric("probesim_requests_total", &["traffic", "code=\"none\""]).await, 1.0);
    let late = client.get("/late").await.unwrap();
    assert_eq!((late.body, late.end.unwrap_err().reason()), (b"be".to_vec(), Some(Reason::CANCEL)));
    assert_eq!(service.metric("probesim_upstream_errors_total", &["reason=\"body\""]).await, 1.0);
    // HTTP/1 has no such reset.
    let answer = service.get("/early").await;
    assert_eq!(
        (answer.status(), answer.header("x-probesim-upstream-error")),
        (502, Some("reset".to_owned()))
    );
}

#[tokio::test]
async fn a_request_cancelled_by_the_client_is_cancelled_at_the_application() {
    let (sender, mut resets) = mpsc::unbounded_channel();
    let application = Application::answering(move |_, mut respond| {
        let sender = sender.clone();
        async move {
            let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            sender.send(reason.unwrap()).unwrap();
        }
    })
    .await;
    let service = application.service().await;
    let mut client = Client::connect(&service).await;
    client.requests = client.requests.clone().ready().await.unwrap();
    let unary = client.send(request("/")).await.unwrap();
    let upload = Request::post("http://probesim.test/").body(()).unwrap();
    let (_answer, mut body) = client.requests.send_request(upload, false).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(unary);
    assert_eq!(timeout(PATIENCE, resets.recv()).await.unwrap(), Some(Reason::CANCEL));
    body.send_reset(Reason::CANCEL);
    assert_eq!(timeout(PATIENCE, resets.recv()).await.unwrap(), Some(Reason::CANCEL));
    // A client of HTTP/1 cancels by leaving.
    let mut socket = TcpStream::connect(service.probe).await.unwrap();
    socket.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab").await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(socket);
    assert!(timeout(PATIENCE, resets.recv()).await.unwrap().is_some());
}

/// An application whose first connection begins with the first of two streams alone, says so, and ends after its answer.
/// Others answer each stream.
async fn leaving() -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("h2c://{}", listener.local_addr().unwrap());
    let serve = |mut socket: TcpStream, leaves: bool| async move {
        socket.write_all(&HELLO[HELLO.len() - 9..]).await?;
        socket.read_exact(&mut [0; 24]).await?;
        let mut streams = 0;
        loop {
            let mut head = [0; 9];
            socket.read_exact(&mut head).await?;
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            socket.read_exact(&mut payload).await?;
            if head[3] != 1 {
                continue;
            }
            streams += 1;
            // A head of `:status: 200` that ends the stream.
            let ok = |stream: u8| [0, 0, 1, 1, 5, 0, 0, 0, stream, 0x88];
            if !leaves {
                socket.write_all(&ok(head[8])).await?;
            } else if streams == 2 {
                // GOAWAY, with the first stream as the last that was begun with.
                socket.write_all(b"\0\0\x08\x07\0\0\0\0\0\0\0\0\x01\0\0\0\0").await?;
                socket.write_all(&ok(1)).await?;
                return Ok::<_, std::io::Error>(());
            }
        }
    };
    let task = tokio::spawn(async move {
        let (mut serving, mut leaves) = (JoinSet::new(), true);
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            serving.spawn(serve(socket, std::mem::take(&mut leaves)));
        }
    });
    (url, task)
}

#[tokio::test]
async fn requests_that_a_goaway_excludes_are_sent_once_more() {
    let (url, task) = leaving().await;
    let service = Service::start(&[("UPSTREAM", &url)]).await;
    let mut client = Client::connect(&service).await;
    let first = client.send(request("/1")).await.unwrap();
    let second = client.send(Request::post("http://probesim.test/2").body(()).unwrap()).await.unwrap();
    for answer in [first, second] {
        assert_eq!(timeout(PATIENCE, answer).await.unwrap().unwrap().status(), StatusCode::OK);
    }
    assert_eq!(service.metric("probesim_upstream_requests_total", &["code=\"200\""]).await, 2.0);
    assert_eq!(service.metric("probesim_upstream_errors_total", &[]).await, 0.0);
    task.abort();
}

#[tokio::test]
async fn a_refused_request_with_a_body_is_reset_so_that_its_client_may_retry() {
    let (url, task) = leaving().await;
    let service = Service::start(&[("UPSTREAM", &url)]).await;
    let mut client = Client::connect(&service).await;
    let first = client.send(request("/1")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let upload = Request::post("http://probesim.test/2").body(()).unwrap();
    let (second, mut body) = client.requests.send_request(upload, false).unwrap();
    body.send_data(Bytes::from_static(b"once"), false).unwrap();
    assert_eq!(timeout(PATIENCE, first).await.unwrap().unwrap().status(), StatusCode::OK);
    let error = timeout(PATIENCE, second).await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM), "{error:?}");
    assert_eq!(service.metric("probesim_upstream_errors_total", &["reason=\"closed\""]).await, 1.0);
    task.abort();
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_delay_others() {
    let application = Application::answering(|call, mut respond| async move {
        if call.uri().path() == "/small" {
            return done(&mut respond);
        }
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        for _ in 0..64 {
            stream.reserve_capacity(16 << 10);
            while stream.capacity() < 16 << 10 {
                if std::future::poll_fn(|cx| stream.poll_capacity(cx)).await.is_none() {
                    return;
                }
            }
            stream.send_data(Bytes::from_static(&[b'x'; 16 << 10]), false).unwrap();
        }
        stream.send_data(Bytes::new(), true).unwrap();
    })
    .await;
    let service = application.service().await;
    let mut slow = Client::connect(&service).await;
    let stalled = slow.head("/large").await.unwrap();
    let mut client = Client::connect(&service).await;
    for _ in 0..20 {
        assert_eq!(client.get("/small").await.unwrap().body, b"done");
    }
    assert_eq!(application.connections(), 1);
    assert_eq!(read(stalled).await.body.len(), 1 << 20);
}

#[tokio::test]
async fn an_application_without_http_2_is_a_clear_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("h2c://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 64]).await;
            socket.write_all(b"HTTP/1.1 505 Version\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        }
    });
    let service = Service::start(&[("UPSTREAM", &url)]).await;
    let answer = service.get("/").await;
    assert_eq!(
        (answer.status(), answer.header("x-probesim-upstream-error")),
        (502, Some("invalid".to_owned()))
    );
    assert!(answer.body().contains("h2c:// requires an upstream that speaks HTTP/2"), "{}", answer.body());
    task.abort();
    let service = Service::start(&[("UPSTREAM", "h2c://127.0.0.1:9")]).await;
    assert_eq!(service.get("/").await.header("x-probesim-upstream-error"), Some("refused".to_owned()));
    let mut client = Client::connect(&service).await;
    assert_eq!(client.get("/").await.unwrap().head.status(), StatusCode::BAD_GATEWAY);
}
