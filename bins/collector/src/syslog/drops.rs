//! What the kernel dropped of a UDP socket because its buffer was full: the last column of `/proc/net/udp`.
//!
//! (SO_RXQ_OVFL tells the same with the next message only, which may never come.)

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd as _,
};

use tracing::warn;

/// The counter of one socket.
#[derive(Debug)]
pub(super) struct Drops {
    table: &'static str,
    inode: u64,
    seen: u32,
    /// Said once that it can't be read.
    said: bool,
}

impl Drops {
    /// The counter of `socket`, from its beginning.
    pub(super) fn of(socket: &UdpSocket) -> Drops {
        let six = socket.local_addr().is_ok_and(|at: SocketAddr| at.is_ipv6());
        Drops {
            table: if six { TABLE_6 } else { TABLE_4 },
            inode: rustix::fs::fstat(socket.as_fd()).map_or(0, |stat| stat.st_ino),
            seen: 0,
            said: false,
        }
    }

    /// How many datagrams were dropped since the last call.
    pub(super) fn since_last(&mut self) -> u64 {
        let dropped = fs::read_to_string(self.table)
            .ok()
            .and_then(|table| dropped(&table, self.inode));
        let Some(dropped) = dropped else {
            if !std::mem::replace(&mut self.said, true) {
                warn!(
                    path = self.table,
                    "can't read what the kernel drops of syslog over UDP"
                );
            }
            return 0;
        };
        let new = dropped.wrapping_sub(self.seen);
        self.seen = dropped;
        u64::from(new)
    }
}

/// The drops of the socket with this inode, by a table of the form of `/proc/net/udp`.
fn dropped(table: &str, inode: u64) -> Option<u32> {
    let inode = inode.to_string();
    let mut rows = table.lines().map(str::split_ascii_whitespace);
    let mut row = rows.find(|row| row.clone().nth(INODE) == Some(&inode))?;
    // Kernels differ in the sign they print.
    let drops: i64 = row.nth(DROPS)?.parse().ok()?;
    Some(drops as u32)
}

const TABLE_4: &str = "/proc/self/net/udp";
const TABLE_6: &str = "/proc/self/net/udp6";
const INODE: usize = 9;
const DROPS: usize = 12;

#[cfg(test)]
mod tests;
