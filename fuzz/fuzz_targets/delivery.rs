//! Any octets as what the peer of either end of the delivery protocol sends.
#![no_main]

#[path = "../../crates/delivery/tests/replay/play.rs"]
mod play;

libfuzzer_sys::fuzz_target!(|data: &[u8]| play::play(data, std::time::Instant::now()));
