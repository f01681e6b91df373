//! Real servers, each in a process of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::tools;

/// Where Debian installs nginx: a folder that is often not in the `PATH`.
const NGINX: &str = "/usr/sbin/nginx";

/// A server and its folder, both removed when it is dropped.
pub struct RealServer {
    child: Child,
    pub folder: PathBuf,
    pub address: SocketAddr,
}

impl RealServer {
    fn start(command: impl FnOnce(&Path, SocketAddr) -> Command) -> Self {
        // The port is free now. nginx cannot report which port it chose itself.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = std::env::temp_dir().join(format!("probesim-server-{}", address.port()));
        fs::create_dir_all(&folder).unwrap();
        let child = command(&folder, address).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { child, folder, address }
    }

    /// nginx with `directives` in its `server` block; `FOLDER` stands for its folder. `None` without nginx.
    pub fn nginx(directives: &str) -> Option<Self> {
        if !Path::new(NGINX).exists() {
            tools::skip(&format!("{NGINX} is missing"));
            return None;
        }
        Some(Self::start(|folder, address| {
            let directives = directives.replace("FOLDER", &folder.display().to_string());
            let config = format!(
                "daemon off; master_process off; pid nginx.pid; error_log stderr;\n\
                 events {{}}\n\
                 http {{ access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; \
                 uwsgi_temp_path u; scgi_temp_path s; server {{ listen {address}; {directives} }} }}\n"
            );
            fs::write(folder.join("nginx.conf"), config).unwrap();
            let mut command = Command::new(NGINX);
            command.arg("-p").arg(folder).args(["-c", "nginx.conf"]);
            command
        }))
    }

    /// Python's server of the files in its folder. `None` without Python.
    pub fn python() -> Option<Self> {
        tools::are_there(&["python3"]).then(|| {
            Self::start(|folder, address| {
                let mut command = Command::new("python3");
                command.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"]);
                command.arg(folder).arg(address.port().to_string());
                command
            })
        })
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
