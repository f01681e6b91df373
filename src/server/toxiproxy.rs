//! The listener of toxiproxy's API.

use tokio::task::JoinHandle;
use tracing::info;

use crate::env::{BindAddress, ToxiproxyOptions};
use crate::listener::{self, BindError, PartitionedListener};
use crate::proxy::Toxiproxy;
use crate::sources::Control;
use crate::task;

/// The name of the listener.
const NAME: &str = "toxiproxy";

/// Binds the listener.
pub(super) fn bind(options: &ToxiproxyOptions) -> Result<PartitionedListener, BindError> {
    let address = BindAddress { ip: Some(options.address.ip()), port: options.address.port() };
    PartitionedListener::bind(address, true)
}

/// Serves the API, once the proxies of its file are there. The task ends at once where there is none. It is like the admin
/// listener otherwise, without TLS.
pub(super) async fn serve(
    listener: Option<PartitionedListener>,
    options: Option<ToxiproxyOptions>,
    admin: &listener::ListenerService,
    control: &Control,
) -> JoinHandle<()> {
    let Some((listener, options)) = listener.zip(options) else { return task::spawn(async {}) };
    let api = Toxiproxy::new(control.clone(), options.allowed);
    if let Some(config) = &options.config {
        api.load(config).await;
    }
    info!(address = %listener.local_addr(), "toxiproxy's API is served");
    let service =
        listener::ListenerService { name: NAME.into(), routes: api.routes(), tls: None, ..admin.clone() };
    task::spawn(listener::serve(listener, service))
}
