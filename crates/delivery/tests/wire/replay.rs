//! A worker and a listener in one thread, as small as can be: what an example of the page sets up is played, and what
//! both ends say is written as the page writes it.

use std::collections::BTreeMap;
use std::time::Instant;

use delivery::control::{Beat, Held};
use delivery::receiver::{self, Receiver, ReceiverLimits, Standing};
use delivery::sender::{self, Adopted, Sender, SenderLimits, Source, Step};
use delivery::{ArchiveId, Control, EpochId, GapCause, Hash, Offset, Print, RollCause};

mod frames;

use frames::{data, frames, tell};

/// The lines of an example: `*` sets something up, `→` and `←` are frames.
pub(crate) fn replay(example: &[String]) -> Vec<String> {
    let mut stage = Stage::default();
    let mut said = Vec::new();
    for line in example {
        if let Some(order) = line.strip_prefix("* ") {
            said.push(line.clone());
            stage.order(order);
            if order.starts_with("connect") {
                stage.play(&mut said);
            }
        }
    }
    said
}

#[derive(Default)]
struct Stage {
    /// The worker's files, and what the archive holds, by epoch.
    files: BTreeMap<String, Vec<u8>>,
    held: BTreeMap<String, Vec<u8>>,
    /// Which epoch the worker begins with (none: its state is lost), which file it means, and which comes after it.
    epoch: Option<String>,
    file: String,
    next: Option<String>,
    branch: Option<(String, u64)>,
    skip: Option<u64>,
    max_frame: Option<u32>,
    sealed: bool,
    drain: Option<u64>,
    superseded: bool,
    beat: bool,
}

impl Stage {
    fn order(&mut self, order: &str) {
        let (words, text) = order.split_once(": ").unwrap_or((order, ""));
        let bytes = text.replace("\\n", "\n").into_bytes();
        let words: Vec<&str> = words.split(' ').collect();
        match words[..] {
            ["file", name] => {
                self.files.insert(name.to_owned(), bytes);
            }
            ["archive", name] => {
                self.held.insert(name.to_owned(), bytes);
            }
            ["max_frame", n] => self.max_frame = n.parse().ok(),
            ["skip", "to", n] => self.skip = n.parse().ok(),
            ["drain", n] => self.drain = n.parse().ok(),
            ["sealed"] => self.sealed = true,
            ["superseded"] => self.superseded = true,
            ["beat"] => self.beat = true,
            ["connect", name] => self.begin(Some(name), name),
            ["connect", name, "then", next] => {
                self.begin(Some(name), name);
                self.next = Some(next.to_owned());
            }
            ["connect", name, "of", of, "at", base] => {
                self.begin(Some(name), name);
                self.branch = Some((of.to_owned(), base.parse().expect("a number")));
            }
            ["connect", "without", "state", name] => self.begin(None, name),
            _ => panic!("what is {order:?}?"),
        }
    }

    fn begin(&mut self, epoch: Option<&str>, file: &str) {
        self.epoch = epoch.map(str::to_owned);
        file.clone_into(&mut self.file);
    }

    fn play(&mut self, said: &mut Vec<String>) {
        let mut play = Play::new(self);
        while play.forwarder(self, said) | play.listener(self, said) {}
        if !play.over {
            play.commit(self);
        }
        while play.forwarder(self, said) | play.listener(self, said) {}
        if !play.over {
            play.sender.handle_stop();
            play.forwarder(self, said);
        }
        self.epoch = None;
    }

    /// Where an epoch stands in the archive.
    fn standing(&self, name: &str, base: u64) -> Standing {
        let known = self.held.get(name);
        let len = known.map_or(base, |bytes| bytes.len() as u64);
        let tail = known.map_or(&[][..], |bytes| &bytes[bytes.len().saturating_sub(4096)..]);
        Standing {
            offset: at(len),
            tail: Print::of(at(len), tail),
            ledger: LEDGER,
            in_line: false,
            sealed: self.sealed,
        }
    }
}

struct Play {
    sender: Sender,
    receiver: Receiver,
    now: Instant,
    /// The bytes of the last step, and whether they are a piece.
    batch: (Vec<u8>, bool),
    up: Vec<u8>,
    down: Vec<u8>,
    over: bool,
    closed: bool,
    committed: bool,
}

impl Play {
    fn new(stage: &Stage) -> Self {
        let now = Instant::now();
        let branch = stage.branch.as_ref();
        let source = Source {
            stream: "decky".to_owned(),
            epoch: stage.epoch.as_deref().map(epoch),
            after: None,
            from: Offset::ZERO,
            size: at(stage.files[&stage.file].len() as u64),
            acked: Vec::new(),
            of: branch.map(|(of, _)| epoch(of)),
            base: branch.map(|(_, base)| at(*base)),
            common: Offset::ZERO,
        };
        let limits = ReceiverLimits {
            max_frame: stage.max_frame.unwrap_or(1 << 20),
            ..ReceiverLimits::default()
        };
        let mut play = Self {
            sender: Sender::new(SenderLimits::default(), "logferry/1.0", source, now),
            receiver: Receiver::new(limits, ARCHIVE, now),
            now,
            batch: (Vec::new(), false),
            up: Vec::new(),
            down: Vec::new(),
            over: false,
            closed: false,
            committed: false,
        };
        if stage.beat {
            play.now += SenderLimits::default().beat;
            play.sender.handle_timeout(play.now);
        }
        play
    }

    /// What the worker does; whether it did anything.
    fn forwarder(&mut self, stage: &mut Stage, said: &mut Vec<String>) -> bool {
        let before = said.len() + usize::from(self.over);
        let mut arrived = std::mem::take(&mut self.down);
        for frame in frames(&mut arrived) {
            if let (true, json) = frame {
                self.sender.handle_control(&json, self.now);
            }
        }
        if self.closed {
            self.sender.handle_closed();
        }
        while let Some(action) = self.sender.poll_action() {
            self.act(stage, action, said);
        }
        said.len() + usize::from(self.over) != before
    }

    fn act(&mut self, stage: &mut Stage, action: sender::Action, said: &mut Vec<String>) {
        use sender::Action;
        let mut wire = Vec::new();
        match action {
            Action::Control(control) => {
                framing::encode_control(&control.encode().expect("short"), &mut wire);
            }
            Action::Beat => {
                let beat = Beat {
                    backlog_bytes: 0,
                    oldest_ms: 0,
                    clock_ms: 1_795_000_000_000,
                };
                let json = Control::Beat(beat).encode().expect("short");
                framing::encode_control(&json, &mut wire);
            }
            Action::Data { .. } => data(&self.batch, &mut wire),
            Action::Read {
                epoch,
                from,
                max_line,
                ..
            } => {
                let step = self.step(stage, &name(epoch), from.get(), max_line as usize);
                self.sender.handle_step(step, self.now).expect("a step");
            }
            Action::Hash { epoch, from, to } => {
                let file = epoch.map_or(stage.file.clone(), name);
                let bytes = stage.files[&file].get(from.get() as usize..to.get() as usize);
                self.sender.handle_hash(bytes.map(Hash::of), self.now);
            }
            Action::LineStart { at: place, .. } => {
                let bytes = &stage.files[&stage.file][..place.get() as usize];
                let start = bytes
                    .iter()
                    .rposition(|b| *b == b'\n')
                    .map_or(0, |lf| lf + 1);
                self.sender.handle_line_start(Some(at(start as u64)));
            }
            Action::Adopt(Adopted::Epoch(found)) => {
                let source = Source {
                    stream: "decky".to_owned(),
                    epoch: Some(found),
                    after: None,
                    from: Offset::ZERO,
                    size: at(stage.files[&stage.file].len() as u64),
                    acked: Vec::new(),
                    of: None,
                    base: None,
                    common: Offset::ZERO,
                };
                // The file has its name again.
                let bytes = stage.files[&stage.file].clone();
                stage.files.insert(name(found), bytes);
                self.sender
                    .handle_source(source, self.now)
                    .expect("adopted");
            }
            Action::Adopt(_) => {
                said.push("→ closes: branch".to_owned());
                self.over = true;
            }
            Action::End(outcome) => {
                let why = format!("{:?}", outcome.why);
                let word: String = why.chars().take_while(|c| c.is_alphabetic()).collect();
                said.push(format!("→ closes: {}", word.to_lowercase()));
                self.over = true;
            }
            Action::Confirm { .. } => {}
        }
        tell('→', &wire, said);
        self.up.extend(wire);
    }

    fn step(&mut self, stage: &mut Stage, name: &str, from: u64, max_line: usize) -> Step {
        if let Some(to) = stage.skip.take_if(|to| *to > from) {
            let cause = GapCause::LagCap;
            return Step::Gap { to: at(to), cause };
        }
        let rest = &stage.files[name][from as usize..];
        let line = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let last = stage.next.as_ref().filter(|next| *next != name);
        let (len, piece) = match rest.iter().rposition(|b| *b == b'\n') {
            _ if line > max_line => (max_line, true),
            Some(lf) => (lf + 1, false),
            None if last.is_some() && !rest.is_empty() => (rest.len(), true),
            None => (0, false),
        };
        if len > 0 {
            self.batch = (rest[..len].to_vec(), piece);
            let to = at(from + len as u64);
            return if piece {
                Step::Piece { to }
            } else {
                Step::Lines { to }
            };
        }
        let Some(next) = last else {
            return Step::Idle;
        };
        Step::Roll {
            next: epoch(next),
            from: Offset::ZERO,
            size: at(stage.files[next].len() as u64),
            of: None,
            base: None,
            cause: RollCause::Rotated,
            lost: None,
        }
    }

    /// What the listener does; whether it did anything.
    fn listener(&mut self, stage: &mut Stage, said: &mut Vec<String>) -> bool {
        let before = said.len();
        let mut arrived = std::mem::take(&mut self.up);
        for (is_control, bytes) in frames(&mut arrived) {
            if is_control {
                self.receiver.handle_control(&bytes, self.now);
            } else {
                self.receiver.handle_data(1, bytes.len() as u64);
            }
            self.drain(stage, said);
        }
        if let Some((_, end)) = self.receiver.position().filter(|_| !self.committed) {
            if let Some(after_ms) = stage.drain.take_if(|_| end > Offset::ZERO) {
                self.receiver.handle_drain(after_ms);
            }
            if end > Offset::ZERO && std::mem::take(&mut stage.superseded) {
                self.receiver.handle_superseded();
            }
        }
        self.drain(stage, said);
        said.len() != before
    }

    fn drain(&mut self, stage: &mut Stage, said: &mut Vec<String>) {
        use receiver::Action;
        while let Some(action) = self.receiver.poll_action() {
            match action {
                Action::Control(control) => {
                    let mut wire = Vec::new();
                    framing::encode_control(&control.encode().expect("short"), &mut wire);
                    tell('←', &wire, said);
                    self.down.extend(wire);
                }
                Action::Claim { .. } => self.receiver.handle_claimed(),
                Action::List => {
                    let held = stage.held.iter().map(|(name, bytes)| Held {
                        epoch: epoch(name),
                        end: at(bytes.len() as u64),
                        head: print(bytes, bytes.len().min(4096), bytes.len().min(4096)),
                        tail: print(bytes, bytes.len(), bytes.len().min(4096)),
                    });
                    self.receiver.handle_epochs(held.collect());
                }
                Action::Open(opening) => {
                    let standing = stage.standing(&name(opening.epoch), opening.base.get());
                    self.receiver.handle_standing(standing);
                }
                Action::Prove { epoch, end, len } => {
                    let bytes = &stage.held[&name(epoch)];
                    let proof = print(bytes, end.get() as usize, len as usize);
                    self.receiver.handle_proof(proof.blake3.into());
                }
                Action::Commit => self.commit(stage),
                Action::Close(why) => {
                    let why = format!("{why:?}");
                    let word: String = why.chars().take_while(|c| c.is_alphabetic()).collect();
                    said.push(format!("← closes: {}", word.to_lowercase()));
                    self.closed = true;
                }
                _ => {}
            }
        }
    }

    fn commit(&mut self, _: &Stage) {
        if let Some((epoch, offset)) = self.receiver.position() {
            self.receiver.handle_committed(epoch, offset, LEDGER);
            self.committed = true;
        }
    }
}

const ARCHIVE: ArchiveId = ArchiveId::from_bytes([0xaa; 16]);
const LEDGER: Hash = Hash::from_bytes([0x1e; 32]);

/// An epoch of the page has two digits, sixteen times.
fn epoch(name: &str) -> EpochId {
    name.repeat(16).parse().expect("two hex digits")
}

fn name(epoch: EpochId) -> String {
    epoch.to_string()[..2].to_owned()
}

fn at(n: u64) -> Offset {
    Offset::new(n).expect("short")
}

fn print(bytes: &[u8], end: usize, len: usize) -> Print {
    Print::of(at(end as u64), &bytes[end - len..end])
}
