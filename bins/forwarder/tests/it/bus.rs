//! On the bus: the forwarder beats, and stops when it is asked to.

use crate::bed::{Bed, limits};

#[tokio::test]
async fn beats_and_stops_when_the_bus_asks() {
    let bed = Bed::new().await;
    let socket = bed.dir.path().join("bus.sock");
    let listener = bus::testing::listen(&socket);
    let running = bed.start_with(&[1], &format!("[bus]\nsocket = {socket:?}"), limits());
    let peer = bus::testing::Peer::accept(&listener, "forwarder").await;
    let health = peer.stop("forwarder").await;
    assert_eq!(health["type"], "health");
    assert_eq!(health["payload"]["streams"], 1);
    assert_eq!(
        health["payload"]["failing"],
        serde_json::json!(["stream/decky"])
    );
    running.ended().await;
}
