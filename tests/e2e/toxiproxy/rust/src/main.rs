//! Drives toxiproxy's API by toxiproxy_rust.
//! Usage: toxiproxy-client-trial HOST:PORT UPSTREAM    UPSTREAM is an echo server

use std::io::{Read, Result, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use toxiproxy_rust::client::Client;
use toxiproxy_rust::proxy::ProxyPack;

/// The duration of an echo.
fn echo(listen: &str) -> Result<Duration> {
    let began = Instant::now();
    let mut stream = TcpStream::connect(listen)?;
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    stream.write_all(b"ping")?;
    stream.read_exact(&mut [0; 4])?;
    Ok(began.elapsed())
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (api, upstream) = (args.next().expect("HOST:PORT"), args.next().expect("UPSTREAM"));
    let client = Client::new(api.as_str());
    assert!(client.is_running());
    assert!(client.version().unwrap().contains("2."));
    let pack = |name: &str| ProxyPack::new(name.into(), "127.0.0.1:0".into(), upstream.clone());
    let populated = client.populate(vec![pack("rust_one"), pack("rust_two")]).unwrap();
    assert_eq!(populated.len(), 2);
    let proxy = client.find_proxy("rust_one").unwrap();
    let listen = proxy.proxy_pack.listen.as_str();
    echo(listen).unwrap();

    proxy.with_latency("downstream".into(), 100, 0, 1.0);
    assert!(echo(listen).unwrap() >= Duration::from_millis(100));
    let toxics = proxy.toxics().unwrap();
    assert_eq!((toxics.len(), toxics[0].name.as_str()), (1, "latency_downstream"));
    assert_eq!(toxics[0].attributes["latency"], 100);
    proxy.delete_all_toxics().unwrap();
    assert!(proxy.toxics().unwrap().is_empty());

    proxy.with_bandwidth("upstream".into(), 1000, 0.5);
    proxy.with_slow_close("upstream".into(), 10, 0.5);
    proxy.with_slicer("downstream".into(), 2, 1, 10, 1.0);
    assert_eq!(proxy.toxics().unwrap().len(), 3);
    echo(listen).unwrap();
    client.reset().unwrap();
    assert!(proxy.toxics().unwrap().is_empty());

    proxy.with_timeout("downstream".into(), 50, 1.0);
    assert!(echo(listen).is_err());
    proxy.delete_all_toxics().unwrap();
    proxy.with_limit_data("downstream".into(), 2, 1.0);
    assert!(echo(listen).is_err());
    client.find_and_reset_proxy("rust_one").unwrap();
    echo(listen).unwrap();

    proxy.with_down(|| assert!(echo(listen).is_err())).unwrap();
    echo(listen).unwrap();
    proxy.disable().unwrap();
    assert!(!client.all().unwrap()["rust_one"].proxy_pack.enabled);
    proxy.enable().unwrap();

    for (name, proxy) in client.all().unwrap() {
        if name.starts_with("rust_") {
            proxy.delete().unwrap();
        }
    }
    assert!(client.find_proxy("rust_one").is_err());
    println!("toxiproxy_rust: ok");
}
