//! The fields of a head that matter to a proxy.

use hyper::header::{HeaderMap, HeaderName};

/// The length of the longest name of them.
const LONGEST: usize = "transfer-encoding".len();

/// A field that matters to a proxy.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) enum SpecialField {
    CdnLoop,
    Connection,
    ContentLength,
    Cookie,
    Expect,
    Forwarded,
    Host,
    KeepAlive,
    ProxyConnection,
    Te,
    TransferEncoding,
    Upgrade,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
}

impl SpecialField {
    fn of(name: &HeaderName) -> Option<Self> {
        Self::of_lower(name.as_str())
    }

    /// The field with a name in any spelling.
    pub(super) fn of_text(name: &str) -> Option<Self> {
        let mut lower = [0; LONGEST];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        Self::of_lower(std::str::from_utf8(lower).ok()?)
    }

    fn of_lower(name: &str) -> Option<Self> {
        Some(match name {
            "cdn-loop" => Self::CdnLoop,
            "connection" => Self::Connection,
            "content-length" => Self::ContentLength,
            "cookie" => Self::Cookie,
            "expect" => Self::Expect,
            "forwarded" => Self::Forwarded,
            "host" => Self::Host,
            "keep-alive" => Self::KeepAlive,
            "proxy-connection" => Self::ProxyConnection,
            "te" => Self::Te,
            "transfer-encoding" => Self::TransferEncoding,
            "upgrade" => Self::Upgrade,
            "x-forwarded-for" => Self::XForwardedFor,
            "x-forwarded-host" => Self::XForwardedHost,
            "x-forwarded-proto" => Self::XForwardedProto,
            _ => return None,
        })
    }
}

/// The special fields that a head contains. Finding them in one pass is cheaper than looking up each name.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct SpecialFields(u16);

impl SpecialFields {
    /// The special fields of `headers`.
    pub(in crate::proxy) fn of(headers: &HeaderMap) -> Self {
        Self(headers.keys().filter_map(SpecialField::of).fold(0, |set, field| set | 1 << field as u16))
    }

    /// Whether the head contains `field`.
    pub(in crate::proxy) const fn contain(self, field: SpecialField) -> bool {
        self.0 & 1 << field as u16 != 0
    }
}
