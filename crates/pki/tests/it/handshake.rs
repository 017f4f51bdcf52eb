//! What a good handshake gives: the peer, the mode, and nothing to resume.

use std::sync::Arc;

use pki::{Mode, Refusal, ServerTls, Trust};
use rustls::HandshakeKind;

use crate::support::{BOTH, Master, client, eager, forwarder, meet, sign, worker_params};

#[tokio::test]
async fn an_enrolled_worker_is_served_by_its_name() {
    let master = Master::init().await;
    let identity = master.enrol("w1").await;
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    let meeting = meet(&tls, forwarder(&identity, &[])).await;
    let accepted = meeting.server.unwrap();
    assert_eq!(accepted.peer.name.as_str(), "w1");
    assert_eq!(accepted.peer.fingerprint, identity.fingerprint());
    assert_eq!(accepted.peer.not_after, identity.not_after());
    assert_eq!(accepted.mode, Mode::Plain);
    assert_eq!(tls.recheck(&accepted.peer), Ok(()));
    let client = meeting.client.unwrap();
    assert_eq!(
        client.get_ref().1.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
}

#[tokio::test]
async fn both_tls_versions_are_served_and_neither_resumes() {
    let master = Master::init().await;
    master.enrol("w1").await;
    let tls = ServerTls::open(&master.data(), Trust::Ca).await.unwrap();
    for version in BOTH {
        let key = sign(&worker_params("w1"), &master.issuer());
        let config = eager(client(&master.ca("ca.crt"), version, Some(key)));
        for _ in 0..3 {
            let meeting = meet(&tls, Arc::clone(&config)).await;
            let server = meeting.server.unwrap();
            let mut client = meeting.client.unwrap();
            assert_eq!(client.get_ref().1.protocol_version(), Some(version.version));
            exchange(server.stream, &mut client).await;
            assert_eq!(
                client.get_ref().1.handshake_kind(),
                Some(HandshakeKind::Full),
                "{version:?}"
            );
            assert_eq!(client.get_ref().1.tls13_tickets_received(), 0);
        }
    }
}

/// Reads what the server says, and with it any ticket that it might have sent before.
async fn exchange(
    mut server: tokio_rustls::server::TlsStream<tokio::io::DuplexStream>,
    client: &mut tokio_rustls::client::TlsStream<tokio::io::DuplexStream>,
) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    server.write_all(b"hello").await.unwrap();
    server.shutdown().await.unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"hello");
}

#[tokio::test]
async fn the_configuration_keeps_no_session_and_takes_no_early_data() {
    let master = Master::init().await;
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    let config = tls.for_hello(&[]);
    assert_eq!(config.send_tls13_tickets, 0);
    assert_eq!(config.max_early_data_size, 0);
    assert!(!config.ticketer.enabled());
    assert!(!config.session_storage.can_cache());
    assert!(config.alpn_protocols.is_empty());
}

#[tokio::test]
async fn unknown_application_protocols_are_served_plain() {
    let master = Master::init().await;
    let identity = master.enrol("w1").await;
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    let offers: [&[&[u8]]; 4] = [&[], &[b"h2"], &[b"h2", b"syslog"], &[b"logferry/1"]];
    for offer in offers {
        let meeting = meet(&tls, forwarder(&identity, offer)).await;
        assert_eq!(meeting.server.unwrap().mode, Mode::Plain, "{offer:?}");
        assert_eq!(
            meeting.client.unwrap().get_ref().1.alpn_protocol(),
            None,
            "{offer:?}"
        );
    }
}

#[tokio::test]
async fn acknowledged_mode_is_agreed_once_it_is_switched_on() {
    let master = Master::init().await;
    let identity = master.enrol("w1").await;
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap()
        .with_acknowledged();
    let meeting = meet(&tls, forwarder(&identity, &[b"h2", b"logferry/1"])).await;
    assert_eq!(meeting.server.unwrap().mode, Mode::Acknowledged);
    assert_eq!(
        meeting.client.unwrap().get_ref().1.alpn_protocol(),
        Some(&b"logferry/1"[..])
    );
    let meeting = meet(&tls, forwarder(&identity, &[b"h2"])).await;
    assert_eq!(meeting.server.unwrap().mode, Mode::Plain);
}

#[tokio::test]
async fn acknowledged_mode_leaves_the_registry_to_the_session() {
    let master = Master::init().await;
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap()
        .with_acknowledged();
    let mut config = client(
        &master.ca("ca.crt"),
        &rustls::version::TLS13,
        Some(sign(&worker_params("stranger"), &master.issuer())),
    );
    config.alpn_protocols = vec![b"logferry/1".to_vec()];
    let accepted = meet(&tls, config).await.server.unwrap();
    assert!(matches!(
        tls.recheck(&accepted.peer),
        Err(Refusal::NotEnrolled { .. })
    ));
}

#[tokio::test]
async fn a_client_that_only_writes_loses_nothing() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let master = Master::init().await;
    let identity = master.enrol("w1").await;
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let client = async {
        let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(forwarder(&identity, &[]));
        let mut stream = connector.connect(pki::server_name("m"), tcp).await.unwrap();
        stream.write_all(&[b'x'; 200_000]).await.unwrap();
        // Closed without ever having read.
        stream.shutdown().await.unwrap();
    };
    let server = async {
        let tcp = listener.accept().await.unwrap().0;
        let mut accepted = tls.accept(tcp, crate::support::LIMIT).await.unwrap();
        let mut received = Vec::new();
        accepted.stream.read_to_end(&mut received).await.unwrap();
        received.len()
    };
    let ((), received) = tokio::join!(client, server);
    assert_eq!(received, 200_000);
}
