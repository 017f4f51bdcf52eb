//! A forwarder in a test: the real sender over real TLS, with a file in memory.

use std::io;
use std::time::Instant;

use delivery::control::Beat;
use delivery::sender::{Action, Sender, SenderLimits, Source, Step, Why};
use delivery::{ArchiveId, Control, EpochId, GapCause, Hash, Offset, Run, runs};
use framing::{Decoder, Frame};
use pki::Identity;
use rustix::process::{Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::link::at;
use crate::support::Master;

/// One stream of a worker.
pub(crate) struct Sending {
    pub(crate) stream: String,
    pub(crate) epoch: EpochId,
    /// The file.
    pub(crate) bytes: Vec<u8>,
    /// What is durable.
    pub(crate) acked: usize,
    pub(crate) archive: Option<ArchiveId>,
    /// Positions from which bytes up to others never come.
    pub(crate) gaps: Vec<(usize, usize)>,
    /// The listener is killed, once, when more than this is durable.
    pub(crate) kill_at: Option<usize>,
}

impl Sending {
    pub(crate) fn new(stream: &str, epoch: EpochId, bytes: Vec<u8>) -> Sending {
        Sending {
            stream: stream.to_owned(),
            epoch,
            bytes,
            acked: 0,
            archive: None,
            gaps: Vec::new(),
            kill_at: None,
        }
    }

    /// Connects and sends until everything is acknowledged, or the connection ends otherwise.
    pub(crate) async fn send(&mut self, master: &Master, identity: &Identity) -> io::Result<Why> {
        let client = master.offer(identity, &[pki::ALPN_ACKNOWLEDGED]).await?;
        let (mut read, mut write) = tokio::io::split(client.0);
        let source = Source {
            stream: self.stream.clone(),
            epoch: Some(self.epoch),
            after: None,
            from: Offset::ZERO,
            size: at(self.bytes.len()),
            acked: Vec::new(),
            of: None,
            base: None,
            common: Offset::ZERO,
        };
        let now = Instant::now();
        let mut sender = Sender::new(SenderLimits::default(), "test/0", source, now);
        let mut buf = Vec::new();
        let mut last = (0..0, false);
        loop {
            let mut out = Vec::new();
            while let Some(action) = sender.poll_action() {
                match action {
                    Action::Control(control) => put(&control, &mut out),
                    Action::Beat => {
                        let beat = Beat {
                            backlog_bytes: (self.bytes.len() - self.acked) as u64,
                            oldest_ms: 0,
                            clock_ms: 0,
                        };
                        put(&Control::Beat(beat), &mut out);
                    }
                    Action::LineStart { .. } | Action::Adopt(_) => {
                        panic!("not in these tests: {action:?}")
                    }
                    Action::Read {
                        from,
                        max,
                        max_line,
                        ..
                    } => {
                        let (step, range) =
                            self.step(from.get() as usize, max as usize, max_line as usize);
                        last = (range, matches!(step, Step::Piece { .. }));
                        if step == Step::Idle && self.acked >= self.bytes.len() {
                            sender.handle_stop();
                        }
                        sender.handle_step(step, Instant::now()).unwrap();
                        if step == Step::Idle {
                            sender.handle_stop();
                        }
                    }
                    Action::Data { .. } => self.data(&last, &mut out),
                    Action::Hash { from, to, .. } => {
                        let bytes = &self.bytes[from.get() as usize..to.get() as usize];
                        sender.handle_hash(Some(Hash::of(bytes)), Instant::now());
                    }
                    Action::Confirm {
                        offset, archive, ..
                    } => {
                        assert!(offset.get() as usize >= self.acked, "{offset} was promised");
                        self.acked = offset.get() as usize;
                        self.archive = Some(archive);
                        if self.kill_at.take_if(|at| self.acked > *at).is_some() {
                            kill_process(master.pid(), Signal::KILL).unwrap();
                        }
                    }
                    Action::End(outcome) => {
                        let _ = write.shutdown().await;
                        return Ok(outcome.why);
                    }
                }
                if out.len() > 1 << 16 {
                    break;
                }
            }
            if !out.is_empty() {
                write.write_all(&out).await?;
                write.flush().await?;
                let ready =
                    tokio::time::timeout(std::time::Duration::ZERO, read.read_buf(&mut buf));
                if let Ok(read) = ready.await {
                    taken(read?, &mut sender, &mut buf);
                }
            } else {
                let wait = sender.poll_timeout().unwrap_or_else(Instant::now);
                tokio::select! {
                    read = read.read_buf(&mut buf) => taken(read?, &mut sender, &mut buf),
                    () = tokio::time::sleep_until(wait.into()) => sender.handle_timeout(Instant::now()),
                }
            }
        }
    }

    fn step(&self, from: usize, max: usize, max_line: usize) -> (Step, std::ops::Range<usize>) {
        if let Some((_, to)) = self.gaps.iter().find(|(gap, _)| *gap == from) {
            let (to, cause) = (at(*to), GapCause::LagCap);
            return (Step::Gap { to, cause }, 0..0);
        }
        let end = self
            .gaps
            .iter()
            .map(|(gap, _)| *gap)
            .find(|gap| *gap > from);
        let rest = &self.bytes[from..end.unwrap_or(self.bytes.len())];
        let Some(line) = rest.iter().position(|b| *b == b'\n') else {
            return (Step::Idle, 0..0);
        };
        if line > max_line {
            let to = from + max_line;
            return (Step::Piece { to: at(to) }, from..to);
        }
        let mut len = line + 1;
        for line in rest[len..].split_inclusive(|b| *b == b'\n') {
            if len + line.len() > max || line.len() > max_line + 1 || !line.ends_with(b"\n") {
                break;
            }
            len += line.len();
        }
        (Step::Lines { to: at(from + len) }, from..from + len)
    }

    fn data(&self, (range, piece): &(std::ops::Range<usize>, bool), out: &mut Vec<u8>) {
        let bytes = &self.bytes[range.clone()];
        if *piece {
            return framing::encode(bytes, out);
        }
        for run in runs(bytes) {
            match run {
                Run::Lines(range) => {
                    framing::encode_lines(&bytes[range], out);
                }
                Run::Blank(count) => put(&Control::Blank { count }, out),
            }
        }
    }
}

fn put(control: &Control, out: &mut Vec<u8>) {
    framing::encode_control(&control.encode().unwrap(), out);
}

fn taken(read: usize, sender: &mut Sender, buf: &mut Vec<u8>) {
    if read == 0 {
        return sender.handle_closed();
    }
    let decoder = Decoder::new(1).with_controls();
    while let Some((frame, used)) = decoder.decode(buf).unwrap() {
        match frame {
            Frame::Control(json) => sender.handle_control(json, Instant::now()),
            Frame::Message(_) => sender.handle_garbage(),
        }
        buf.drain(..used);
    }
}
