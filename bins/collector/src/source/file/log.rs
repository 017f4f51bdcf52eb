//! The log of one container: the files of its rotation, one decoder over them, and where it stands.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use docker_demux::{JsonFile, Lines, Options, Stream};

use super::{
    input::{Fill, Input, LogFile},
    resume::{self, Start},
    rotation,
};
use crate::source::{Cause, Container, Cursor, Gap, Place, taken};

/// Files of one container kept open at once: what Docker removes meanwhile can still be read.
const HELD_FILES: usize = 16;

/// What a step gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Octets were read; there may be lines, and more to read.
    Read,
    /// Nothing to read now.
    Idle,
    /// Everything was read, and the last line has no end: it is over if the container does not run now.
    Within,
    /// The container has ended and everything was read.
    End,
}

/// What is known of the output of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// There may be more.
    Open,
    /// The container has stopped.
    Ended,
    /// The container did not run after the log had been read up to this position of the decoder.
    Over(u64),
    /// The container ran then, so what has begun may go on.
    Resumed,
}

/// The log of one container.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) container: Arc<Container>,
    path: PathBuf,
    decoder: JsonFile,
    /// From old to new; those before `current` are read and still needed for the place.
    files: VecDeque<Member>,
    current: usize,
    cursor: Cursor,
    /// The decoder's position that the cursor's place stands for.
    placed: Option<u64>,
    gaps: Vec<Gap>,
    /// Stamp of the last line that was read.
    last_ns: Option<i64>,
    corrupt: u64,
    pub(super) output: Output,
}

/// One file in the chain.
#[derive(Debug)]
struct Member {
    input: Input,
    /// The decoder's position at which it begins, and the file's offset there.
    from: (u64, u64),
    /// Why lines are missing before it.
    gap: Option<Cause>,
}

impl Log {
    /// Opens the log of a container where the cursor stands.
    pub(super) fn open(container: Arc<Container>, cursor: Option<Cursor>) -> io::Result<Self> {
        let path = log_path(&container)?.to_path_buf();
        let cursor = cursor.unwrap_or_default();
        let options = Options {
            tty: container.tty,
            local: false,
        };
        let mut files = rotation::newer_than(&path, None)?.files;
        files.reverse();
        let Start {
            skip,
            offset,
            ahead,
            open,
            lost,
        } = resume::find(&files, &cursor, options)?;
        let mut log = Self {
            container,
            path,
            decoder: JsonFile::resume(options, ahead, open),
            files: VecDeque::new(),
            current: 0,
            last_ns: cursor
                .stdout
                .iter()
                .chain(&cursor.stderr)
                .map(|taken| taken.stamp)
                .max(),
            cursor,
            placed: None,
            gaps: Vec::new(),
            corrupt: 0,
            output: Output::Open,
        };
        files.drain(..skip);
        let mut files = files.into_iter();
        if let Some(first) = files.next() {
            log.files.push_back(Member {
                input: Input::new(first, offset)?,
                from: (0, offset),
                gap: None,
            });
        }
        if lost {
            log.lose(Cause::RotatedAway);
        }
        log.hold(files, None)?;
        Ok(log)
    }

    /// Pins what Docker rotated meanwhile, so that it can't be removed before it is read. True if there was any.
    pub(super) fn follow(&mut self) -> io::Result<bool> {
        let Some(newest) = self.files.back() else {
            return Ok(false);
        };
        if self.files.len() - self.current >= HELD_FILES {
            return Ok(false);
        }
        match rotation::identity(&self.path)? {
            Some((device, inode)) if newest.input.file.is(device, inode) => return Ok(false),
            // Between two steps of a rotation, or the container was removed.
            None => return Ok(false),
            Some(_) => {}
        }
        let newest = &newest.input.file;
        let found = match rotation::newer_than(&self.path, Some(newest)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            found => found?,
        };
        let mut files = found.files;
        let mut gap = None;
        if !found.met {
            // Compressed, it is another file with the same content.
            let mut same = None;
            for (at, file) in files.iter().enumerate() {
                if file.holds(newest).unwrap_or(false) {
                    same = Some(at);
                    break;
                }
            }
            match same {
                Some(at) => files.truncate(at),
                None => gap = Some(Cause::RotatedAway),
            }
        }
        files.reverse();
        self.hold(files.into_iter(), gap)?;
        Ok(true)
    }

    /// Whether there may be something to read. Cheap.
    pub(super) fn stirs(&mut self) -> io::Result<bool> {
        if self.current + 1 < self.files.len()
            || self.output != Output::Open
            || !self.gaps.is_empty()
            || self.follow()?
        {
            return Ok(true);
        }
        self.files
            .get(self.current)
            .map_or(Ok(false), |member| member.input.stirs())
    }

    /// Reads on, at most one chunk.
    pub(super) fn step(&mut self, shared: &mut Vec<u8>, lines: &mut Lines) -> io::Result<Step> {
        let mut long = false;
        loop {
            // Asked before the read: what a file gives after it was rotated is all it will ever give.
            let rotated = self.current + 1 < self.files.len();
            let Some(member) = self.files.get_mut(self.current) else {
                return Ok(Step::Idle);
            };
            if let Some(cause) = member.gap {
                // The rest of a long line may be what is missing; what there is of it comes before the gap.
                self.decoder.finish(lines);
                if !lines.is_empty() {
                    return Ok(Step::Read);
                }
                member.gap = None;
                self.lose(cause);
                continue;
            }
            let rest = match member.input.fill(shared, long)? {
                Fill::Rewritten => {
                    self.rewritten()?;
                    continue;
                }
                Fill::Octets(octets) => {
                    let consumed = self.decoder.push(octets, lines);
                    let rest = octets.len() - consumed;
                    member.input.consume(shared, consumed);
                    if consumed > 0 {
                        return Ok(Step::Read);
                    }
                    rest
                }
            };
            if rest >= super::input::CHUNK && !long {
                long = true;
            } else if rotated {
                self.next(rest);
            } else if !self.follow()? {
                return Ok(self.halt(lines));
            }
        }
    }

    /// What it means that there is no more to read.
    fn halt(&mut self, lines: &mut Lines) -> Step {
        let within = Stream::ALL.iter().any(|stream| self.decoder.holds(*stream));
        match self.output {
            Output::Open => Step::Idle,
            // The container has output again; of a line that has begun, the cursor stays before the beginning.
            Output::Resumed => Step::End,
            Output::Over(at) if at == self.position() => {
                self.decoder.finish(lines);
                Step::End
            }
            Output::Ended | Output::Over(_) if within => Step::Within,
            Output::Ended | Output::Over(_) => Step::End,
        }
    }

    /// How far the log was read.
    pub(super) fn position(&self) -> u64 {
        self.decoder.position()
    }

    /// Takes what a batch needs besides its lines: the cursor behind them, the gaps before them, the entries skipped.
    pub(super) fn account(&mut self, lines: &Lines) -> io::Result<(Cursor, Vec<Gap>, u64)> {
        taken::advance(&mut self.cursor, lines);
        self.cursor.held = Stream::ALL.map(|stream| self.decoder.holds(stream));
        self.place()?;
        for gap in &mut self.gaps {
            gap.to_ns = lines.index.first().map(|line| line.time_ns);
        }
        self.last_ns = lines.index.last().map(|line| line.time_ns).or(self.last_ns);
        let corrupt = self.decoder.corrupt() - self.corrupt;
        self.corrupt = self.decoder.corrupt();
        Ok((self.cursor.clone(), std::mem::take(&mut self.gaps), corrupt))
    }

    /// Whether a batch is due although it has no lines.
    pub(super) fn has_news(&self) -> bool {
        !self.gaps.is_empty() || self.decoder.corrupt() > self.corrupt
    }

    /// Goes on to the next file. What is left of this one is a torn entry.
    fn next(&mut self, rest: usize) {
        self.decoder.abandon(rest);
        let member = &mut self.files[self.current];
        member.input.offset += rest as u64;
        let broken = member.input.broken();
        self.current += 1;
        let position = self.decoder.position();
        let next = &mut self.files[self.current];
        next.from = (position, next.input.offset);
        if broken {
            next.gap = Some(Cause::Unreadable);
        }
    }

    /// The file was cut to nothing and written anew: Docker's way with `max-file=1`.
    fn rewritten(&mut self) -> io::Result<()> {
        self.decoder.abandon(0);
        if self.current + 1 < self.files.len() {
            self.next(0);
        } else if let Some(member) = self.files.get_mut(self.current) {
            member.input = Input::new(member.input.file.clone(), 0)?;
            member.from = (self.decoder.position(), 0);
        }
        self.files[self.current].gap = Some(Cause::RotatedAway);
        Ok(())
    }

    fn lose(&mut self, cause: Cause) {
        self.gaps.push(Gap {
            stream: None,
            from_ns: self.last_ns,
            to_ns: None,
            bytes: None,
            lines: None,
            cause,
        });
    }

    /// Adds files to the chain, from old to new, as far as there is room.
    fn hold(
        &mut self,
        files: impl Iterator<Item = LogFile>,
        mut gap: Option<Cause>,
    ) -> io::Result<()> {
        let room = HELD_FILES
            .saturating_sub(self.files.len() - self.current)
            .max(1);
        for file in files.take(room) {
            self.files.push_back(Member {
                input: Input::new(file, 0)?,
                from: (0, 0),
                gap: gap.take(),
            });
        }
        Ok(())
    }

    /// Brings the cursor's place up to where the decoder would have to begin.
    fn place(&mut self) -> io::Result<()> {
        let progress = self.decoder.progress();
        // At a boundary the older file counts: the start of a file tells nothing of the file.
        let end = |member: &Member| member.from.0 + (member.input.offset - member.from.1);
        while self.current > 0 && end(&self.files[0]) < progress.place {
            self.files.pop_front();
            self.current -= 1;
        }
        if let (Some(place), true) = (&mut self.cursor.place, self.placed == Some(progress.place)) {
            place.ahead = progress.ahead;
            return Ok(());
        }
        self.cursor.place = None;
        self.placed = Some(progress.place);
        let Some(member) = self.files.front() else {
            return Ok(());
        };
        let offset = member.from.1 + (progress.place - member.from.0);
        if offset > 0
            && let Some(hash) = member.input.fingerprint(offset)?
        {
            self.cursor.place = Some(Place {
                inode: member.input.file.inode,
                offset,
                hash,
                ahead: progress.ahead,
            });
        }
        Ok(())
    }
}

/// Gives the path of a log that this reader understands.
pub(super) fn log_path(container: &Container) -> io::Result<&Path> {
    if container.log_driver != "json-file" {
        let message = format!(
            "log driver {} keeps no files that can be read",
            container.log_driver
        );
        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
    }
    match &container.log_path {
        Some(path) if !path.as_os_str().is_empty() => Ok(path),
        _ => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "docker names no log file",
        )),
    }
}
