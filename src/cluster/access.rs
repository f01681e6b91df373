//! Address and credentials for the API server.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use hyper::Uri;
use thiserror::Error;

use crate::file::{self, FileError};
use crate::tls::{Trust, TrustError};

/// Where Kubernetes mounts token, CA and namespace of the service account.
pub const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The namespace if none is configured.
const DEFAULT_NAMESPACE: &str = "default";

/// Size limit of a token or namespace file, in bytes.
const MAX_FILE: usize = 64 << 10;

/// Address and credentials for the API server.
#[derive(Clone, Debug)]
pub struct Access {
    pub(super) tls: bool,
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Host and port as in the `Host` header.
    pub(super) authority: String,
    /// Prefix of all paths.
    pub(super) base: String,
    /// Token file. It is read for each request, because the token rotates.
    pub(super) token: Option<PathBuf>,
    /// File of the trusted authorities; the default is those of the system. It is read for each connection.
    pub(super) ca: Option<PathBuf>,
    /// Whether it is the Pod's service account.
    is_of_pod: bool,
    /// The default namespace.
    pub namespace: String,
}

/// Why the API server is unknown.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum AccessError {
    /// Not in a Pod, and no server was given.
    #[error(
        "KUBERNETES_SERVICE_HOST is not set, so this is not a Pod; run `kubectl proxy` and add --server http://127.0.0.1:8001"
    )]
    NoPod,
    /// An invalid port.
    #[error("KUBERNETES_SERVICE_PORT={0:?} is not a port")]
    Port(String),
    /// An invalid URL.
    #[error("--server {0:?} is not a URL such as http://127.0.0.1:8001 or https://10.96.0.1")]
    Server(String),
}

impl Access {
    /// The API server of the Pod's cluster, with the Pod's service account. `mount` is [`MOUNT`] except in tests.
    pub fn of_pod(env: &[(OsString, OsString)], mount: &Path) -> Result<Self, AccessError> {
        let get = |wanted: &str| {
            let value = env.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.to_string_lossy());
            value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let host = get("KUBERNETES_SERVICE_HOST").ok_or(AccessError::NoPod)?;
        let port = match get("KUBERNETES_SERVICE_PORT_HTTPS").or_else(|| get("KUBERNETES_SERVICE_PORT")) {
            None => 443,
            Some(port) => port.parse().map_err(|_| AccessError::Port(port))?,
        };
        let authority =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Ok(Self {
            tls: true,
            host,
            port,
            authority,
            base: String::new(),
            token: Some(mount.join("token")),
            ca: Some(mount.join("ca.crt")),
            is_of_pod: true,
            namespace: namespace(mount),
        })
    }

    /// The API server at `url`, such as that of `kubectl proxy`.
    pub fn of_server(url: &str, ca: Option<PathBuf>, token: Option<PathBuf>) -> Result<Self, AccessError> {
        let wrong = || AccessError::Server(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let authority =
            uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(wrong)?;
        let has_port = authority.as_str().len() > authority.host().len();
        if uri.query().is_some() || authority.host().is_empty() || has_port && authority.port_u16().is_none()
        {
            return Err(wrong());
        }
        Ok(Self {
            tls,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            base: uri.path().trim_end_matches('/').to_owned(),
            token,
            ca,
            is_of_pod: false,
            namespace: namespace(Path::new(MOUNT)),
        })
    }

    /// The address, for messages.
    pub(super) fn url(&self) -> String {
        format!("{}://{}{}", if self.tls { "https" } else { "http" }, self.authority, self.base)
    }

    /// Reads the current token; `None` if no file is configured, or if it is empty. An error says why it cannot be read, also
    /// if it is missing.
    pub(super) fn current_token(&self) -> Result<Option<String>, String> {
        let Some(path) = &self.token else { return Ok(None) };
        match file::read_text(path, MAX_FILE) {
            Ok(token) => Ok(Some(token.trim().to_owned()).filter(|token| !token.is_empty())),
            Err(error) => Err(format!("the token file {} {error}", path.display())),
        }
    }

    /// Reads the authorities for the server's certificate. An error says why they cannot be used.
    pub(super) fn trust(&self) -> Result<Trust, String> {
        let Some(path) = &self.ca else { return Trust::of_system(None).map_err(|error| error.to_string()) };
        Trust::of_file(path).map_err(|error| match &error {
            TrustError::Read { error: FileError::Missing, .. } if self.is_of_pod => format!(
                "{error}: the Pod has no token of its service account; set automountServiceAccountToken: true, or use \
                 the component `wait`"
            ),
            _ => error.to_string(),
        })
    }
}

fn namespace(mount: &Path) -> String {
    let namespace = file::read_text(&mount.join("namespace"), MAX_FILE).unwrap_or_default();
    match namespace.trim() {
        "" => DEFAULT_NAMESPACE.to_owned(),
        namespace => namespace.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn env(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn a_pod_uses_its_service_account_and_namespace() {
        let mount = tempfile::tempdir().unwrap();
        let variables = env(&[("KUBERNETES_SERVICE_HOST", "fd00::1"), ("KUBERNETES_SERVICE_PORT", "6443")]);
        let access = Access::of_pod(&variables, mount.path()).unwrap();
        assert_eq!((access.url().as_str(), access.host.as_str()), ("https://[fd00::1]:6443", "fd00::1"));
        assert_eq!(access.namespace, "default");
        assert!(access.current_token().unwrap_err().ends_with("/token is not there"));
        assert!(access.trust().unwrap_err().contains("/ca.crt is not there: the Pod has no token"));
        fs::write(mount.path().join("namespace"), "app").unwrap();
        fs::write(mount.path().join("token"), "one\n").unwrap();
        let access = Access::of_pod(&variables, mount.path()).unwrap();
        assert_eq!((access.namespace.as_str(), access.current_token()), ("app", Ok(Some("one".to_owned()))));
        fs::write(mount.path().join("token"), "two").unwrap();
        assert_eq!(access.current_token(), Ok(Some("two".to_owned())), "the token rotates");
    }

    #[test]
    fn files_of_tokens_and_namespaces_that_are_not_regular_or_too_large_are_not_read() {
        let mount = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/zero", mount.path().join("namespace")).unwrap();
        fs::create_dir(mount.path().join("token")).unwrap();
        let access = Access::of_pod(&env(&[("KUBERNETES_SERVICE_HOST", "h")]), mount.path()).unwrap();
        assert_eq!(access.namespace, "default");
        assert!(access.current_token().unwrap_err().ends_with("/token is a directory"));
        fs::remove_dir(mount.path().join("token")).unwrap();
        fs::write(mount.path().join("token"), vec![b'x'; MAX_FILE + 1]).unwrap();
        assert!(access.current_token().unwrap_err().ends_with("is larger than the 65536 bytes allowed"));
    }

    #[test]
    fn the_message_says_what_is_expected_outside_a_pod_and_for_an_invalid_server() {
        let mount = Path::new("/nowhere");
        assert_eq!(Access::of_pod(&[], mount).unwrap_err(), AccessError::NoPod);
        let wrong = env(&[("KUBERNETES_SERVICE_HOST", "h"), ("KUBERNETES_SERVICE_PORT", "tcp://h:1")]);
        assert_eq!(Access::of_pod(&wrong, mount).unwrap_err(), AccessError::Port("tcp://h:1".to_owned()));
        for url in ["", "127.0.0.1:8001", "ftp://h", "http://", "http://u@h", "http://h/?x", "http://h:x"] {
            assert_eq!(Access::of_server(url, None, None).unwrap_err(), AccessError::Server(url.to_owned()));
        }
        let access = Access::of_server("http://[::1]:8001/k8s/", None, None).unwrap();
        assert_eq!((access.url().as_str(), access.host.as_str()), ("http://[::1]:8001/k8s", "::1"));
    }
}
