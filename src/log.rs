//! The log: JSON or text, on standard output.

use tracing::level_filters::LevelFilter;

use crate::config::{LogFormat, Process};

/// Sends events to standard output from here on. A second call changes nothing.
pub fn init(process: &Process) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from_level(process.log_level))
        .with_target(false)
        .with_writer(std::io::stdout);
    // Fails only where somebody else, such as another test, has set one.
    let _ = match process.log_format {
        LogFormat::Json => tracing::subscriber::set_global_default(
            builder.json().flatten_event(true).with_current_span(false).with_span_list(false).finish(),
        ),
        LogFormat::Text => tracing::subscriber::set_global_default(builder.with_ansi(false).finish()),
    };
}
