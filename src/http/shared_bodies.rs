//! Long texts that many clients may ask for and not read.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

use crate::listener::ConnectionHandle;
use crate::listener::budget::Reservation;

/// How many bytes of texts may wait for their clients before these get the same one.
const MOST_UNREAD: usize = 1 << 20;

/// The texts of one page that are on their way to clients. A text of a thousand rules has a third of a mebibyte, so a
/// crowd that does not read would take up the memory of the container with a text for each.
#[derive(Debug, Default)]
pub(super) struct SharedBodies {
    texts: Mutex<Vec<Weak<Text>>>,
}

#[derive(Debug)]
struct Text(String, #[expect(dead_code, reason = "held as long as the text")] Option<Reservation>);

/// A client's share of a text.
struct Share(Arc<Text>);

impl AsRef<[u8]> for Share {
    fn as_ref(&self) -> &[u8] {
        self.0.0.as_bytes()
    }
}

impl SharedBodies {
    /// A text from `make`, or the newest that waits to be read, where too much does. `None` where no memory is left.
    pub(super) fn text(&self, make: impl FnOnce() -> String) -> Option<Bytes> {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        texts.retain(|text| text.strong_count() > 0);
        let waiting: Vec<Arc<Text>> = texts.iter().filter_map(Weak::upgrade).collect();
        let bytes: usize = waiting.iter().map(|text| text.0.capacity()).sum();
        let text = match waiting.last() {
            Some(newest) if bytes > MOST_UNREAD => newest.clone(),
            newest => {
                let written = make();
                let reserved = match ConnectionHandle::current() {
                    Some(connection) => connection.reserve(written.capacity()).map(Some),
                    // Called without a connection, as in a test of the router alone.
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
        Some(Bytes::from_owner(Share(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_gets_a_text_of_its_own_until_too_much_waits_to_be_read() {
        let unread = SharedBodies::default();
        let quarter = |first: char| format!("{first}{}", " ".repeat(MOST_UNREAD / 4));
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
    fn a_text_is_gone_with_the_last_client_that_reads_it() {
        let unread = SharedBodies::default();
        let first = unread.text(|| "a".repeat(2 * MOST_UNREAD));
        let second = unread.text(String::new);
        assert_eq!(first, second);
        drop((first, second));
        assert_eq!(unread.text(|| "new".to_owned()).unwrap(), "new");
    }
}
