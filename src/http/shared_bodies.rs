//! Long bodies that many clients may request without reading them.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

use crate::listener::ConnectionHandle;
use crate::listener::budget::Reservation;

/// When this many bytes wait for slow clients, further clients share the newest body.
const MAX_UNREAD: usize = 1 << 20;

/// Bodies of one page that are being sent. With a thousand rules, a page is about 340 KiB: one per slow client would
/// exhaust the container's memory.
#[derive(Debug, Default)]
pub(super) struct SharedBodies {
    texts: Mutex<Vec<Weak<Text>>>,
}

#[derive(Debug)]
struct Text(String, #[expect(dead_code, reason = "held as long as the text")] Option<Reservation>);

/// A client's reference to a body.
struct BodyShare(Arc<Text>);

impl AsRef<[u8]> for BodyShare {
    fn as_ref(&self) -> &[u8] {
        self.0.0.as_bytes()
    }
}

impl SharedBodies {
    /// A body made by `make`, or the newest unread one when too many bytes wait. `None` when no memory is left.
    pub(super) fn text(&self, make: impl FnOnce() -> String) -> Option<Bytes> {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        texts.retain(|text| text.strong_count() > 0);
        let waiting: Vec<Arc<Text>> = texts.iter().filter_map(Weak::upgrade).collect();
        let bytes: usize = waiting.iter().map(|text| text.0.capacity()).sum();
        let text = match waiting.last() {
            Some(newest) if bytes > MAX_UNREAD => newest.clone(),
            newest => {
                let written = make();
                let reserved = match ConnectionHandle::current() {
                    Some(connection) => connection.reserve(written.capacity()).map(Some),
                    // No connection, as in tests of the router alone.
                    None => Some(None),
                };
                match reserved {
                    Some(reservation) => {
                        let text = Arc::new(Text(written, reservation));
                        texts.push(Arc::downgrade(&text));
                        text
                    }
                    None => newest?.clone(),
                }
            }
        };
        Some(Bytes::from_owner(BodyShare(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_gets_its_own_text_until_too_many_bytes_are_unread() {
        let unread = SharedBodies::default();
        let quarter = |first: char| format!("{first}{}", " ".repeat(MAX_UNREAD / 4));
        let mut clients: Vec<Bytes> =
            "abcd".chars().map(|first| unread.text(|| quarter(first)).unwrap()).collect();
        assert!(clients.iter().map(|text| text[0]).eq(*b"abcd"));
        for _ in 0..100 {
            clients.push(unread.text(|| unreachable!("too much waits")).unwrap());
        }
        assert!(clients[4..].iter().all(|text| text == &clients[3]));
        assert_eq!(clients[4].as_ptr(), clients[3].as_ptr());
        drop(clients.remove(0));
        assert_eq!(unread.text(|| quarter('e')).unwrap()[0], b'e');
    }

    #[test]
    fn a_text_is_freed_after_its_last_reader() {
        let unread = SharedBodies::default();
        let first = unread.text(|| "a".repeat(2 * MAX_UNREAD));
        let second = unread.text(String::new);
        assert_eq!(first, second);
        drop((first, second));
        assert_eq!(unread.text(|| "new".to_owned()).unwrap(), "new");
    }
}
