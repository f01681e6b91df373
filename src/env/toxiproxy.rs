//! The variables of toxiproxy's API.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::raw::ServiceVariables;
use super::reader::{VariableReader, value_of};
use crate::plan::error::{Reason, shown};
use crate::plan::network;

/// Where toxiproxy's API listens, and who may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToxiproxyOptions {
    /// `TOXIPROXY_ADDRESS`; port 0 takes a free one.
    pub address: SocketAddr,
    /// `TOXIPROXY_ALLOW`: networks that may use it, beside loopback.
    pub allowed: Vec<IpNet>,
    /// `TOXIPROXY_CONFIG`: a file with proxies to begin with.
    pub config: Option<PathBuf>,
}

pub(super) fn toxiproxy(reader: &mut VariableReader, raw: &mut ServiceVariables) -> Option<ToxiproxyOptions> {
    let address = reader.read("TOXIPROXY_ADDRESS", raw.toxiproxy_address.take(), |text| {
        let address = address(text).ok_or(Reason::ToxiproxyAddress)?;
        Ok((Some(address), address.to_string()))
    });
    let allowed = reader.read("TOXIPROXY_ALLOW", raw.toxiproxy_allow.take(), |text| {
        let networks = text.split(',').map(str::trim).filter(|network| !network.is_empty());
        let networks: Option<Vec<IpNet>> = networks.map(network).collect();
        Ok((Some(networks.ok_or(Reason::Network)?), text.to_owned()))
    });
    let config = reader.read("TOXIPROXY_CONFIG", raw.toxiproxy_config.take(), |text| {
        Ok((Some(PathBuf::from(text)), shown(text)))
    });
    let Some(listens) = value_of(address.as_ref()).copied() else {
        let alone =
            [allowed.map(|of| of.error(Reason::NoToxiproxy)), config.map(|of| of.error(Reason::NoToxiproxy))];
        if address.is_none() {
            alone.into_iter().flatten().for_each(|error| reader.fail(error));
        }
        return None;
    };
    let networks = value_of(allowed.as_ref()).cloned().unwrap_or_default();
    if let (Some(address), None, false) = (&address, &allowed, listens.ip().is_loopback()) {
        reader.fail(address.error(Reason::Needs("TOXIPROXY_ALLOW, the networks that may use it".to_owned())));
    }
    Some(ToxiproxyOptions { address: listens, allowed: networks, config: value_of(config.as_ref()).cloned() })
}

/// A port, which is one of loopback, or an address with a port.
fn address(text: &str) -> Option<SocketAddr> {
    let port = text.strip_prefix(':').or_else(|| text.strip_prefix("localhost:")).unwrap_or(text);
    match port.parse() {
        Ok(port) => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        Err(_) => text.parse().ok(),
    }
}
