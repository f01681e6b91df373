//! The port of an application of another protocol than HTTP.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::{Attached, fault};
use crate::support::PATIENCE;
use crate::support::process::signal;

/// An application of another protocol than HTTP, on all addresses: it speaks first, then sends back what it gets.
fn echo() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let (mut read, mut write) = (&stream, &stream);
                write.write_all(b"hello\n").and_then(|()| std::io::copy(&mut read, &mut write))
            });
        }
    });
    port
}

/// A client of the application that has read its greeting.
fn greeted(address: SocketAddr) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut greeting = [0; 6];
    stream.read_exact(&mut greeting)?;
    assert_eq!(&greeting, b"hello\n");
    Ok(stream)
}

fn answers(mut stream: &TcpStream) -> bool {
    let mut answer = [0; 4];
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut answer).is_ok() && answer == *b"ping"
}

#[test]
fn with_protocol_tcp_rules_act_on_connections_and_bytes_of_any_protocol() {
    let port = echo();
    let Some(attached) =
        Attached::start(port, "--protocol tcp --delay 300ms --stream upstream --name slow --include-probes")
    else {
        return;
    };
    let began = Instant::now();
    let open = greeted(attached.address).unwrap();
    assert!(answers(&open) && began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    fault(&attached, "add application --mode reset --name cut").unwrap();
    assert!(greeted(attached.address).is_err());
    assert!(greeted(SocketAddr::from(([127, 0, 0, 1], port))).is_ok(), "loopback goes around the proxy");
    fault(&attached, "rm cut").unwrap();
    for (words, reason) in [
        (
            "add traffic --status 503",
            "has no effect in attach with --protocol tcp: use the target application",
        ),
        ("add listener --mode refuse", "has no effect in attach with --protocol tcp"),
        ("add application --status 503", "TCP"),
        ("rm slow", ""),
        ("proxy rm application", "it stays until attach ends"),
        ("proxy add application --listen :1 --upstream 127.0.0.1:1", "it stays until attach ends"),
    ] {
        let told = fault(&attached, words).err().unwrap_or_default();
        assert!(told.contains(reason) && told.is_empty() == reason.is_empty(), "{words}: {told}");
    }
    let open = greeted(attached.address).unwrap();
    let mut admin = TcpStream::connect(attached.admin).unwrap();
    admin.write_all(b"GET /metrics HTTP/1.0\r\nhost: localhost\r\n\r\n").unwrap();
    let mut metrics = String::new();
    admin.read_to_string(&mut metrics).unwrap();
    let counted = "probesim_proxy_bytes_total{proxy=\"application\",stream=\"upstream\"} 4\n";
    assert!(metrics.contains(counted), "{metrics}");
    signal(&attached.child, "TERM");
    // An open connection goes on during the drain, while new ones reach the application.
    assert!(answers(&open));
    drop(open);
    let address = attached.address;
    let released = attached.released();
    assert_eq!((&released["reason"], &released["next_connection"]), (&"stop".into(), &"application".into()));
    assert!(answers(&greeted(address).unwrap()));
}

#[test]
fn over_tcp_connections_of_the_node_are_spared_unless_probes_are_included() {
    let port = echo();
    let Some(attached) = Attached::start(port, "--protocol tcp") else { return };
    let address = attached.address;
    drop(attached);
    // Clients on this machine come from this address.
    let node = address.ip().to_string();
    for (options, rule, is_spared) in [
        ("", "--mode reset", true),
        ("", "--mode refuse", true),
        ("", "--mode drop", true),
        ("--include-probes", "--mode reset", false),
        ("--include-probes", "--mode refuse", false),
    ] {
        let options = format!("--protocol tcp {options} {rule}");
        let attached = Attached::start_with(port, &options, &[("NODE_IP", &node)]).unwrap();
        assert_eq!(greeted(address).is_ok(), is_spared, "{options}");
        drop(attached);
    }
}
