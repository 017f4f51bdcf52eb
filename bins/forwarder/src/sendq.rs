//! How much of what we wrote the peer's TCP has not acknowledged.
//!
//! The kernel tells by an ioctl (SIOCOUTQ) or by TCP_INFO, for neither of which there is a safe wrapper; it also writes
//! it into `/proc/self/net/tcp`, column `tx_queue`, which any process may read. Sockets are told apart by inode.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};

/// Bytes in the send queue of the socket with this inode; nothing if it is not listed (any more).
///
/// # Errors
/// `/proc` can't be read.
pub(crate) fn unacknowledged(inode: u64, v6: bool) -> io::Result<Option<u64>> {
    let file = File::open(if v6 {
        "/proc/self/net/tcp6"
    } else {
        "/proc/self/net/tcp"
    })?;
    let mut lines = BufReader::with_capacity(64 << 10, file);
    let mut line = String::new();
    while {
        line.clear();
        lines.read_line(&mut line)? > 0
    } {
        if let Some((found, queue)) = parse(&line)
            && found == inode
        {
            return Ok(Some(queue));
        }
    }
    Ok(None)
}

/// Inode and send queue of a line (proc(5): `sl local remote st tx:rx tr:when retrnsmt uid timeout inode …`).
fn parse(line: &str) -> Option<(u64, u64)> {
    let mut columns = line.split_ascii_whitespace();
    let queues = columns.nth(4)?;
    let inode = columns.nth(4)?.parse().ok()?;
    let queue = u64::from_str_radix(queues.split(':').next()?, 16).ok()?;
    Some((inode, queue))
}

#[cfg(test)]
mod tests;
