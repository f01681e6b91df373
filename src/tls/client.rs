//! The side of a client: a stream within TLS, and what opens one.

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

use super::session::{Negotiated, TlsSession};
use super::words::{reason, server_name};
use super::{Trust, TrustError, client_config};

/// How a server is reached over TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// The file of those who may have issued the server's certificate (PEM); absent: those whom the system trusts.
    pub ca: Option<PathBuf>,
    /// The host that the certificate has to be for, and that the server is asked for; absent: the one connected to.
    pub server_name: Option<ServerName<'static>>,
    /// Whether any certificate will do.
    pub insecure: bool,
}

/// Why there is no connection within TLS.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// What is to be trusted cannot be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The peers did not agree, or the certificate is not trusted.
    #[error("{0}")]
    Tls(String),
    /// The connection broke off.
    #[error("the connection broke off: {0}")]
    Io(io::Error),
}

/// Opens connections to one server.
#[derive(Debug)]
pub struct Connector {
    tls: ClientTls,
    host: String,
    /// Made when it is first needed.
    present: Mutex<Option<Present>>,
}

/// What is trusted at present.
#[derive(Clone, Debug)]
struct Present {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// The file of authorities as it was then.
    stamp: Option<Stamp>,
}

/// What changes when a file does: device, inode, size, and the time of the last change.
type Stamp = (u64, u64, u64, i64, i64);

impl Connector {
    /// Connects to `host`: a name, or an IP address without brackets.
    pub fn new(tls: ClientTls, host: String) -> Self {
        Self { tls, host, present: Mutex::default() }
    }

    /// Reads what is to be trusted.
    ///
    /// # Errors
    ///
    /// The file of authorities cannot be read, or has none; or no certificate could be for the host.
    pub fn check(&self) -> Result<(), TrustError> {
        self.load().map(drop)
    }

    /// Makes the handshake on a connection, where it offers the protocols of `alpn`, the preferred one first. Gives the
    /// one that was agreed upon: HTTP/1 where the server names none. It takes as long as the server lets it.
    ///
    /// # Errors
    ///
    /// The connection breaks off, the server speaks no TLS, or its certificate is not trusted.
    pub async fn connect(
        &self,
        tcp: TcpStream,
        alpn: &[&str],
    ) -> Result<(ClientStream, Negotiated), HandshakeError> {
        let Present { mut config, name, .. } = self.present()?;
        let offered = alpn.iter().map(|protocol| protocol.as_bytes().to_vec());
        Arc::make_mut(&mut config).alpn_protocols = offered.collect();
        let session = TlsSession::client(config, name.clone());
        let mut session = session.map_err(|error| self.explained(&error, &name))?;
        match poll_fn(|cx| session.poll_handshake(&tcp, cx)).await {
            Ok(agreed) => Ok((ClientStream { tcp, session }, agreed)),
            Err(error) => Err(match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(inner) => self.explained(inner, &name),
                None => HandshakeError::Io(error),
            }),
        }
    }

    fn explained(&self, error: &Error, name: &ServerName<'_>) -> HandshakeError {
        let reason = reason(error, &name.to_str());
        // Another authority may have the same name.
        let is_unknown = matches!(
            error,
            Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)
        );
        HandshakeError::Tls(match &self.tls.ca {
            Some(ca) if is_unknown => format!("{reason}, none of {}", ca.display()),
            None if is_unknown => format!("{reason}, none that the system trusts"),
            _ => reason,
        })
    }

    /// The settings for the next connection. A file of authorities that has changed is read again; where it cannot be
    /// taken, the old ones stay.
    fn present(&self) -> Result<Present, TrustError> {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = &mut *present else { return Ok(present.insert(self.load()?).clone()) };
        let now = self.stamp();
        if now.is_some() && now != known.stamp {
            match self.load() {
                Ok(next) => *known = next,
                Err(error) => {
                    error!("{error}; the authorities that were there before stay trusted");
                    known.stamp = now;
                }
            }
        }
        Ok(known.clone())
    }

    fn load(&self) -> Result<Present, TrustError> {
        // Before the file is read: what changes meanwhile is read once more.
        let stamp = self.stamp();
        let name = self.tls.server_name.clone().or_else(|| server_name(&self.host));
        let name = name.ok_or_else(|| TrustError::Name(self.host.clone()))?;
        let trust = match &self.tls.ca {
            _ if self.tls.insecure => Trust::Anyone,
            Some(ca) => Trust::of_file(ca)?,
            None => Trust::of_system(std::env::var_os("SSL_CERT_FILE").map(PathBuf::from).as_deref())?,
        };
        Ok(Present { config: client_config(&trust, &[]), name, stamp })
    }

    fn stamp(&self) -> Option<Stamp> {
        let metadata = fs::metadata(self.tls.ca.as_ref()?).ok()?;
        Some((metadata.dev(), metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec()))
    }
}

/// A connection to a server, within TLS.
#[derive(Debug)]
pub struct ClientStream {
    tcp: TcpStream,
    session: TlsSession,
}

impl ClientStream {
    /// The socket below.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { tcp, session } = self.get_mut();
        match ready!(session.poll_read(tcp, cx, buf))? {
            // A body that ends with its connection would look complete.
            0 if buf.remaining() > 0 && session.is_cut() => {
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
