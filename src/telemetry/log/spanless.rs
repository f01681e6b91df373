//! The base of the log's layers: events without spans.

use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::registry::{Data, LookupSpan};

/// Lets events through and disables spans: only libraries have any, at level `trace`. The usual registry keeps 32 KiB for
/// them.
pub(super) struct Spanless;

/// No span is ever created, but the trait asks for an ID.
const NO_SPAN: Id = Id::from_non_zero_u64(std::num::NonZeroU64::MIN);

impl Subscriber for Spanless {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.is_event() { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        NO_SPAN
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl<'a> LookupSpan<'a> for Spanless {
    type Data = Data<'a>;

    fn span_data(&'a self, _: &Id) -> Option<Data<'a>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::subscriber::with_default;
    use tracing_subscriber::Layer as _;

    use super::*;

    #[test]
    fn events_within_the_spans_of_a_library_are_logged_and_the_spans_are_not() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let writer = {
            let seen = seen.clone();
            move || Sink(seen.clone())
        };
        let log = tracing_subscriber::fmt::layer().without_time().with_ansi(false).with_writer(writer);
        with_default(log.with_subscriber(Spanless), || {
            let span = tracing::trace_span!("frame", kind = "ping");
            assert!(span.is_disabled());
            span.in_scope(|| tracing::info!(bytes = 8, "received"));
        });
        let seen = String::from_utf8(seen.lock().unwrap().clone()).unwrap();
        assert!(seen.contains("received bytes=8") && !seen.contains("frame"), "{seen:?}");
    }

    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
