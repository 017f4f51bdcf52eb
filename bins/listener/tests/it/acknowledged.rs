//! Acknowledged delivery (docs/wire.md §3) over real TLS to the real process.

use delivery::sender::Why;

use crate::link::epoch;
use crate::sending::Sending;
use crate::support::{Master, lines};

#[tokio::test]
async fn archives_a_file_and_says_so() {
    let mut master = Master::started().await;
    let identity = master.enroll("web-1");
    let mut bytes = lines(0, 20_000);
    bytes.extend_from_slice(b"\n\n\nafter blank ones\n");
    bytes.extend_from_slice(&vec![b'x'; 3 << 20]);
    bytes.extend_from_slice(b"\nlast\n");
    let mut sending = Sending::new("decky", epoch(1), bytes.clone());
    let why = sending.send(&master, &identity).await.unwrap();
    assert_eq!(why, Why::Finished);
    assert_eq!(sending.acked, bytes.len());
    assert!(master.stream("web-1", "decky", epoch(1)) == bytes);
    // Nothing is left to say, and nothing is repeated.
    let why = sending.send(&master, &identity).await.unwrap();
    assert_eq!(why, Why::Finished);
    sending.bytes.extend_from_slice(&lines(0, 10));
    sending.send(&master, &identity).await.unwrap();
    assert!(master.stream("web-1", "decky", epoch(1)) == sending.bytes);
    master.shows("epochs_opened_total", 1).await;
    let status = master.status().await.unwrap();
    let stream = &status["workers"]["web-1"]["streams"]["decky"];
    assert_eq!(stream["offset"], sending.bytes.len());
    assert_eq!(stream["epoch"], epoch(1).to_string());
    master.stop();
}
