//! Compression of closed segments, a few pieces a call.
//!
//! A segment is compressed into a file beside it, synced, read back and compared with the hash that was ledgered when
//! it was closed, given its name, and only then the plain one goes. Whatever a crash leaves, each byte is in a file
//! that is whole: readers take the plain one as long as it is there, and the next call begins the segment anew.

use std::fs::File;
use std::io::{self, Write as _};

use super::Archive;
use crate::api::Compression;
use crate::dir::Dir;
use crate::epoch::existing_dir;
use crate::error::CommitError;
use crate::fault::{Fault, Step};
use crate::index::{Packing, SegmentRow};
use crate::name::{packed_name, segment_name};
use crate::pack::{Packed, Packer};
use crate::pieces::{PIECE, Pieces};
use crate::segment::{Segment, existing};

/// A segment that is being compressed.
pub(super) struct Job {
    row: SegmentRow,
    dir: Dir,
    plain: Segment,
    file: File,
    at: u64,
    state: State,
}

enum State {
    Packing(Packer),
    /// It is written and synced; so much of it was read back.
    Checking(Box<(Packed, Pieces)>),
}

/// What a step of a job came to.
enum Outcome {
    Goes,
    Packed(u64),
    /// The plain segment, or what was made of it, is not what was closed.
    Differs,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("row", &self.row)
            .finish_non_exhaustive()
    }
}

impl Archive {
    /// Compresses closed segments, oldest first; reads about `budget` bytes a call, at least a mebibyte.
    ///
    /// # Errors
    /// [`CommitError`], also when the compressed segment might take room from the reserve; nothing is lost, and it can
    /// be tried again.
    pub async fn compress_next(&mut self, budget: u64) -> Result<Compression, CommitError> {
        if self.job.is_none() {
            let row = self.ask(async |index| index.plain().await).await?;
            let Some(row) = row else {
                return Ok(Compression::Idle);
            };
            let path = self.stream_path(&row.key);
            let io = |e| CommitError::Sync(path.clone(), e);
            match Job::begin(&self.root, row.clone(), &self.options.fault).map_err(io)? {
                Begin::Job(job) => self.job = Some(job),
                Begin::Packed(stored) => return self.packed(&row, stored).await,
                Begin::Gone => {
                    // Retention has still to say so in the index, or it is damage, which `verify` finds.
                    let packing = Packing::LeftAlone;
                    self.index.packed(row.number, row.stored, packing).await?;
                    return Ok(Compression::Working);
                }
            }
        }
        let Some(mut job) = self.job.take() else {
            return Ok(Compression::Idle);
        };
        let path = self.stream_path(&job.row.key);
        let room = match job.still_to_write() {
            0 => Ok(()),
            bytes => self.has_room(bytes),
        };
        let worked = room.and_then(|()| job.work(budget.max(PIECE), &self.options.fault));
        let outcome = worked.map_err(|e| {
            // The next try begins anew: till then this takes room from what is appended. That it can't be removed
            // either says less than why it has to be.
            let _ = job.remove_new();
            CommitError::Sync(path, e)
        })?;
        match outcome {
            Outcome::Goes => {
                self.job = Some(job);
                Ok(Compression::Working)
            }
            Outcome::Packed(stored) => self.packed(&job.row, stored).await,
            Outcome::Differs => {
                job.remove_new()
                    .map_err(|e| CommitError::Sync(self.stream_path(&job.row.key), e))?;
                self.left_alone(&job.row).await
            }
        }
    }

    async fn packed(&mut self, row: &SegmentRow, stored: u64) -> Result<Compression, CommitError> {
        self.index.packed(row.number, stored, Packing::Done).await?;
        Ok(Compression::Done {
            key: row.key.clone(),
            bytes: row.len,
            stored,
        })
    }

    async fn left_alone(&mut self, row: &SegmentRow) -> Result<Compression, CommitError> {
        self.index
            .packed(row.number, row.stored, Packing::LeftAlone)
            .await?;
        let segment = self
            .stream_path(&row.key)
            .join(row.epoch.to_string())
            .join(segment_name(row.base, row.form));
        Ok(Compression::Damaged {
            key: row.key.clone(),
            segment,
        })
    }
}

enum Begin {
    Job(Box<Job>),
    /// A crash came between the end of the plain file and the index.
    Packed(u64),
    /// There is neither.
    Gone,
}

impl Job {
    fn begin(root: &Dir, row: SegmentRow, fault: &Fault) -> io::Result<Begin> {
        let Some(dir) = existing_dir(root, &row.key, row.epoch)? else {
            return Ok(Begin::Gone);
        };
        let packed = packed_name(row.base, row.form);
        let plain = existing(dir.open_file(&segment_name(row.base, row.form), false))?;
        let Some(plain) = plain else {
            return Ok(match existing(dir.open_file(&packed, false))? {
                Some(file) => Begin::Packed(file.metadata()?.len()),
                None => Begin::Gone,
            });
        };
        fault.check(Step::Upkeep)?;
        let new = format!("{packed}{NEW}");
        dir.remove_file(&new)?;
        let file = dir.create_file(&new)?;
        Ok(Begin::Job(Box::new(Job {
            row,
            dir,
            plain: Segment::Plain(plain),
            file,
            at: 0,
            state: State::Packing(Packer::new()?),
        })))
    }

    pub(super) fn is_for(&self, row: &SegmentRow) -> bool {
        self.row.number == row.number
    }

    fn new_name(&self) -> String {
        format!("{}{NEW}", packed_name(self.row.base, self.row.form))
    }

    /// At most so many bytes are still to be written: what can't be compressed takes as much as before. Reading back
    /// needs no room, and gives the plain segment's back.
    fn still_to_write(&self) -> u64 {
        match self.state {
            State::Packing(_) => self.row.len - self.at,
            State::Checking(_) => 0,
        }
    }

    fn remove_new(&self) -> io::Result<()> {
        self.dir.remove_file(&self.new_name())
    }

    fn work(&mut self, budget: u64, fault: &Fault) -> io::Result<Outcome> {
        let until = self.at.saturating_add(budget).min(self.row.len);
        match &mut self.state {
            State::Packing(packer) => {
                while self.at < until {
                    let mut piece = vec![0; (self.row.len - self.at).min(PIECE) as usize];
                    match self.plain.read_exact_at(&mut piece, self.at) {
                        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                            return Ok(Outcome::Differs);
                        }
                        other => other?,
                    }
                    self.file.write_all(&packer.frame(&piece)?)?;
                    self.at += piece.len() as u64;
                }
                if self.at == self.row.len {
                    self.written(fault)?;
                }
                Ok(Outcome::Goes)
            }
            State::Checking(checking) => {
                let (packed, pieces) = &mut **checking;
                let mut buf = vec![0; PIECE as usize];
                while self.at < until {
                    let n = packed.read_at(&mut buf, self.at)?;
                    if n == 0 {
                        return Ok(Outcome::Differs);
                    }
                    pieces.update(&buf[..n]);
                    self.at += n as u64;
                }
                if self.at < self.row.len {
                    return Ok(Outcome::Goes);
                }
                if packed.len() != self.row.len || pieces.finish().hash != self.row.hash {
                    return Ok(Outcome::Differs);
                }
                self.replace(fault)
            }
        }
    }

    /// Everything is packed: syncs it, and goes on with reading it back.
    fn written(&mut self, fault: &Fault) -> io::Result<()> {
        let done = State::Packing(Packer::new()?);
        if let State::Packing(packer) = std::mem::replace(&mut self.state, done) {
            self.file.write_all(&packer.finish()?)?;
        }
        fault.check(Step::Upkeep)?;
        self.file.sync_all()?;
        // Read through another descriptor, so that it is what the name stands for.
        let packed = Packed::open(self.dir.open_file(&self.new_name(), false)?)?;
        self.state = State::Checking(Box::new((packed, Pieces::default())));
        self.at = 0;
        Ok(())
    }

    fn replace(&mut self, fault: &Fault) -> io::Result<Outcome> {
        let packed = packed_name(self.row.base, self.row.form);
        fault.check(Step::Upkeep)?;
        self.dir.rename(&self.new_name(), &packed)?;
        fault.check(Step::Upkeep)?;
        self.dir.sync()?;
        fault.check(Step::Upkeep)?;
        self.dir
            .remove_file(&segment_name(self.row.base, self.row.form))?;
        fault.check(Step::Upkeep)?;
        self.dir.sync()?;
        Ok(Outcome::Packed(self.file.metadata()?.len()))
    }
}

/// The suffix of a compressed segment that is not whole yet.
pub(super) const NEW: &str = ".new";
