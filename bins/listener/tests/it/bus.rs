//! On the bus: the listener beats, and stops when it is asked to.

use crate::support::{Master, until};

#[tokio::test]
async fn beats_and_stops_when_the_bus_asks() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("bus.sock");
    let listener = bus::testing::listen(&socket);
    let master = Master::with(&format!("[bus]\nsocket = {socket:?}\n"));
    let mut child = master.spawn();
    let peer = bus::testing::Peer::accept(&listener, "listener").await;
    let health = peer.stop("listener").await;
    assert_eq!(health["payload"]["worker"], "listener");
    assert_eq!(health["payload"]["connections"], 0);
    let ended = until("the end", async || child.try_wait().unwrap()).await;
    assert_eq!(ended.code(), Some(0));
}
