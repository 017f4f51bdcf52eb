//! The multiplexed stream and the raw one: no input may panic.
#![no_main]

use docker_demux::{Frames, Lines, Options, Tty};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let options = Options { tty: true, local: input.first().is_some_and(|octet| octet % 2 == 1) };
    let (mut frames, mut tty, mut lines) = (Frames::with_limit(options, 1 << 20), Tty::new(options), Lines::default());
    let _ = input.chunks(97).try_for_each(|chunk| frames.push(chunk, &mut lines));
    let _ = frames.finish(&mut lines);
    input.chunks(97).for_each(|chunk| tty.push(chunk, &mut lines));
    tty.finish(&mut lines);
    assert!(lines.iter().all(|(line, octets)| octets.len() == line.end - line.start));
});
