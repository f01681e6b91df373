//! A bare hyper server of HTTP/2, over rustls if a certificate is given: what the libraries cost alone.
//!
//! `http2-server PORT HTTP2_PORT [CHAIN KEY]`; the first port speaks HTTP/1.1, to show that the server is up.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Ready, ready};
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut port = || -> Result<u16, Box<dyn Error>> {
        Ok(args.next().ok_or("http2-server PORT HTTP2_PORT [CHAIN KEY]")?.parse()?)
    };
    let (port, http2_port) = (port()?, port()?);
    let acceptor = match (args.next(), args.next()) {
        (Some(chain), Some(key)) => Some(acceptor(&chain, &key)?),
        _ => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let up = TcpListener::bind(("127.0.0.1", port)).await?;
        let listener = TcpListener::bind(("127.0.0.1", http2_port)).await?;
        tokio::spawn(async move {
            while let Ok((socket, _)) = up.accept().await {
                tokio::spawn(
                    http1::Builder::new().serve_connection(TokioIo::new(socket), service_fn(answer)),
                );
            }
        });
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                match acceptor {
                    None => serve(socket).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(socket).await {
                            serve(stream).await;
                        }
                    }
                }
            });
        }
    })
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin) {
    // An error is the end of the connection; the next request comes over another one.
    let _ = http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .await;
}

fn answer(_: Request<Incoming>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Full::new(Bytes::from_static(b"ok")))))
}

fn acceptor(chain: &str, key: &str) -> Result<TlsAcceptor, Box<dyn Error>> {
    let chain = CertificateDer::pem_file_iter(chain)?.collect::<Result<Vec<_>, _>>()?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
