//! Foreign texts, prepared for one line of output.

use std::fmt;
use std::net::SocketAddr;

/// Shortens `local->peer` to `peer`: the local port is another in each attempt.
pub(super) fn without_local_address(message: &str) -> String {
    let shorten = |word: &str| {
        let (local, peer) = word.split_once("->")?;
        let is_address = |text: &str| text.parse::<SocketAddr>().is_ok();
        (is_address(local) && is_address(peer.trim_end_matches(':'))).then(|| peer.to_owned())
    };
    let words = message.split(' ').map(|word| shorten(word).unwrap_or_else(|| word.to_owned()));
    words.collect::<Vec<_>>().join(" ")
}

/// A server's text on one line. Control characters, which could control a terminal, are escaped.
pub(super) struct OneLine<'a>(pub(super) &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_the_address_that_was_asked_alone() {
        for (message, shown) in [
            (
                "read tcp 127.0.0.1:4711->127.0.0.1:80: read: connection reset by peer",
                "read tcp 127.0.0.1:80: read: connection reset by peer",
            ),
            ("read tcp [::1]:4711->[::1]:80: read: EOF", "read tcp [::1]:80: read: EOF"),
            ("a->b  c 1.2.3.4->x ", "a->b  c 1.2.3.4->x "),
        ] {
            assert_eq!(without_local_address(message), shown);
        }
    }
}
