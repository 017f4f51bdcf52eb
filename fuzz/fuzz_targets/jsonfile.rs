//! The json-file driver's entries: no input may panic, and a decoder that goes on gives what was left.
#![no_main]

use docker_demux::{JsonFile, Lines, Options};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let options = Options { tty: false, local: false };
    let (mut whole, mut all, mut parts) = (JsonFile::new(options), Lines::default(), Lines::default());
    whole.push(input, &mut all);
    let mut first = JsonFile::new(options);
    first.push(&input[..input.len() / 2], &mut parts);
    let at = first.progress();
    JsonFile::resume(options, at.ahead, at.open).push(&input[at.place as usize..], &mut parts);
    assert!(all.iter().map(|(_, octets)| octets).eq(parts.iter().map(|(_, octets)| octets)));
});
