//! The answers of servers to HTTP probes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use kube_probesim::fault::KUBELET_BODY_LIMIT;
use kube_probesim::prober::{MAX_MESSAGE, Outcome, Phase, Probe, ProbeResult};
use tokio::runtime::{Builder, Runtime};

/// Longer than an attempt takes with any answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer gets the same verdict whether it comes at once or in two parts, and the verdict agrees with its message.
pub fn answer(data: &[u8]) {
    let whole = attempt(data, data.len());
    assert!(whole.duration < PATIENCE, "the attempt does not end");
    assert!(whole.message.len() <= MAX_MESSAGE);
    assert_eq!(whole.message.is_empty(), whole.result == ProbeResult::Success, "{whole:?}");
    let is_good = whole.status.is_some_and(|status| (200..400).contains(&status));
    assert!(!whole.result.is_success() || (is_good && whole.phase == Phase::Complete), "{whole:?}");
    // Beyond the limit, what is buffered decides, as in the kubelet.
    if data.len() as u64 <= KUBELET_BODY_LIMIT {
        let parts = Outcome { duration: whole.duration, ..attempt(data, data.len() / 2) };
        assert_eq!(whole, parts, "{:?}", String::from_utf8_lossy(data));
    }
}

/// The probe, and what the server sends: the bytes, and how many of them first.
struct Pair {
    probe: Probe,
    sent: Arc<Mutex<(Vec<u8>, usize)>>,
}

static PAIR: LazyLock<Pair> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    let sent = Arc::new(Mutex::new((Vec::new(), 0)));
    let shared = sent.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (bytes, first) = shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
            std::thread::spawn(move || serve(stream, &bytes, first));
        }
    });
    Pair { probe: Probe::parse(&format!("http://{address}/"), Vec::new()).expect("an address"), sent }
});

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("a runtime"));

fn attempt(bytes: &[u8], first: usize) -> Outcome {
    *PAIR.sent.lock().unwrap_or_else(PoisonError::into_inner) = (bytes.to_owned(), first);
    RUNTIME.block_on(PAIR.probe.attempt(PATIENCE))
}

fn serve(mut stream: TcpStream, bytes: &[u8], first: usize) {
    let _ = stream.set_nodelay(true);
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => request.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
    let (first, second) = bytes.split_at(first);
    if stream.write_all(first).is_ok() && stream.write_all(second).is_ok() {
        let _ = stream.shutdown(Shutdown::Write);
        while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
    }
}
