//! Reading without TLS: one wake takes all that is there, and no more than it may.

use std::future::poll_fn;
use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, BufReader};

use super::*;

async fn fill<IO: AsyncBufRead + Unpin>(
    io: &mut IO,
    buf: &mut BytesMut,
    most: usize,
) -> io::Result<usize> {
    poll_fn(|cx| poll_fill(Pin::new(&mut *io), cx, buf, most)).await
}

#[tokio::test]
async fn takes_all_that_is_there_up_to_the_chunk() {
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let mut near = BufReader::with_capacity(100, near);
    far.write_all(&[b'x'; 1000]).await.unwrap();
    let mut buf = BytesMut::new();
    assert_eq!(fill(&mut near, &mut buf, 700).await.unwrap(), 700);
    assert_eq!(fill(&mut near, &mut buf, 700).await.unwrap(), 300);
    far.write_all(b"y").await.unwrap();
    drop(far);
    assert_eq!(
        fill(&mut near, &mut buf, 700).await.unwrap(),
        1,
        "what was sent comes before the end"
    );
    assert_eq!(fill(&mut near, &mut buf, 700).await.unwrap(), 0);
    assert_eq!(buf.len(), 1001);
}

#[tokio::test]
async fn a_read_that_is_given_up_loses_nothing() {
    let (near, mut far) = tokio::io::duplex(100);
    let mut near = BufReader::new(near);
    let mut buf = BytesMut::new();
    for n in 0..50u8 {
        let given_up = tokio::time::timeout(Duration::ZERO, fill(&mut near, &mut buf, 10)).await;
        assert!(given_up.is_err());
        far.write_all(&[n]).await.unwrap();
        assert_eq!(fill(&mut near, &mut buf, 10).await.unwrap(), 1);
    }
    assert_eq!(buf, (0..50).collect::<Vec<u8>>());
}

#[test]
fn few_octets_do_not_hold_on_to_a_chunk() {
    let mut buf = BytesMut::with_capacity(1000);
    buf.extend_from_slice(&[b'x'; 700]);
    let few = split(&mut buf, 1000, 450, 400);
    assert_eq!(&few[..], [b'x'; 400]);
    assert_eq!(buf.len(), 250);
    assert!(buf.try_reclaim(700), "nobody else has the chunk");

    buf.resize(900, b'y');
    let many = split(&mut buf, 1000, 890, 880);
    assert_eq!(many.len(), 880);
    assert_eq!(&buf[..], [b'y'; 10]);
    assert!(!buf.try_reclaim(990), "the chunk is still in use");
}
