//! The source without the program around it.

use std::{io::Write as _, net::TcpStream, os::unix::net::UnixDatagram, time::Duration};

use service::socket::Place;
use tokio::sync::{mpsc, watch};

use super::{Config, Metrics, Sockets, Supply, Taken, run};
use crate::source::{Event, Pool};

#[tokio::test]
async fn a_stop_takes_in_what_the_kernel_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("syslog.sock");
    let loopback = Some("127.0.0.1:0".parse().unwrap());
    let config = Config {
        udp: loopback,
        tcp: loopback,
        unix: Some(Place {
            path: path.clone(),
            mode: 0o600,
            group: None,
        }),
        max_message: 1 << 20,
        connections: 64,
        idle: Duration::from_secs(3600),
    };
    let sockets = Sockets::bind(&config).unwrap();
    let at = sockets.to_json();
    let address = |key: &str| at[key].as_str().unwrap().to_owned();
    // More than one read takes.
    let line = format!("<1>{}\n", "x".repeat(1000));
    let senders: Vec<_> = (0..3)
        .map(|_| {
            let mut stream = TcpStream::connect(address("tcp")).unwrap();
            stream.set_nonblocking(true).unwrap();
            let wire = line.repeat(150);
            let sent = stream.write(wire.as_bytes()).unwrap();
            (stream, sent)
        })
        .collect();
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let unix = UnixDatagram::unbound().unwrap();
    for _ in 0..5 {
        sender.send_to(b"<1>u", address("udp")).unwrap();
        unix.send_to(b"<1>l", &path).unwrap();
    }
    let (events, mut received) = mpsc::channel(64);
    let (_stop, stop) = watch::channel(true);
    let mut registry = prometheus_client::registry::Registry::default();
    let supply = Supply {
        events,
        pool: Pool::new(64),
        metrics: Metrics::new(&mut registry),
        taken: Taken::default(),
        stop,
        pulse: service::status::Health::new().pulse("syslog"),
    };
    run(sockets, config, supply).await.unwrap();
    let (mut octets, mut datagrams) = (0, 0);
    while let Some(Event::Batch(batch)) = received.recv().await {
        for (_, line) in batch.lines.iter() {
            if batch.container.id == "syslog-tcp" {
                octets += line.len() + 1;
            } else {
                datagrams += 1;
            }
        }
    }
    assert_eq!(datagrams, 10);
    // The last line of each may have been cut by its sender, and has no LF then.
    let cut = senders
        .iter()
        .filter(|(_, sent)| sent % line.len() != 0)
        .count();
    let sent: usize = senders.iter().map(|(_, sent)| sent).sum();
    assert!(sent > 3 * (64 << 10), "{sent}");
    assert_eq!(octets, sent + cut);
}
