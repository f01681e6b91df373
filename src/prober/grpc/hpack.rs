//! The part of HPACK (RFC 7541) that one unary call needs.
//!
//! Headers are encoded as literals. Decoding knows the static table and Huffman codes; there is no dynamic table, since
//! our settings do not allow one.

/// Lengths of the Huffman codes in bits, by symbol. The code is canonical, so the lengths determine it.
const CODE_LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26, 30,
];

/// Entries of the static table; higher indices mean the dynamic one.
const STATIC_ENTRIES: usize = 61;

/// The block of headers cannot be decoded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("malformed block of headers")]
pub(super) struct Malformed;

/// Adds a header to a block, as a literal that enters no table.
pub(super) fn encode(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        integer_into(block, text.len());
        block.extend_from_slice(text.as_bytes());
    }
}

/// An integer with a prefix of seven bits.
fn integer_into(block: &mut Vec<u8>, mut value: usize) {
    const FULL: usize = 127;
    if value < FULL {
        block.push(value as u8);
        return;
    }
    block.push(FULL as u8);
    value -= FULL;
    while value >= 128 {
        block.push(value as u8 | 128);
        value >>= 7;
    }
    block.push(value as u8);
}

/// The headers of a block. A name from the static table that no probe needs is returned empty.
pub(super) fn decode(mut block: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
    let mut headers = Vec::new();
    while let Some(first) = block.first().copied() {
        let (name, value) = match first {
            0x80.. => {
                let (name, value) = static_entry(integer(&mut block, 7)?)?;
                (name.to_owned(), value.to_owned())
            }
            0x20..0x40 => {
                integer(&mut block, 5)?;
                continue;
            }
            _ => {
                let prefix = if first >= 0x40 { 6 } else { 4 };
                let name = match integer(&mut block, prefix)? {
                    0 => string(&mut block)?,
                    index => static_entry(index)?.0.to_owned(),
                };
                (name, string(&mut block)?)
            }
        };
        headers.push((name, value));
    }
    Ok(headers)
}

fn static_entry(index: usize) -> Result<(&'static str, &'static str), Malformed> {
    const STATUSES: [&str; 7] = ["200", "204", "206", "304", "400", "404", "500"];
    match index {
        8..=14 => Ok((":status", STATUSES[index - 8])),
        31 => Ok(("content-type", "")),
        index if (1..=STATIC_ENTRIES).contains(&index) => Ok(("", "")),
        _ => Err(Malformed),
    }
}

fn integer(block: &mut &[u8], prefix: u32) -> Result<usize, Malformed> {
    let full = (1_usize << prefix) - 1;
    let mut value = usize::from(take(block)?) & full;
    if value < full {
        return Ok(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = take(block)?;
        value += usize::from(byte & 127) << shift;
        if byte < 128 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

fn take(block: &mut &[u8]) -> Result<u8, Malformed> {
    let (first, rest) = block.split_first().ok_or(Malformed)?;
    *block = rest;
    Ok(*first)
}

fn string(block: &mut &[u8]) -> Result<String, Malformed> {
    let coded = block.first().is_some_and(|first| first & 128 != 0);
    let length = integer(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length).ok_or(Malformed)?;
    *block = rest;
    let bytes = if coded { huffman(bytes)? } else { bytes.to_owned() };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn huffman(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut symbols: Vec<u16> = (0..257).collect();
    symbols.sort_by_key(|symbol| CODE_LENGTHS[usize::from(*symbol)]);
    let mut decoded = Vec::new();
    // The code and its length so far, the first code of that length, and the position of its symbol.
    let (mut code, mut length, mut first, mut place) = (0_u32, 0_u8, 0_u32, 0_usize);
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| u32::from(byte >> at & 1))) {
        (code, length, first) = (code << 1 | bit, length + 1, first << 1);
        let count = symbols[place..]
            .iter()
            .take_while(|symbol| CODE_LENGTHS[usize::from(**symbol)] == length)
            .count();
        match symbols.get(place + (code - first) as usize) {
            Some(symbol) if ((code - first) as usize) < count => {
                decoded.push(u8::try_from(*symbol).map_err(|_| Malformed)?);
                (code, length, first, place) = (0, 0, 0, 0);
            }
            _ => (first, place) = (first + count as u32, place + count),
        }
        if length >= 30 {
            return Err(Malformed);
        }
    }
    // The rest is padding: fewer than eight bits, all ones.
    if length < 8 && code == (1 << length) - 1 { Ok(decoded) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huffman_codes_are_those_of_rfc_7541() {
        for (coded, text) in [
            (
                &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff][..],
                "www.example.com",
            ),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf], "custom-value"),
            (
                &[
                    0x94, 0xe7, 0x82, 0x1d, 0xd7, 0xf2, 0xe6, 0xc7, 0xb3, 0x35, 0xdf, 0xdf, 0xcd, 0x5b, 0x39,
                    0x60, 0xd5, 0xaf, 0x27, 0x08, 0x7f, 0x36, 0x72, 0xc1, 0xab, 0x27, 0x0f, 0xb5, 0x29, 0x1f,
                    0x95, 0x87, 0x31, 0x60, 0x65, 0xc0, 0x03, 0xed, 0x4e, 0xe5, 0xb1, 0x06, 0x3d, 0x50, 0x07,
                ],
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            ),
        ] {
            assert_eq!(huffman(coded), Ok(text.as_bytes().to_owned()));
        }
    }

    #[test]
    fn bad_padding_and_the_end_symbol_are_refused() {
        assert_eq!(huffman(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbe]), Err(Malformed));
        assert_eq!(huffman(&[0xff; 4]), Err(Malformed));
    }

    #[test]
    fn a_block_comes_back_as_it_was_written() {
        let long = "x".repeat(300);
        let headers = [(":path", "/a"), ("grpc-status", "12"), ("long", long.as_str())];
        let mut block = vec![0x88, 0x20];
        for (name, value) in headers {
            encode(&mut block, name, value);
        }
        let decoded = decode(&block).unwrap();
        assert_eq!(decoded[0], (":status".to_owned(), "200".to_owned()));
        for (decoded, header) in decoded[1..].iter().zip(headers) {
            assert_eq!((decoded.0.as_str(), decoded.1.as_str()), header);
        }
    }

    #[test]
    fn a_block_that_is_cut_short_or_refers_to_what_was_never_kept_is_refused() {
        for block in
            [&[0x00, 0x05, b'a'][..], &[0xbe], &[0x80], &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff], &[0x00]]
        {
            assert_eq!(decode(block), Err(Malformed), "{block:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_block_makes_the_decoder_panic(block in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let _ = decode(&block);
        }
    }
}
