//! A request as rules match it.

use axum::extract::Request;
use hyper::header::HOST;

use crate::fault::RequestView;

/// The head of a request.
pub(super) struct RequestHead<'a>(pub(super) &'a Request);

impl RequestView for RequestHead<'_> {
    fn method(&self) -> &str {
        self.0.method().as_str()
    }

    fn path(&self) -> &str {
        self.0.uri().path()
    }

    fn query(&self) -> Option<&str> {
        self.0.uri().query()
    }

    fn host(&self) -> Option<&str> {
        // HTTP/2 and proxy requests carry the host in the URI.
        let authority = self.0.uri().authority().map(hyper::http::uri::Authority::as_str);
        authority.or_else(|| self.0.headers().get(HOST)?.to_str().ok())
    }

    fn header(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.0.headers().get_all(name).into_iter().map(hyper::header::HeaderValue::as_bytes)
    }
}
