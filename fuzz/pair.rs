//! Two servers in a row: what the proxy takes for requests, and what an upstream that reads by the letter does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use super::service::{Connection, start};

/// Parts what the client sends from what the upstream answers.
const BETWEEN: &[u8] = b"\n=====\n";

/// The answer where the input has none.
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// How the proxy signs each request that it forwards. One that it has not seen as a request has no such name.
const SIGNATURE: &str = "kube-probesim-";

/// A request that can be forwarded without hyper, after whose answer the connection ends.
const PLAIN: &[u8] = b"GET /plain HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// The bytes of a client, and after a line of `=====` those of an upstream. What the upstream gets is whole requests,
/// each signed by the proxy, and perhaps one that breaks off. What the client gets is whole answers, and perhaps one that
/// breaks off. Both hold with hyper and without it, and the upstream's answer to a plain request comes back the same.
pub fn pair(data: &[u8]) {
    let (sent, answer) = match data.windows(BETWEEN.len()).position(|bytes| bytes == BETWEEN) {
        Some(at) => (&data[..at], Some(&data[at + BETWEEN.len()..])),
        None => (data, None),
    };
    let pair = &*PAIR;
    *pair.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer.map(<[u8]>::to_vec);
    for proxy in [pair.hyper, pair.plain] {
        let mut client = Connection::to(proxy);
        client.send(sent);
        let got = client.finish();
        let wrong = std::mem::take(&mut *pair.wrong.lock().unwrap_or_else(PoisonError::into_inner));
        assert!(wrong.is_empty(), "{wrong:?} after {:?}", String::from_utf8_lossy(sent));
        // An answer to HEAD has no body, and after 101 there are no answers.
        let is_plain = !sent.windows(4).any(|bytes| bytes == b"HEAD") && !sent.starts_with(b"PRI ");
        if is_plain && let Err(wrong) = answers(&got) {
            let (got, sent) = (String::from_utf8_lossy(&got), String::from_utf8_lossy(data));
            panic!("{wrong}: {got:?} for {sent:?}");
        }
    }
    if let Some(answer) = answer {
        let heads = [pair.hyper, pair.plain].map(|proxy| {
            let mut client = Connection::to(proxy);
            client.send(PLAIN);
            comparable(&client.read_to_end())
        });
        // The head is lost if the connection ends with the answer that breaks off.
        if heads.iter().all(|head| !head.is_empty()) {
            assert_eq!(heads[0], heads[1], "{:?}", String::from_utf8_lossy(answer));
        }
    }
}

/// The head of an answer without what depends on time, with its fields by name: hyper does not keep their order.
fn comparable(answer: &[u8]) -> Vec<String> {
    let Ok(Some((line, mut fields, _))) = head(answer) else { return Vec::new() };
    fields.retain(|(name, _)| name != "date");
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    let fields = fields.into_iter().map(|(name, value)| format!("{name}: {value}"));
    std::iter::once(line).chain(fields).collect()
}

/// The service with hyper and without it, and an upstream behind both.
struct Pair {
    hyper: SocketAddr,
    plain: SocketAddr,
    answer: Arc<Mutex<Option<Vec<u8>>>>,
    /// What the upstream has got that it must not.
    wrong: Arc<Mutex<Vec<String>>>,
}

static PAIR: LazyLock<Pair> = LazyLock::new(|| {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = upstream.local_addr().expect("an address");
    let (answer, wrong) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(Vec::new())));
    let (answers, notes) = (answer.clone(), wrong.clone());
    std::thread::spawn(move || {
        for stream in upstream.incoming().flatten() {
            let (answers, notes) = (answers.clone(), notes.clone());
            std::thread::spawn(move || {
                if let Err(wrong) = serve(stream, &answers) {
                    notes.lock().unwrap_or_else(PoisonError::into_inner).push(wrong);
                }
            });
        }
    });
    let url = format!("http://{address}");
    let plain = start(&[("UPSTREAM", &url)]);
    // A timeout leaves all requests to hyper.
    let hyper = start(&[("UPSTREAM", &url), ("UPSTREAM_TIMEOUT", "2s")]);
    Pair { hyper, plain, answer, wrong }
});

/// Answers each request; the error is what is no request of the proxy's.
fn serve(mut stream: TcpStream, answer: &Mutex<Option<Vec<u8>>>) -> Result<(), String> {
    let (mut got, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        while let Some(length) = request(&got)? {
            got.drain(..length);
            let given = answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let written = stream.write_all(given.as_deref().unwrap_or(OK));
            if written.is_err() || given.is_some() {
                return Ok(());
            }
        }
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => got.extend_from_slice(&buffer[..count]),
            // It may break off.
            _ => return Ok(()),
        }
    }
}

/// How the body after a head ends.
enum Framing {
    Length(usize),
    Chunked,
    Close,
}

/// The length of the request at the beginning of `bytes`; `None` where it is not whole.
fn request(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some((line, fields, body)) = head(bytes)? else { return Ok(None) };
    let wrong = |what: &str| Err(format!("{what} in {:?}", String::from_utf8_lossy(bytes)));
    let mut words = line.split(' ');
    let is_token = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
    let (method, target, version) = (words.next(), words.next(), words.next());
    if !method.is_some_and(is_token) || version != Some("HTTP/1.1") || words.next().is_some() {
        return wrong("a request line");
    }
    if !target.is_some_and(|target| target.starts_with('/') || target == "*") {
        return wrong("a target that is not in origin form");
    }
    let all = |name: &str| fields.iter().filter(|(field, _)| field == name).count();
    let signed = |(name, value): &(String, String)| name == "cdn-loop" && value.contains(SIGNATURE);
    if all("host") != 1 || !fields.iter().any(signed) {
        return wrong("no host, or no signature");
    }
    if ["keep-alive", "proxy-connection", "expect"].iter().any(|name| all(name) > 0) {
        return wrong("a field of the hop");
    }
    match framing(&fields, false) {
        Ok(Framing::Length(length)) => Ok((bytes.len() >= body + length).then_some(body + length)),
        Ok(_) => Ok(chunked(&bytes[body..])?.map(|length| body + length)),
        Err(what) => wrong(what),
    }
}

/// Answers that follow one another; the last may break off.
fn answers(mut bytes: &[u8]) -> Result<(), String> {
    while !bytes.is_empty() {
        let Some((line, fields, body)) = head(bytes)? else { return Ok(()) };
        let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse::<u16>().ok());
        let Some(status) = status else { return Err(format!("a status line {line:?}")) };
        let length = match (status, framing(&fields, true)?) {
            (101, _) | (_, Framing::Close) => return Ok(()),
            (100..=199 | 204 | 304, _) => 0,
            (_, Framing::Length(length)) => length,
            (_, Framing::Chunked) => match chunked(&bytes[body..])? {
                Some(length) => length,
                None => return Ok(()),
            },
        };
        bytes = bytes.get(body + length..).unwrap_or_default();
    }
    Ok(())
}

/// The first line, the fields with their names in lower case, and where the body begins; `None` where it is not whole.
#[allow(clippy::type_complexity)]
fn head(bytes: &[u8]) -> Result<Option<(String, Vec<(String, String)>, usize)>, String> {
    let Some(end) = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(None) };
    let text: String = bytes[..end].iter().map(|byte| char::from(*byte)).collect();
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let mut fields = Vec::new();
    for field in lines {
        let parts = field.split_once(':').filter(|(name, value)| {
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            !name.is_empty() && name.bytes().all(is_token) && !value.contains(['\r', '\n', '\0'])
        });
        let Some((name, value)) = parts else { return Err(format!("a field {field:?} in {text:?}")) };
        fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
    Ok(Some((line, fields, end + 4)))
}

/// How the body is framed, without any doubt.
fn framing(fields: &[(String, String)], is_answer: bool) -> Result<Framing, &'static str> {
    let of = |name: &str| {
        fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str()).collect()
    };
    let (lengths, codings): (Vec<&str>, Vec<&str>) = (of("content-length"), of("transfer-encoding"));
    match (lengths.as_slice(), codings.as_slice()) {
        ([], ["chunked"]) => Ok(Framing::Chunked),
        ([], []) if is_answer => Ok(Framing::Close),
        ([], []) => Ok(Framing::Length(0)),
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            length.parse().map(Framing::Length).map_err(|_| "a length")
        }
        _ => Err("a doubtful length"),
    }
}

/// The length of a chunked body with its trailers; `None` where it is not whole.
fn chunked(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let Some(line) = bytes[at..].windows(2).position(|bytes| bytes == b"\r\n") else { return Ok(None) };
        let size = String::from_utf8_lossy(&bytes[at..at + line]).into_owned();
        let is_size = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = usize::from_str_radix(&size, 16).ok().filter(|_| is_size).ok_or("the size of a chunk")?;
        at += line + 2;
        if size == 0 {
            break;
        }
        match bytes.get(at + size..at + size + 2) {
            Some(b"\r\n") => at += size + 2,
            Some(_) => return Err("the end of a chunk".to_owned()),
            None => return Ok(None),
        }
    }
    if bytes[at..].starts_with(b"\r\n") {
        return Ok(Some(at + 2));
    }
    let Some(end) = bytes[at..].windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(None) };
    Ok(Some(at + end + 4))
}
