//! Faults of the TLS handshake.

use std::fmt;

use super::{ModeInfo, table};

/// The fault of a TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandshakeFault {
    /// Nothing, until the client gives up.
    Hang,
    /// FIN.
    Close,
    /// A fatal alert, then FIN.
    Alert(TlsAlert),
    /// A certificate that has expired.
    Expired,
    /// A certificate for another name.
    WrongName,
    /// A certificate from an unknown authority.
    Untrusted,
}

impl HandshakeFault {
    /// All faults; the alert has its default.
    pub const ALL: [Self; 6] = [
        Self::Hang,
        Self::Close,
        Self::Alert(TlsAlert::HANDSHAKE_FAILURE),
        Self::Expired,
        Self::WrongName,
        Self::Untrusted,
    ];

    /// Its row in the table of modes.
    pub const fn info(self) -> &'static ModeInfo {
        match self {
            Self::Hang => &table::TLS_HANG,
            Self::Close => &table::TLS_CLOSE,
            Self::Alert(_) => &table::TLS_ALERT,
            Self::Expired => &table::TLS_EXPIRED,
            Self::WrongName => &table::TLS_WRONG_NAME,
            Self::Untrusted => &table::TLS_UNTRUSTED,
        }
    }

    /// The name in plans and metric labels.
    pub const fn name(self) -> &'static str {
        self.info().name
    }

    /// The fault of that name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name().eq_ignore_ascii_case(name))
    }

    /// Whether it also affects clients without certificate verification, such as the kubelet.
    pub const fn fails_all(self) -> bool {
        matches!(self, Self::Hang | Self::Close | Self::Alert(_))
    }
}

/// A TLS alert (RFC 8446, section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TlsAlert(u8);

/// The alerts that servers send, by their names in the RFC.
const ALERTS: [(&str, u8); 20] = [
    ("unexpected_message", 10),
    ("bad_record_mac", 20),
    ("record_overflow", 22),
    ("handshake_failure", 40),
    ("bad_certificate", 42),
    ("unsupported_certificate", 43),
    ("certificate_revoked", 44),
    ("certificate_expired", 45),
    ("certificate_unknown", 46),
    ("illegal_parameter", 47),
    ("unknown_ca", 48),
    ("access_denied", 49),
    ("decode_error", 50),
    ("decrypt_error", 51),
    ("protocol_version", 70),
    ("insufficient_security", 71),
    ("internal_error", 80),
    ("unrecognized_name", 112),
    ("certificate_required", 116),
    ("no_application_protocol", 120),
];

impl TlsAlert {
    /// Default alert of mode `tls-alert`.
    pub const HANDSHAKE_FAILURE: Self = Self(40);

    /// An alert by its name or its number.
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.parse().ok().filter(|number| ALERTS.iter().any(|(_, known)| known == number));
        let named = || ALERTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, code)| *code);
        number.or_else(named).map(Self)
    }

    /// The names of all alerts.
    pub fn names() -> [&'static str; ALERTS.len()] {
        ALERTS.map(|(name, _)| name)
    }

    /// The number that is sent.
    pub const fn code(self) -> u8 {
        self.0
    }
}

impl fmt::Display for TlsAlert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALERTS.iter().find(|(_, code)| *code == self.0).map_or("", |(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_has_a_name_and_a_number() {
        for (name, code) in ALERTS {
            let alert = TlsAlert::parse(name).unwrap();
            assert_eq!((alert.code(), alert.to_string().as_str()), (code, name));
            assert_eq!(TlsAlert::parse(&code.to_string()), Some(alert));
        }
        assert_eq!(TlsAlert::parse("Unknown_CA"), TlsAlert::parse("48"));
        assert_eq!((TlsAlert::parse("0"), TlsAlert::parse("broken")), (None, None));
    }
}
