//! TLS connections to servers.

use std::fs;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, Error};
use socket2::SockRef;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tracing::error;

use super::messages::{reason, server_name};
use super::session::{Negotiated, TlsSession};
use super::{Trust, TrustError, client_config};

/// TLS settings for the connections to a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// File of the trusted authorities (PEM); the default is those of the system.
    pub ca: Option<PathBuf>,
    /// Name to send in the handshake and to verify the certificate against; the default is the host connected to.
    pub server_name: Option<ServerName<'static>>,
    /// Whether to accept any certificate.
    pub insecure: bool,
}

/// Why a TLS connection cannot be established.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// The trusted authorities cannot be loaded.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The handshake failed, or the certificate is not trusted.
    #[error("{0}")]
    Tls(String),
    /// The connection was lost during the handshake.
    #[error("connection lost during the TLS handshake: {0}")]
    Io(io::Error),
}

/// Opens TLS connections to one server.
#[derive(Debug)]
pub struct Connector {
    tls: ClientTls,
    host: String,
    /// Loaded with the first connection.
    loaded: Mutex<Option<Loaded>>,
}

/// The settings for new connections.
#[derive(Clone, Debug)]
struct Loaded {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// State of the authorities' file when it was read.
    stamp: Option<FileStamp>,
}

/// Identifies a version of a file: device, inode, size, and modification time.
type FileStamp = (u64, u64, u64, i64, i64);

impl Connector {
    /// Creates a connector to `host`: a name, or an IP address without brackets.
    pub fn new(tls: ClientTls, host: String) -> Self {
        Self { tls, host, loaded: Mutex::default() }
    }

    /// Loads the trusted authorities.
    ///
    /// # Errors
    ///
    /// Their file cannot be read or contains none, or no certificate can have the host's name.
    pub fn check(&self) -> Result<(), TrustError> {
        self.load().map(drop)
    }

    /// Performs the handshake, without a time limit. Offers the protocols of `alpn`, the preferred one first, and returns
    /// the negotiated one: HTTP/1 if the server selects none.
    ///
    /// # Errors
    ///
    /// The connection is lost, the server does not speak TLS, or its certificate is not trusted.
    pub async fn connect(
        &self,
        tcp: TcpStream,
        alpn: &[&str],
    ) -> Result<(ClientStream, Negotiated), HandshakeError> {
        let Loaded { mut config, name, .. } = self.current()?;
        let offered = alpn.iter().map(|protocol| protocol.as_bytes().to_vec());
        Arc::make_mut(&mut config).alpn_protocols = offered.collect();
        let session = TlsSession::client(config, name.clone());
        let mut session = session.map_err(|error| self.explain(&error, &name))?;
        match poll_fn(|cx| session.poll_handshake(&tcp, cx)).await {
            Ok(negotiated) => Ok((ClientStream { tcp, session }, negotiated)),
            Err(error) => Err(match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(inner) => self.explain(inner, &name),
                None => HandshakeError::Io(error),
            }),
        }
    }

    fn explain(&self, error: &Error, name: &ServerName<'_>) -> HandshakeError {
        let reason = reason(error, &name.to_str());
        // A bad signature also means that an authority with the same name is trusted.
        let is_unknown = matches!(
            error,
            Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)
        );
        HandshakeError::Tls(match &self.tls.ca {
            Some(ca) if is_unknown => format!("{reason}: its issuer is not in {}", ca.display()),
            None if is_unknown => format!("{reason}: the system does not trust its issuer"),
            _ => reason,
        })
    }

    /// Returns the settings for the next connection. Reloads the authorities' file if it has changed; if that fails, the
    /// previous authorities stay trusted.
    fn current(&self) -> Result<Loaded, TrustError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = &mut *loaded else { return Ok(loaded.insert(self.load()?).clone()) };
        let now = self.stamp();
        if now.is_some() && now != known.stamp {
            match self.load() {
                Ok(next) => *known = next,
                Err(error) => {
                    error!("{error}; the previous authorities stay trusted");
                    known.stamp = now;
                }
            }
        }
        Ok(known.clone())
    }

    fn load(&self) -> Result<Loaded, TrustError> {
        // Taken before reading, so that a change in between causes a reload.
        let stamp = self.stamp();
        let name = self.tls.server_name.clone().or_else(|| server_name(&self.host));
        let name = name.ok_or_else(|| TrustError::Name(self.host.clone()))?;
        let trust = match &self.tls.ca {
            _ if self.tls.insecure => Trust::Anyone,
            Some(ca) => Trust::of_file(ca)?,
            None => Trust::of_system(std::env::var_os("SSL_CERT_FILE").map(PathBuf::from).as_deref())?,
        };
        Ok(Loaded { config: client_config(&trust, &[]), name, stamp })
    }

    fn stamp(&self) -> Option<FileStamp> {
        let metadata = fs::metadata(self.tls.ca.as_ref()?).ok()?;
        Some((metadata.dev(), metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec()))
    }
}

/// A TLS connection to a server.
#[derive(Debug)]
pub struct ClientStream {
    tcp: TcpStream,
    session: TlsSession,
}

impl ClientStream {
    /// The socket below TLS.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { tcp, session } = self.get_mut();
        match ready!(session.poll_read(tcp, cx, buf))? {
            // A body that is delimited by the end of the connection would look complete.
            0 if buf.remaining() > 0 && session.is_truncated() => {
                Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
            }
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { tcp, session } = self.get_mut();
        session.poll_write(tcp, cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { tcp, session } = self.get_mut();
        session.poll_flush(tcp, cx)
    }

    /// Ends this side: `close_notify`, then FIN.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { tcp, session } = self.get_mut();
        session.notify(tcp);
        ready!(session.poll_flush(tcp, cx))?;
        Poll::Ready(SockRef::from(&*tcp).shutdown(Shutdown::Write))
    }
}
