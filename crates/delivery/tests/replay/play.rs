//! Both ends against any bytes: a driver that does what is asked of it, and looks whether it is told nonsense. Shared
//! by the fuzz target.

use std::time::Instant;

use delivery::receiver::{self, Receiver, ReceiverLimits, Standing};
use delivery::sender::{self, Adopted, Sender, SenderLimits, Source, Step};
use delivery::{ArchiveId, EpochId, Hash, Offset, Print, RollCause};
use framing::{Decoder, Frame};

/// The first byte says which end, the second how its driver is inclined; the rest is what its peer sends.
pub(crate) fn play(data: &[u8], now: Instant) {
    if let [end, bent, wire @ ..] = data {
        if end % 2 == 0 {
            listener(*bent, wire, now);
        } else {
            forwarder(*bent, wire, now);
        }
    }
}

fn frames(mut wire: &[u8], mut each: impl FnMut(Frame<'_>)) {
    let decoder = Decoder::new(1 << 20).with_controls();
    while let Ok(Some((frame, used))) = decoder.decode(wire) {
        each(frame);
        wire = &wire[used..];
    }
}

/// A receiver that is told to commit now and then. What it acknowledges was told to be committed, what it takes is in
/// order, and nothing comes behind the end.
fn listener(bent: u8, wire: &[u8], now: Instant) {
    let mut receiver = Receiver::new(ReceiverLimits::default(), ARCHIVE, now);
    let (mut told, mut over) = (Vec::new(), false);
    frames(wire, |frame| {
        let before = receiver.position();
        match frame {
            Frame::Control(json) => receiver.handle_control(json, now),
            Frame::Message(message) => {
                if let Some(append) = receiver.handle_data(1, message.len() as u64) {
                    assert_eq!(before, Some((append.epoch, append.from)), "in order");
                    assert_eq!(receiver.position(), Some((append.epoch, append.to)));
                    assert!(!over, "data behind the end");
                }
            }
        }
        if bent & 1 > 0
            && let Some((epoch, offset)) = receiver.position()
        {
            receiver.handle_committed(epoch, offset, Hash::of(b""));
            told.push((epoch, offset));
        }
        if bent & 2 > 0 {
            receiver.handle_superseded();
        }
        while let Some(action) = receiver.poll_action() {
            assert!(!over, "{action:?} behind the end");
            match action {
                receiver::Action::Claim { .. } => receiver.handle_claimed(),
                receiver::Action::List => receiver.handle_epochs(Vec::new()),
                receiver::Action::Open(opening) => {
                    let at = opening.base;
                    told.push((opening.epoch, at));
                    receiver.handle_standing(Standing {
                        offset: at,
                        tail: Print::of(at, b""),
                        ledger: Hash::of(b""),
                        in_line: bent & 4 > 0,
                        sealed: bent & 8 > 0,
                    });
                }
                receiver::Action::Prove { end, len, .. } => {
                    assert!(u64::from(len) <= end.get(), "below the first byte");
                    receiver.handle_proof(None.into());
                }
                receiver::Action::Control(delivery::Control::Ack(ack)) => {
                    assert!(
                        told.contains(&(ack.epoch, ack.offset)),
                        "acknowledged untold"
                    );
                }
                receiver::Action::Close(_) => over = true,
                _ => {}
            }
        }
    });
}

/// A sender with a file of 10,000 bytes. It asks for nothing outside the file, confirms nothing that it did not send
/// or was told to be held, and is silent behind the end.
fn forwarder(bent: u8, wire: &[u8], now: Instant) {
    let source = Source {
        stream: "fuzz".to_owned(),
        epoch: (bent & 1 == 0).then_some(FIRST),
        after: None,
        from: Offset::ZERO,
        size: SIZE,
        acked: Vec::new(),
        of: None,
        base: None,
        common: Offset::ZERO,
    };
    let mut sender = Sender::new(SenderLimits::default(), "fuzz", source.clone(), now);
    let mut over = false;
    frames(wire, |frame| {
        match frame {
            Frame::Control(json) => sender.handle_control(json, now),
            Frame::Message(_) => sender.handle_garbage(),
        }
        let mut reads = 0;
        while let Some(action) = sender.poll_action() {
            assert!(!over, "{action:?} behind the end");
            match action {
                sender::Action::Read { from, max_line, .. } => {
                    reads += 1;
                    let left = SIZE.since(from).min(u64::from(max_line));
                    let step = match from.advance(left) {
                        Ok(to) if left > 0 && reads < 4 => Step::Lines { to },
                        _ if bent & 2 > 0 => roll(),
                        _ => Step::Idle,
                    };
                    sender.handle_step(step, now).expect("it was asked for");
                }
                sender::Action::Hash { from, to, .. } => {
                    assert!(
                        from <= to && to <= SIZE,
                        "{from}..{to} is no part of the file"
                    );
                    sender.handle_hash((bent & 4 == 0).then(|| Hash::of(b"")), now);
                }
                sender::Action::LineStart { at, .. } => {
                    assert!(at <= SIZE);
                    sender.handle_line_start(Some(at));
                }
                sender::Action::Adopt(adopted) => {
                    let epoch = match adopted {
                        Adopted::Epoch(epoch) => epoch,
                        _ => FIRST,
                    };
                    let source = Source {
                        epoch: Some(epoch),
                        ..source.clone()
                    };
                    sender.handle_source(source, now).expect("it was adopted");
                }
                sender::Action::End(_) => over = true,
                _ => {}
            }
        }
    });
}

fn roll() -> Step {
    Step::Roll {
        next: SECOND,
        from: Offset::ZERO,
        size: SIZE,
        of: None,
        base: None,
        cause: RollCause::Rotated,
        lost: None,
    }
}

const ARCHIVE: ArchiveId = ArchiveId::from_bytes([0xaa; 16]);
const FIRST: EpochId = EpochId::from_bytes([0xe1; 16]);
const SECOND: EpochId = EpochId::from_bytes([0xe2; 16]);
const SIZE: Offset = match Offset::new(10_000) {
    Ok(size) => size,
    Err(_) => Offset::ZERO,
};
