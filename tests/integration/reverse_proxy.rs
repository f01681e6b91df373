//! Who may steer through a reverse proxy in the Pod: Debian's nginx as it comes.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{Service, eventually, exchange};

/// Where Debian installs nginx, which is not in everybody's `PATH`.
const NGINX: &str = "/usr/sbin/nginx";

struct Nginx {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Nginx {
    /// Starts nginx with `location` in front of the admin listener; `None` where there is no nginx.
    fn start(location: &str) -> Option<Self> {
        if !Path::new(NGINX).exists() {
            let required = std::env::var_os("PROBESIM_REQUIRE_TOOLS").is_some_and(|value| value == "1");
            assert!(!required, "{NGINX} is missing");
            eprintln!("skipped: {NGINX} is missing");
            return None;
        }
        // The port is free now; nginx cannot say which one it would have taken itself.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = std::env::temp_dir().join(format!("probesim-nginx-{}", address.port()));
        fs::create_dir_all(&folder).unwrap();
        let config = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr;\n\
             events {{}}\n\
             http {{ access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; \
             uwsgi_temp_path u; scgi_temp_path s; server {{ listen {address}; location / {{ {location} }} }} }}\n"
        );
        fs::write(folder.join("nginx.conf"), config).unwrap();
        let mut command = Command::new(NGINX);
        command.arg("-p").arg(&folder).args(["-c", "nginx.conf"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Some(Self { child, folder, address })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
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
    let Some(nginx) = Nginx::start(&format!("proxy_pass http://{};", service.admin)) else { return };
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
        let Some(nginx) = Nginx::start(&location) else { return };
        answers(nginx.address).await;
        let (status, body) = steer(nginx.address, "").await;
        assert_eq!(status, 403, "{settings}: {body}");
        assert!(body.contains(reason), "{settings}: {body}");
    }
}

#[tokio::test]
async fn with_a_token_a_proxy_may_steer() {
    let service = Service::start(&[("ADMIN_TOKEN", "secret")]).await;
    let Some(nginx) = Nginx::start(&format!("proxy_pass http://{};", service.admin)) else { return };
    answers(nginx.address).await;
    assert_eq!(steer(nginx.address, "").await.0, 401);
    assert_eq!(steer(nginx.address, "x-probesim-token: secret\r\n").await.0, 200);
    assert_eq!(steer(nginx.address, "authorization: Bearer secret\r\n").await.0, 200);
}
