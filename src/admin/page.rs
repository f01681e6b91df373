//! The web page: static files that get their data from `/v1`.
//!
//! They are compressed at build time and sent as they are, since all browsers accept gzip. An unused page takes no memory.

use axum::body::Body;
use axum::response::Response;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, HeaderName,
    HeaderValue, IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{HeaderMap, Method, StatusCode};

use super::answer::{ProblemDetails, with_type};

/// The content security policy: own modules and own service only; text is never interpreted as markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types 'none'";

/// One file, compressed.
struct File {
    /// Its path below `page/`.
    name: &'static str,
    kind: &'static str,
    etag: &'static str,
    gzip: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// Whether the caller is a browser that requests a page.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    values(headers, &ACCEPT).any(|value| value.contains("text/html"))
}

/// Answers GET and HEAD with the file of that name.
pub(super) fn serve(method: &Method, headers: &HeaderMap, name: &str) -> Response {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return ProblemDetails::method(&["GET", "HEAD"]).answer();
    }
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return ProblemDetails::not_found().answer();
    };
    if !takes_gzip(headers) {
        let why = "the page is available only in gzip, which Accept-Encoding does not allow";
        return ProblemDetails::new(StatusCode::NOT_ACCEPTABLE, why).answer();
    }
    let is_known = values(headers, &IF_NONE_MATCH)
        .flat_map(|tags| tags.split(','))
        .any(|tag| matches!(tag.trim().trim_start_matches("W/"), tag if tag == file.etag || tag == "*"));
    let mut response = if is_known {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        with_type(StatusCode::OK, file.kind, file.gzip)
    };
    let fields: [(HeaderName, &'static str); 8] = [
        (ETAG, file.etag),
        // Browsers revalidate each time, so that a new version of the program takes effect immediately.
        (CACHE_CONTROL, "no-cache"),
        (VARY, "Accept, Accept-Encoding"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in fields {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if !is_known {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Whether a client accepts gzip (RFC 9110, section 12.5.3); without `Accept-Encoding`, it does.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let mut of_any = !headers.contains_key(ACCEPT_ENCODING);
    for coding in values(headers, &ACCEPT_ENCODING).flat_map(|value| value.split(',')) {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().trim_start_matches(['q', 'Q']).trim_start_matches('=');
        let is_taken = weight.is_empty() || weight.parse::<f32>().is_ok_and(|weight| weight > 0.0);
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => return is_taken,
            "*" => of_any = is_taken,
            _ => {}
        }
    }
    of_any
}

/// The textual values of a header.
fn values<'a>(headers: &'a HeaderMap, name: &'a HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_together_have_at_most_sixty_kilobytes() {
        let total: usize = FILES.iter().map(|file| file.gzip.len()).sum();
        assert!(total <= 60 << 10, "{total} bytes");
    }

    #[test]
    fn gzip_is_taken_unless_the_client_leaves_it_out() {
        let takes = |text: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(text) = text {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(text));
            }
            takes_gzip(&headers)
        };
        for taken in [None, Some("gzip, deflate, br"), Some("*"), Some("br;q=1.0, gzip;q=0.5"), Some("GZIP")]
        {
            assert!(takes(taken), "{taken:?}");
        }
        for refused in ["", "identity", "gzip;q=0, *", "*;q=0", "br", "gzip; q=0.000"] {
            assert!(!takes(Some(refused)), "{refused}");
        }
    }
}
