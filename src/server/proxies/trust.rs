//! Whether the certificates of upstreams can be verified.

use crate::env::Config;
use crate::fault::UpstreamProtocol;
use crate::plan::{ConfigError, Proxy, Reason};
use crate::server::certificates::TlsError;
use crate::tls::Connector;

/// Checks that the certificate of a proxy's upstream can be verified. `ca` is what errors call the file of its authorities.
pub(super) fn trust(proxy: &Proxy, ca: &str) -> Result<(), Box<ConfigError>> {
    let Some(tls) = &proxy.tls else { return Ok(()) };
    Connector::new(tls.clone(), proxy.upstream.host()).check().map_err(|error| {
        let field = if tls.ca.is_some() { ca } else { "upstream" };
        let error = ConfigError::new(format!("proxy {}", proxy.name), Reason::File(error.to_string()));
        Box::new(error.field(field))
    })
}

/// Checks that the certificates of all upstreams of the configuration can be verified.
pub(in crate::server) fn check_trust(config: &Config) -> Result<(), TlsError> {
    if let Some(upstream) = &config.upstream
        && upstream.address.protocol() == UpstreamProtocol::Https
    {
        let connector = Connector::new(upstream.tls.clone(), upstream.address.host());
        let has_ca_file = upstream.tls.ca.is_some();
        connector.check().map_err(|error| TlsError::of_upstream(error, has_ca_file))?;
    }
    // Proxies of PROXIES have the file of the variable, and those of FAULTS have their own.
    let trust = |proxy| trust(proxy, "UPSTREAM_CA_FILE or ca");
    config.proxies.iter().try_for_each(trust).map_err(TlsError::Proxy)
}
