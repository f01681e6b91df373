//! The proxy between real servers and real clients.

use std::fs;
use std::process::Command;

use crate::support::real_server::RealServer;
use crate::support::{Service, eventually, exchange, get, tools};

/// Waits until the server answers, with two files in its folder.
async fn with_files(server: RealServer) -> RealServer {
    fs::write(server.folder.join("page.txt"), "word ".repeat(20_000)).unwrap();
    fs::write(server.folder.join("large.bin"), vec![b'x'; 50 << 20]).unwrap();
    eventually("the server answers", || async {
        get(server.address, "/page.txt").await.text().contains(" 200 OK")
    })
    .await;
    server
}

fn nginx() -> Option<RealServer> {
    RealServer::nginx("root FOLDER; gzip on; client_max_body_size 1m;")
}

/// The lines of a head without fields that each hop sets.
fn fields(head: &str) -> Vec<String> {
    let hop = ["date:", "connection:", "keep-alive:"];
    let mut lines: Vec<String> = head
        .lines()
        .filter(|line| !hop.iter().any(|name| line.to_ascii_lowercase().starts_with(name)))
        .map(str::to_owned)
        .collect();
    // The order of different fields has no meaning.
    lines[1..].sort();
    lines
}

/// Asserts that answers are the same with and without the proxy.
async fn is_transparent(server: RealServer) {
    let server = with_files(server).await;
    let service = Service::start(&[("UPSTREAM", &format!("http://{}", server.address))]).await;
    for (method, path, fields_sent) in [
        ("GET", "/page.txt", ""),
        ("HEAD", "/page.txt", ""),
        ("GET", "/page.txt", "Accept-Encoding: gzip\r\n"),
        ("GET", "/page.txt", "Range: bytes=10-19\r\n"),
        ("GET", "/page.txt", "Range: bytes=10-19,30-39\r\n"),
        ("GET", "/page.txt", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n"),
        ("GET", "/missing%20one", ""),
        ("DELETE", "/page.txt", ""),
    ] {
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{fields_sent}Connection: close\r\n\r\n");
        let (bare, proxied) =
            (exchange(server.address, &request).await, exchange(service.probe, &request).await);
        let is_multipart = fields_sent.contains(',');
        let (mut bare_head, mut proxied_head) = (fields(&bare.head()), fields(&proxied.head()));
        // Python's server speaks HTTP/1.0, whose bodies end with the connection.
        bare_head[0] = bare_head[0].replace("HTTP/1.0", "HTTP/1.1");
        if is_multipart {
            // The separator differs each time.
            bare_head.retain(|line| !line.starts_with("Content-Type: multipart"));
            proxied_head.retain(|line| !line.starts_with("Content-Type: multipart"));
        }
        let chunked = |line: &String| !line.eq_ignore_ascii_case("transfer-encoding: chunked");
        bare_head.retain(chunked);
        proxied_head.retain(chunked);
        assert_eq!(proxied_head, bare_head, "{method} {path} {fields_sent}");
        if !is_multipart && !fields_sent.contains("gzip") {
            assert!(proxied.body() == bare.body(), "{method} {path} {fields_sent}");
        }
    }
    assert_eq!(super::count(&service, "probesim_upstream_requests_total", &[]).await, 8);
}

#[tokio::test]
async fn nginx_behind_it_answers_as_without_it() {
    let Some(nginx) = nginx() else { return };
    is_transparent(nginx).await;
}

#[tokio::test]
async fn pythons_server_behind_it_answers_as_without_it() {
    let Some(python) = RealServer::python() else { return };
    is_transparent(python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_gets_large_files_and_compressed_ones_and_is_told_that_an_upload_is_too_large() {
    if !tools::are_there(&["curl"]) {
        return;
    }
    let Some(nginx) = nginx() else { return };
    let nginx = with_files(nginx).await;
    let service = Service::start(&[("UPSTREAM", &format!("http://{}", nginx.address))]).await;
    let base = format!("http://{}", service.probe);
    let curl = |arguments: &[&str]| {
        let arguments: Vec<String> =
            arguments.iter().map(|argument| argument.replace("BASE", &base)).collect();
        tokio::task::spawn_blocking(move || {
            let output =
                Command::new("curl").args(["-sS", "--max-time", "60"]).args(arguments).output().unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
        })
    };
    let large =
        curl(&["-o", "/dev/null", "-w", "%{http_code} %{size_download}", "BASE/large.bin"]).await.unwrap();
    assert_eq!(large, format!("200 {}", 50 << 20));
    let text = curl(&["--compressed", "BASE/page.txt"]).await.unwrap();
    assert_eq!(text.len(), 100_000, "nginx compresses for clients of a proxy, too");
    let file = nginx.folder.join("large.bin");
    let data = format!("@{}", file.display());
    let refused =
        curl(&["-o", "/dev/null", "-w", "%{http_code}", "--data-binary", &data, "BASE/"]).await.unwrap();
    assert!(refused.starts_with("413"), "{refused}");
}
