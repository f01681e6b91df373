//! Attempts over TLS, as the kubelet makes them.

#![allow(clippy::unwrap_used, reason = "the lint knows test functions, not their helpers")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use kube_probesim::prober::{Outcome, Phase, Probe, ProbeResult};
use kube_probesim::tls::Trust;
use rcgen::CertificateParams;
use rustls::{ProtocolVersion, ServerConfig, ServerConnection, StreamOwned};

use crate::scripted::{self, AWAITING, Fin, Hang, LONG, OK, SHORT, attempt, check, redirect};
use crate::support::authority::{Authority, config_with};
use ProbeResult::{Error, Failure, Success};

/// How a server ends after its answer.
#[derive(Clone, Copy, PartialEq)]
enum TlsEnd {
    CloseNotify,
    /// A FIN alone.
    Fin,
}

/// A server's view of a connection.
#[derive(Debug)]
struct Seen {
    name: Option<String>,
    version: Option<ProtocolVersion>,
    request: String,
    /// Whether the client sent `close_notify`.
    close_notify: bool,
}

struct Server {
    address: SocketAddr,
    seen: Receiver<Seen>,
}

impl Server {
    fn new(config: ServerConfig, answers: &[(&[u8], TlsEnd)]) -> Self {
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answers: Vec<_> = answers.iter().map(|(bytes, end)| (bytes.to_vec(), *end)).collect();
        let (sender, seen) = channel();
        std::thread::spawn(move || {
            for (number, socket) in listener.incoming().enumerate() {
                let (bytes, end) = answers[number.min(answers.len() - 1)].clone();
                if let Some(seen) = serve(Arc::clone(&config), socket.unwrap(), &bytes, end) {
                    let _ = sender.send(seen);
                }
            }
        });
        Self { address, seen }
    }

    fn url(&self) -> String {
        format!("https://{}/p", self.address)
    }

    fn seen(&self) -> Seen {
        self.seen.recv_timeout(LONG).unwrap()
    }
}

fn serve(config: Arc<ServerConfig>, socket: TcpStream, bytes: &[u8], end: TlsEnd) -> Option<Seen> {
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(read @ 1..) => request.extend_from_slice(&buffer[..read]),
            _ => return None,
        }
    }
    stream.write_all(bytes).ok()?;
    if end == TlsEnd::CloseNotify {
        stream.conn.send_close_notify();
        stream.flush().ok()?;
    }
    let _ = stream.sock.shutdown(std::net::Shutdown::Write);
    let close_notify = matches!(stream.read(&mut buffer), Ok(0));
    Some(Seen {
        name: stream.conn.server_name().map(ToOwned::to_owned),
        version: stream.conn.protocol_version(),
        request: String::from_utf8(request).unwrap(),
        close_notify,
    })
}

fn verified(url: &str, trust: Trust) -> Outcome {
    let probe = Probe::parse(url, Vec::new()).unwrap().trusting(trust);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(probe.attempt(LONG))
}

fn url_of(url: &str, message: &str) -> String {
    format!("Get \"{url}\": {message}")
}

#[test]
fn any_certificate_will_do_and_the_request_is_the_kubelets() {
    // Its name, its validity and its issuer are wrong.
    let outdated = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let config = Authority::new().config(&["elsewhere.example"], outdated);
    let server = Server::new(config, &[(OK, TlsEnd::CloseNotify)]);
    check(&attempt(&server.url(), &[], LONG), Success, Phase::Complete, Some(200), "");
    let seen = server.seen();
    assert_eq!(
        seen.request,
        format!(
            "GET /p HTTP/1.1\r\nHost: {}\r\nUser-Agent: kube-probe/1.36\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            server.address
        )
    );
    assert_eq!((seen.name, seen.version), (None, Some(ProtocolVersion::TLSv1_3)), "an address is not sent");
    assert!(seen.close_notify, "the client says that it ends");
}

#[test]
fn a_server_of_tls_1_2_is_probed_and_a_name_is_sent() {
    let config = Authority::new().config_of(&["localhost"], |_| {}, &[&rustls::version::TLS12]);
    let server = Server::new(config, &[(OK, TlsEnd::CloseNotify)]);
    let url = format!("https://localhost:{}/p", server.address.port());
    check(&attempt(&url, &[], LONG), Success, Phase::Complete, Some(200), "");
    let seen = server.seen();
    assert_eq!((seen.name.as_deref(), seen.version), (Some("localhost"), Some(ProtocolVersion::TLSv1_2)));
}

#[test]
fn the_end_of_a_body_needs_no_close_notify_and_its_length_counts() {
    let unlimited = &b"HTTP/1.1 200 OK\r\n\r\nok"[..];
    let short = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok";
    for end in [TlsEnd::CloseNotify, TlsEnd::Fin] {
        for (answer, result, phase, message) in
            [(unlimited, Success, Phase::Complete, ""), (short, Error, Phase::Body, "unexpected EOF")]
        {
            let server = Server::new(Authority::new().config(&["localhost"], |_| {}), &[(answer, end)]);
            check(&attempt(&server.url(), &[], LONG), result, phase, Some(200), message);
        }
    }
}

#[test]
fn redirects_lead_into_tls_and_out_of_it() {
    let plain = scripted::Server::new(&[(OK, Fin)]);
    let config = Authority::new().config(&["localhost"], |_| {});
    let to_plain = redirect(302, &format!("{}?2", plain.url()));
    let server = Server::new(config, &[(&to_plain, TlsEnd::CloseNotify)]);
    let first = scripted::Server::new(&[(&redirect(302, &server.url()), Fin)]);
    check(&first.probe(LONG), Success, Phase::Complete, Some(200), "");
    assert!(server.seen().request.contains(&format!("\r\nReferer: {}\r\n", first.url())));
    let last = plain.request();
    assert!(last.starts_with("GET /p?2 ") && !last.contains("Referer"), "{last}");
}

#[test]
fn what_is_not_tls_is_a_failure_in_gos_words() {
    for (answer, end, message) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], Fin, "http: server gave HTTP response to HTTPS client"),
        (b"220 mail.example ESMTP\r\n", Fin, "tls: first record does not look like a TLS handshake"),
        (b"no", Fin, "unexpected EOF"),
        (b"", Fin, "EOF"),
        // Alerts: handshake_failure, protocol_version, internal_error.
        (b"\x15\x03\x03\x00\x02\x02\x28", Fin, "remote error: tls: handshake failure"),
        (b"\x15\x03\x01\x00\x02\x02\x46", Fin, "remote error: tls: protocol version not supported"),
        (b"\x15\x03\x03\x00\x02\x02\x50", Hang, "remote error: tls: internal error"),
    ] {
        let server = Raw::new(answer, matches!(end, Hang));
        let url = format!("https://{}/p", server.0);
        check(&attempt(&url, &[], LONG), Failure, Phase::Handshake, None, &url_of(&url, message));
    }
}

/// A server that reads once, answers and ends.
struct Raw(SocketAddr);

impl Raw {
    fn new(answer: &[u8], hang: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = answer.to_vec();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                let mut buffer = [0; 4096];
                let _ = socket.read(&mut buffer);
                let _ = socket.write_all(&answer);
                if !hang {
                    let _ = socket.shutdown(std::net::Shutdown::Write);
                }
                while matches!(socket.read(&mut buffer), Ok(1..)) {}
            }
        });
        Self(address)
    }
}

#[test]
fn a_handshake_that_hangs_is_a_failure() {
    let server = Raw::new(b"", true);
    let url = format!("https://{}/p", server.0);
    check(&attempt(&url, &[], SHORT), Failure, Phase::Handshake, None, &url_of(&url, AWAITING));
}

#[test]
fn with_an_authority_given_its_certificates_alone_will_do() {
    let authority = Authority::new();
    let trust = || Trust::of_file(&authority.file()).unwrap();
    let server = |config| Server::new(config, &[(OK, TlsEnd::CloseNotify)]);
    let by_name = |server: &Server| format!("https://localhost:{}/p", server.address.port());

    let good = server(authority.config(&["localhost", "127.0.0.1"], |_| {}));
    check(&verified(&by_name(&good), trust()), Success, Phase::Complete, Some(200), "");
    check(&verified(&good.url(), trust()), Success, Phase::Complete, Some(200), "");

    let refused = |server: &Server, reason: &str| {
        let url = by_name(server);
        let outcome = verified(&url, trust());
        let begin = url_of(&url, &format!("tls: failed to verify certificate: x509: {reason}"));
        assert_eq!((outcome.result, outcome.phase), (Failure, Phase::Handshake));
        assert!(outcome.message.starts_with(&begin), "{} {begin}", outcome.message);
    };
    // Of the same name, but with another key.
    let foreign = server(Authority::new().config(&["localhost"], |_| {}));
    refused(&foreign, "certificate signed by unknown authority");
    let self_signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let config =
        config_with(self_signed.cert.der().clone(), &self_signed.signing_key, rustls::DEFAULT_VERSIONS);
    refused(&server(config), "certificate signed by unknown authority");
    let misnamed = server(authority.config(&["a.example", "10.0.0.1"], |_| {}));
    refused(&misnamed, "certificate is valid for a.example, 10.0.0.1, not localhost");
    let outdated = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let outdated = server(authority.config(&["localhost"], outdated));
    refused(&outdated, "certificate has expired or is not yet valid: current time 2");
}

#[test]
fn a_self_signed_certificate_is_trusted_where_it_is_given_itself() {
    // As `openssl req -x509` makes it: that of an authority.
    let issue = |until: i32| {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap(), key)
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.crt");
    let given = |until: i32, trusted: Option<&rcgen::Certificate>, host: &str| {
        let (certificate, key) = issue(until);
        let config = config_with(certificate.der().clone(), &key, rustls::DEFAULT_VERSIONS);
        let server = Server::new(config, &[(OK, TlsEnd::CloseNotify)]);
        std::fs::write(&file, trusted.unwrap_or(&certificate).pem()).unwrap();
        let url = format!("https://{host}:{}/p", server.address.port());
        verified(&url, Trust::of_file(&file).unwrap())
    };
    check(&given(2040, None, "localhost"), Success, Phase::Complete, Some(200), "");
    let other = issue(2040).0;
    for (outcome, reason) in [
        (
            given(2040, Some(&other), "localhost"),
            "certificate is that of an authority, which is not trusted itself",
        ),
        (given(2001, None, "localhost"), "certificate has expired or is not yet valid"),
        (given(2040, None, "127.0.0.1"), "certificate is valid for localhost, not 127.0.0.1"),
    ] {
        assert_eq!((outcome.result, outcome.phase), (Failure, Phase::Handshake));
        assert!(outcome.message.contains(reason), "{}", outcome.message);
    }
}

#[test]
fn a_self_signed_certificate_with_name_constraints_is_not_trusted_for_names_of_its_own() {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.name_constraints = Some(rcgen::NameConstraints {
        permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("example.com".to_owned())],
        excluded_subtrees: Vec::new(),
    });
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), certificate.pem()).unwrap();
    let config = config_with(certificate.der().clone(), &key, rustls::DEFAULT_VERSIONS);
    let server = Server::new(config, &[(OK, TlsEnd::CloseNotify)]);
    let url = format!("https://localhost:{}/p", server.address.port());
    let outcome = verified(&url, Trust::of_file(file.path()).unwrap());
    assert_eq!((outcome.result, outcome.phase), (Failure, Phase::Handshake));
}

#[test]
fn grpcs_needs_a_server_that_agrees_to_http_2() {
    let server = Server::new(Authority::new().config(&["localhost"], |_| {}), &[(OK, TlsEnd::CloseNotify)]);
    let outcome = attempt(&format!("grpcs://{}", server.address), &[], SHORT);
    let message = format!(
        "timeout: failed to connect service \"{}\" within 300ms: context deadline exceeded",
        server.address
    );
    assert_eq!((outcome.result, outcome.message), (Failure, message));
}
