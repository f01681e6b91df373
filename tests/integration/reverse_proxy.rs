//! Access to the admin API through a reverse proxy in the Pod: Debian's nginx with its defaults.

use std::net::SocketAddr;

use crate::support::real_server::RealServer;
use crate::support::{Service, eventually, exchange};

/// nginx with these directives for `/`; `None` without nginx.
fn nginx(directives: &str) -> Option<RealServer> {
    RealServer::nginx(&format!("location / {{ {directives} }}"))
}

/// The status of `/v1/state`, asked through the proxy, and the answer's body.
async fn steer(proxy: SocketAddr, headers: &str) -> (u16, String) {
    let request =
        format!("GET /v1/state HTTP/1.1\r\nhost: web.example\r\nconnection: close\r\n{headers}\r\n");
    let reply = exchange(proxy, request).await;
    (reply.status(), reply.body())
}

async fn answers(proxy: SocketAddr) {
    let ask = || exchange(proxy, "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    eventually("nginx answers", || async { ask().await.ok_status() == Some(200) }).await;
}

#[tokio::test]
async fn nginx_with_a_bare_proxy_pass_cannot_steer_without_a_token() {
    let service = Service::start(&[]).await;
    let Some(nginx) = nginx(&format!("proxy_pass http://{};", service.admin)) else { return };
    answers(nginx.address).await;
    let (status, body) = steer(nginx.address, "").await;
    assert_eq!(status, 403, "{body}");
    assert!(body.contains("HTTP/1.0, which reverse proxies send"), "{body}");
}

#[tokio::test]
async fn a_proxy_that_speaks_http_1_1_is_refused_by_its_host_or_its_headers() {
    let service = Service::start(&[]).await;
    for (settings, reason) in [
        ("proxy_set_header Host $host;", "the Host is not a loopback name"),
        ("proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;", "the header x-forwarded-for shows"),
        ("proxy_set_header X-Real-IP $remote_addr;", "the header x-real-ip shows"),
    ] {
        let location = format!("proxy_pass http://{}; proxy_http_version 1.1; {settings}", service.admin);
        let Some(nginx) = nginx(&location) else { return };
        answers(nginx.address).await;
        let (status, body) = steer(nginx.address, "").await;
        assert_eq!(status, 403, "{settings}: {body}");
        assert!(body.contains(reason), "{settings}: {body}");
    }
}

#[tokio::test]
async fn with_a_token_a_proxy_may_steer() {
    let service = Service::start(&[("ADMIN_TOKEN", "secret")]).await;
    let Some(nginx) = nginx(&format!("proxy_pass http://{};", service.admin)) else { return };
    answers(nginx.address).await;
    assert_eq!(steer(nginx.address, "").await.0, 401);
    assert_eq!(steer(nginx.address, "x-probesim-token: secret\r\n").await.0, 200);
    assert_eq!(steer(nginx.address, "authorization: Bearer secret\r\n").await.0, 200);
}
