//! A world in one thread: a worker's disk and forwarder, two masters' disks and listeners, and the network between
//! them, under a virtual clock and a seed. Everything that can fail does.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::OnceLock;

mod checks;
mod forwarder;
mod listener;
mod net;
mod source;
mod store;
mod tests;
mod worker;
mod world;

/// Chance from a seed (splitmix64): the same everywhere, whatever other crates do.
#[derive(Debug, Clone)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 … `n` − 1.
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// Once in `n`.
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn id(&mut self) -> [u8; 16] {
        let (a, b) = (self.next(), self.next());
        let mut id = [0; 16];
        id[..8].copy_from_slice(&a.to_le_bytes());
        id[8..].copy_from_slice(&b.to_le_bytes());
        id
    }
}

/// With `DELIVERY_TRACE=1` a run tells what happens: for the replay of a seed.
#[expect(clippy::print_stderr, reason = "asked for by whoever replays a seed")]
fn trace(what: impl FnOnce() -> String) {
    static ON: OnceLock<bool> = OnceLock::new();
    if *ON.get_or_init(|| std::env::var_os("DELIVERY_TRACE").is_some()) {
        eprintln!("{}", what());
    }
}

thread_local! {
    static TALLY: RefCell<BTreeMap<&'static str, u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// Something that a run is meant to meet came about: a fault that never does is a defect of the simulator.
fn met(what: &'static str) {
    trace(|| format!("met: {what}"));
    TALLY.with_borrow_mut(|tally| *tally.entry(what).or_insert(0) += 1);
}

/// What was met in this thread, and how often.
fn tally() -> BTreeMap<&'static str, u64> {
    TALLY.with_borrow(BTreeMap::clone)
}

/// What every part of a run shares: the lengths are small, so that every border is met.
const MAX_FRAME: u32 = 48;
const PROOF: usize = 24;
const WINDOW: usize = 300;
const BATCH: u64 = 120;
const MARK: u64 = 160;
/// What stands where bytes are missing; no line has it.
const HOLE: u8 = 0xff;
