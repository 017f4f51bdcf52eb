//! A real socket whose peer does not read.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::*;

fn queue(socket: &TcpStream, v6: bool) -> Option<u64> {
    let inode = rustix::fs::fstat(socket).unwrap().st_ino;
    unacknowledged(inode, v6).unwrap()
}

fn check(addr: &str, v6: bool) {
    let Ok(listener) = TcpListener::bind(addr) else {
        assert!(v6, "no IPv4 on this host");
        return;
    };
    let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    assert_eq!(queue(&near, v6), Some(0));

    near.set_nonblocking(true).unwrap();
    let mut written = 0;
    while let Ok(more) = near.write(&[7; 65536]) {
        written += more;
    }
    let waiting = queue(&near, v6).unwrap();
    assert!(
        waiting > 0 && waiting < written as u64,
        "{waiting} of {written}"
    );

    let mut bytes = vec![0; written];
    far.read_exact(&mut bytes).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while queue(&near, v6) != Some(0) {
        assert!(Instant::now() < deadline, "never acknowledged");
        std::thread::yield_now();
    }
}

#[test]
fn tells_what_the_peer_has_not_taken() {
    check("127.0.0.1:0", false);
    check("[::1]:0", true);
}

#[test]
fn reads_the_columns() {
    let line = "   2: 0100007F:1F90 0100007F:D3E0 01 0000AB10:00000003 01:00000014 00000000  1000        0 48213 2 0000";
    assert_eq!(parse(line), Some((48213, 0xAB10)));
    assert_eq!(
        parse(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
        ),
        None
    );
    assert_eq!(parse(""), None);
}

#[test]
fn an_unknown_inode_is_nothing() {
    assert_eq!(unacknowledged(u64::MAX, false).unwrap(), None);
}
