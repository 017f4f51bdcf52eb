//! What is sent on an acknowledged connection.

use delivery::{EpochId, Offset};

pub(crate) fn epoch(n: u8) -> EpochId {
    EpochId::from_bytes([n; 16])
}

pub(crate) fn at(n: usize) -> Offset {
    Offset::new(n as u64).unwrap()
}
