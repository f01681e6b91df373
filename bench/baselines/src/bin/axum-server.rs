//! A bare axum server: what the same framework costs without faults, metrics and limits.
//!
//! `axum-server PORT [DELAY_MS]`

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::routing::get;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let port: u16 = args.next().ok_or("axum-server PORT [DELAY_MS]")?.parse()?;
    let delay = args.next().map(|ms| ms.parse()).transpose()?.map(Duration::from_millis);
    let app = match delay {
        None => Router::new().route("/healthz", get(async || "ok")),
        Some(delay) => Router::new().route(
            "/healthz",
            get(async move || {
                tokio::time::sleep(delay).await;
                "ok"
            }),
        ),
    };
    // One thread is what serves one core best.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        axum::serve(listener, app).await
    })?;
    Ok(())
}
