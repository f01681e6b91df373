//! The variables of TLS on listeners.

use std::path::PathBuf;

use super::Warning;
use super::raw::ServiceVariables;
use super::reader::{VariableReader, boolean, is_bad, value_of, word};
use crate::plan::error::{ConfigError, Reason, shown};
use crate::tls::CertificateFiles;

/// TLS of the listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// The certificate of the probe listener and of HTTP proxies; absent: no TLS there.
    pub certificate: Option<CertificateSource>,
    /// `TLS_CLIENT_CA_FILE`: authorities for client certificates; absent: clients need none.
    pub client_ca: Option<PathBuf>,
    /// `TLS_ONLY`: whether clients without TLS are refused.
    pub is_required: bool,
    /// `TLS_NAMES`: hosts and addresses for generated certificates, in addition to those of the Pod.
    pub names: Vec<String>,
    /// `ADMIN_TLS_CERT_FILE` and `ADMIN_TLS_KEY_FILE`: the certificate of the admin listener; absent: no TLS there.
    pub admin: Option<CertificateFiles>,
}

/// Where a certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// `TLS_CERT_FILE` and `TLS_KEY_FILE`.
    Files(CertificateFiles),
    /// `TLS=self-signed`: generated at the start.
    SelfSigned,
}

pub(super) fn tls(reader: &mut VariableReader, raw: &mut ServiceVariables) -> TlsOptions {
    let made = reader.read("TLS", raw.tls.take(), word(&[("self-signed", ())]));
    let is_made = value_of(made.as_ref()).is_some();
    let files =
        files(reader, ("TLS_CERT_FILE", raw.tls_cert_file.take()), ("TLS_KEY_FILE", raw.tls_key_file.take()));
    let admin = self::files(
        reader,
        ("ADMIN_TLS_CERT_FILE", raw.admin_tls_cert_file.take()),
        ("ADMIN_TLS_KEY_FILE", raw.admin_tls_key_file.take()),
    );
    let client_ca = path(reader, "TLS_CLIENT_CA_FILE", raw.tls_client_ca_file.take());
    let is_required = reader.read_or("TLS_ONLY", raw.tls_only.take(), false, boolean);
    let names = names(reader, raw.tls_names.take());
    if let (true, Some(made), CertificateSetting::Both(_)) = (is_made, &made, &files) {
        reader.fail(made.error(Reason::NotWith("TLS_CERT_FILE, which is also set; keep one".to_owned())));
    }
    let is_off = !is_made && matches!(files, CertificateSetting::None) && !is_bad(made.as_ref());
    let needed = "TLS_CERT_FILE and TLS_KEY_FILE, or TLS=self-signed";
    for (name, is_set) in [("TLS_ONLY", is_required), ("TLS_CLIENT_CA_FILE", client_ca.is_some())] {
        if is_off && is_set {
            reader.fail(ConfigError::new(name, Reason::Needs(needed.to_owned())));
        }
    }
    if is_off && !names.is_empty() {
        reader.warnings.insert(Warning::no_effect("TLS_NAMES", "TLS"));
    }
    let certificate = match files {
        CertificateSetting::Both(files) => Some(CertificateSource::Files(files)),
        _ => is_made.then_some(CertificateSource::SelfSigned),
    };
    let admin = if let CertificateSetting::Both(files) = admin { Some(files) } else { None };
    TlsOptions { certificate, client_ca, is_required, names, admin }
}

/// Which of the two variables for a certificate and its key are set.
enum CertificateSetting {
    None,
    Both(CertificateFiles),
    /// Only one of them; the error is reported.
    Half,
}

fn files(
    reader: &mut VariableReader,
    (chain, chain_text): (&'static str, Option<String>),
    (key, key_text): (&'static str, Option<String>),
) -> CertificateSetting {
    match (path(reader, chain, chain_text), path(reader, key, key_text)) {
        (Some(chain), Some(key)) => CertificateSetting::Both(CertificateFiles { chain, key }),
        (None, None) => CertificateSetting::None,
        (has_chain, _) => {
            let (set, needed) = if has_chain.is_some() { (chain, key) } else { (key, chain) };
            reader.fail(ConfigError::new(set, Reason::Needs(needed.to_owned())));
            CertificateSetting::Half
        }
    }
}

pub(super) fn path(reader: &mut VariableReader, name: &str, text: Option<String>) -> Option<PathBuf> {
    let path = |text: &str| Ok((Some(PathBuf::from(text)), shown(text)));
    reader.read(name, text, path).and_then(|parsed| parsed.value().cloned())
}

fn names(reader: &mut VariableReader, text: Option<String>) -> Vec<String> {
    let names = reader.read("TLS_NAMES", text, |text| {
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        let is_name = |name: &str| {
            let labels = name.strip_prefix("*.").unwrap_or(name);
            let is_label = |label: &str| {
                (1..=63).contains(&label.len())
                    && label.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
            };
            name.len() <= 253 && labels.split('.').all(is_label)
        };
        match names.iter().find(|name| !is_name(name) && name.parse::<std::net::IpAddr>().is_err()) {
            Some(_) => Err(Reason::HostNames),
            None => Ok((Some(names), shown(text))),
        }
    });
    names.and_then(|parsed| parsed.value().cloned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::load;

    fn read(variables: &[(&str, &str)]) -> Result<TlsOptions, String> {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        load(variables).map(|loaded| loaded.config.tls).map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_certificate_comes_from_two_files_or_is_made() {
        let files = CertificateFiles { chain: "/c".into(), key: "/k".into() };
        let read_files =
            read(&[("TLS_CERT_FILE", "/c"), ("TLS_KEY_FILE", "/k"), ("TLS_ONLY", "true")]).unwrap();
        assert_eq!(read_files.certificate, Some(CertificateSource::Files(files.clone())));
        assert!(read_files.is_required);
        let made = read(&[("TLS", "self-signed"), ("TLS_NAMES", "web, *.shop.svc,10.0.0.1,::1")]).unwrap();
        assert_eq!(made.certificate, Some(CertificateSource::SelfSigned));
        assert_eq!(made.names, ["web", "*.shop.svc", "10.0.0.1", "::1"]);
        let admin = read(&[("ADMIN_TLS_CERT_FILE", "/c"), ("ADMIN_TLS_KEY_FILE", "/k")]).unwrap();
        assert_eq!((admin.admin, admin.certificate), (Some(files), None));
        assert_eq!(read(&[("TLS", "0"), ("TLS_CERT_FILE", "")]).unwrap(), TlsOptions::default());
    }

    #[test]
    fn what_does_not_go_together_is_an_error_that_says_what_is_missing() {
        for (variables, error) in [
            (&[("TLS_CERT_FILE", "/c")][..], "TLS_CERT_FILE: needs TLS_KEY_FILE"),
            (&[("ADMIN_TLS_KEY_FILE", "/k")], "ADMIN_TLS_KEY_FILE: needs ADMIN_TLS_CERT_FILE"),
            (
                &[("TLS", "self-signed"), ("TLS_CERT_FILE", "/c"), ("TLS_KEY_FILE", "/k")],
                "TLS=\"self-signed\": does not go with TLS_CERT_FILE",
            ),
            (&[("TLS_ONLY", "true")], "TLS_ONLY: needs TLS_CERT_FILE and TLS_KEY_FILE, or TLS=self-signed"),
            (&[("TLS_CLIENT_CA_FILE", "/ca")], "TLS_CLIENT_CA_FILE: needs TLS_CERT_FILE and TLS_KEY_FILE"),
            (&[("TLS", "on")], "TLS=\"on\": "),
            (&[("TLS", "self-signed"), ("TLS_NAMES", "web,a b")], "TLS_NAMES=\"web,a b\": is not a list"),
        ] {
            let message = read(variables).unwrap_err();
            assert!(message.contains(error), "{message}");
        }
    }
}
