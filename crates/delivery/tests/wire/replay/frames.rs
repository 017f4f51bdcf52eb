//! Bytes on the wire, and how the page shows them.

use delivery::{Control, Run, runs};
use framing::{Decoder, Frame};

pub(super) fn data((bytes, piece): &(Vec<u8>, bool), wire: &mut Vec<u8>) {
    if *piece {
        return framing::encode(bytes, wire);
    }
    for run in runs(bytes) {
        match run {
            Run::Lines(range) => {
                framing::encode_lines(&bytes[range], wire);
            }
            Run::Blank(count) => {
                let json = Control::Blank { count }.encode().expect("short");
                framing::encode_control(&json, wire);
            }
        }
    }
}

/// Whole frames: whether it is a control, and what is in it.
pub(super) fn frames(wire: &mut Vec<u8>) -> Vec<(bool, Vec<u8>)> {
    let decoder = Decoder::new(1 << 20).with_controls();
    let (mut found, mut done) = (Vec::new(), 0);
    while let Some((frame, used)) = decoder.decode(&wire[done..]).expect("frames") {
        found.push(match frame {
            Frame::Control(json) => (true, json.to_vec()),
            Frame::Message(message) => (false, message.to_vec()),
        });
        done += used;
    }
    wire.drain(..done);
    found
}

/// Writes frames as the page does: one a line, as they stand on the wire.
pub(super) fn tell(arrow: char, wire: &[u8], said: &mut Vec<String>) {
    let decoder = Decoder::new(1 << 20).with_controls();
    let mut done = 0;
    while let Some((_, used)) = decoder.decode(&wire[done..]).expect("frames") {
        let frame = std::str::from_utf8(&wire[done..done + used]).expect("text");
        said.push(format!("{arrow} {frame}"));
        done += used;
    }
}
