//! On the bus: the proxy beats, and stops when it is asked to.

use crate::bed::{Bed, until};

#[tokio::test]
async fn beats_and_stops_when_the_bus_asks() {
    let bed = Bed::new();
    let socket = bed.path("bus.sock");
    let listener = bus::testing::listen(&socket);
    bed.configure(&format!("[bus]\nsocket = {socket:?}"));
    let mut program = bed.program();
    let peer = bus::testing::Peer::accept(&listener, "audit-proxy").await;
    let health = peer.stop("audit-proxy").await;
    assert_eq!(health["payload"]["worker"], "audit-proxy");
    assert_eq!(health["payload"]["pid"], program.0.id());
    until(async || program.0.try_wait().unwrap().is_some()).await;
    assert_eq!(program.0.wait().unwrap().code(), Some(0));
}
