//! Who is served and who is not.

use pki::Identity;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Master, frames};

#[tokio::test]
async fn cuts_a_live_session_when_its_worker_is_revoked() {
    let master = Master::started().await;
    let (bad, good) = (master.enroll("bad"), master.enroll("good"));
    let mut cut = master.connect(&bad).await;
    let mut stays = master.connect(&good).await;
    cut.send(&frames(0, 10)).await;
    stays.send(&frames(0, 10)).await;
    master.shows("frames_total", 20).await;
    master.command(&["revoke", "bad", "--data", &master.data().to_string_lossy()]);
    cut.end().await.unwrap();
    stays.send(&frames(10, 20)).await;
    stays.close().await.unwrap();
    master.merged(30).await;
    assert_eq!(master.archived("bad"), frames(0, 10));
    assert_eq!(master.archived("good"), frames(0, 20));
    assert!(
        master.log().contains("no longer served"),
        "{}",
        master.log()
    );

    // And it does not come in again.
    let refused = match master.try_connect(&bad).await {
        Ok(mut client) => client.end().await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    master.shows("refused_total{reason=\"revoked\"}", 2).await;
}

#[tokio::test]
async fn refuses_strangers_and_says_so_once() {
    let master = Master::started().await;
    // Trusts this master, and has its own certificate from another CA.
    let other = Master::init();
    other.enroll("web-1");
    let anchors = [
        master.data().join("ca/ca.crt"),
        other.data().join("ca/ca.crt"),
    ];
    let anchors = anchors.map(|path| std::fs::read(path).unwrap()).concat();
    std::fs::write(other.path("id-web-1/ca.crt"), anchors).unwrap();
    let stranger = Identity::load(&other.path("id-web-1")).unwrap();
    for _ in 0..3 {
        // In TLS 1.3 the client may only learn it at its first read.
        if let Ok(mut client) = master.try_connect(&stranger).await {
            assert!(client.end().await.is_err());
        }
        let mut plain = TcpStream::connect(&master.addr).await.unwrap();
        plain
            .write_all(b"<13>1 - - - - - - in plain text\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer).await;
    }
    for reason in ["not_tls", "other_ca"] {
        let counted = format!("refused_total{{reason=\"{reason}\"}}");
        master.shows(&counted, 3).await;
    }
    let log = master.log();
    for reason in ["plain text", "not signed by this CA"] {
        let told: Vec<_> = log.lines().filter(|line| line.contains(reason)).collect();
        assert_eq!(told.len(), 1, "{log}");
        assert!(told[0].contains("127.0.0.1:"), "{}", told[0]);
    }
    assert_eq!(master.archived("web-1"), b"");
}

#[tokio::test]
async fn refuses_a_worker_that_is_not_in_the_registry() {
    let master = Master::init();
    let identity = master.enroll("web-1");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(master.data().join(format!("registry.sqlite{suffix}")));
    }
    master.command(&["init", "--data", &master.data().to_string_lossy()]);
    let mut master = master;
    master.start().await;
    if let Ok(mut client) = master.try_connect(&identity).await {
        assert!(client.end().await.is_err());
    }
    let counted = "refused_total{reason=\"not_enrolled\"}";
    master.shows(counted, 1).await;
    master.stop();

    let mut lenient = master;
    let config = std::fs::read_to_string(lenient.path("listener.toml")).unwrap();
    std::fs::write(
        lenient.path("listener.toml"),
        format!("trust = \"ca\"\n{config}"),
    )
    .unwrap();
    lenient.start().await;
    let mut client = lenient.connect(&identity).await;
    client.send(&frames(0, 3)).await;
    client.close().await.unwrap();
    lenient.merged(3).await;
}
