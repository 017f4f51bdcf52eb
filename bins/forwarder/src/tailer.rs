//! A stream's follower on the blocking threads: reading and framing there, encrypting and sending here, so that one
//! batch is read while the one before is sent.

use std::time::Duration;

use anyhow::Context as _;
use delivery::{Control, Run};
use tail::{Follower, Now, Step, TailError};
use tokio::task::JoinHandle;

/// A follower that is here, or away reading.
#[derive(Debug)]
pub(crate) struct Tailer {
    home: Option<Box<Home>>,
    away: Option<JoinHandle<(Box<Home>, Batch)>>,
    /// Brought home while nobody waited for it.
    ready: Option<Batch>,
}

#[derive(Debug)]
struct Home {
    follower: Follower,
    bytes: Vec<u8>,
    blanks: Blanks,
}

/// What becomes of empty lines, which have no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blanks {
    /// They are left out: RFC 5425 has nothing for them.
    Dropped,
    /// They are told of by controls.
    Told,
}

/// What came next in the file.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The follower's word for it, or why it can't read now.
    pub(crate) step: Result<Step, TailError>,
    /// Its lines as frames.
    pub(crate) frames: Vec<u8>,
    /// How many.
    pub(crate) count: u64,
    /// Empty lines, which have no frame.
    pub(crate) blanks: u64,
}

impl Tailer {
    /// With the follower at home.
    pub(crate) fn new(follower: Follower) -> Self {
        let home = Home {
            follower,
            bytes: Vec::new(),
            blanks: Blanks::Dropped,
        };
        Self {
            home: Some(Box::new(home)),
            away: None,
            ready: None,
        }
    }

    /// Sends the follower for the next batch; `frames` is what it is put into. If it is away already, or has brought
    /// one that nobody took, nothing happens.
    pub(crate) fn start(&mut self, mut frames: Vec<u8>) {
        if self.ready.is_some() {
            return;
        }
        let Some(mut home) = self.home.take() else {
            return;
        };
        self.away = Some(tokio::task::spawn_blocking(move || {
            frames.clear();
            if frames.capacity() > LARGE {
                frames.shrink_to(0);
            }
            let step = home.follower.next(&mut home.bytes, Now::system());
            let (mut count, mut blanks) = (0, 0);
            match step {
                Ok(Step::Lines(_)) => {
                    (count, blanks) = encode(&home.bytes, home.blanks, &mut frames);
                }
                Ok(Step::Part(_) | Step::Tail(_)) => {
                    framing::encode(&home.bytes, &mut frames);
                    count = 1;
                }
                Ok(Step::Gap(_) | Step::Roll(_) | Step::Idle(_)) | Err(_) => {}
            }
            let batch = Batch {
                step,
                frames,
                count,
                blanks,
            };
            (home, batch)
        }));
    }

    /// Waits for the batch. Cancel safe.
    ///
    /// # Errors
    /// The reading thread panicked.
    pub(crate) async fn finish(&mut self) -> anyhow::Result<Batch> {
        self.come_home().await?;
        self.ready.take().context("the follower was not sent")
    }

    /// Whether the follower is here, with or without a batch.
    pub(crate) fn is_home(&self) -> bool {
        self.home.is_some()
    }

    /// Waits until the follower is home. Cancel safe.
    ///
    /// # Errors
    /// The reading thread panicked.
    pub(crate) async fn arrive(&mut self) -> anyhow::Result<()> {
        self.come_home().await
    }

    /// The batch that was brought, if any.
    pub(crate) fn take(&mut self) -> Option<Batch> {
        self.ready.take()
    }

    /// What is done with empty lines from now on; what was brought before is thrown away.
    ///
    /// # Errors
    /// The reading thread panicked.
    pub(crate) async fn frame(&mut self, blanks: Blanks) -> anyhow::Result<()> {
        self.recall().await?;
        if let Some(home) = &mut self.home {
            home.blanks = blanks;
        }
        Ok(())
    }

    /// Asks the follower for something that may have to look into files. Not cancel safe.
    ///
    /// # Errors
    /// The asking thread panicked.
    pub(crate) async fn with<R: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&mut Follower) -> R + Send + 'static,
    ) -> anyhow::Result<R> {
        self.come_home().await?;
        let mut home = self.home.take().context("the follower is away")?;
        let (home, answer) = tokio::task::spawn_blocking(move || {
            let answer = ask(&mut home.follower);
            (home, answer)
        })
        .await
        .context("ask a follower")?;
        self.home = Some(home);
        Ok(answer)
    }

    async fn come_home(&mut self) -> anyhow::Result<()> {
        if let Some(away) = &mut self.away {
            let (home, batch) = away.await.context("read a batch")?;
            self.away = None;
            self.home = Some(home);
            self.ready = Some(batch);
        }
        Ok(())
    }

    /// The follower, once it is home; what it brought is thrown away, which is right before a rewind only.
    ///
    /// # Errors
    /// The reading thread panicked.
    pub(crate) async fn recall(&mut self) -> anyhow::Result<&mut Follower> {
        self.come_home().await?;
        self.ready = None;
        self.here()
    }

    /// The follower, which must be at home.
    ///
    /// # Errors
    /// It is not.
    pub(crate) fn here(&mut self) -> anyhow::Result<&mut Follower> {
        let home = self.home.as_mut().context("the follower is away")?;
        Ok(&mut home.follower)
    }

    /// Looks whether the file was rotated, and holds on to what is there, while nothing is read. Not cancel safe.
    ///
    /// # Errors
    /// The looking thread panicked.
    pub(crate) async fn observe(&mut self) -> anyhow::Result<Option<TailError>> {
        self.with(|follower| follower.observe(Now::system()).err())
            .await
    }
}

/// Appends whole lines as frames; how many, and how many were empty.
fn encode(lines: &[u8], blanks: Blanks, frames: &mut Vec<u8>) -> (u64, u64) {
    let encoded = framing::encode_lines(lines, frames);
    let counts = (encoded.frames as u64, encoded.blanks as u64);
    if blanks == Blanks::Told && encoded.blanks > 0 {
        // Most batches have none, and were made in one go.
        frames.clear();
        for run in delivery::runs(lines) {
            match run {
                Run::Lines(range) => {
                    framing::encode_lines(&lines[range], frames);
                }
                Run::Blank(count) => {
                    let json = Control::Blank { count }
                        .encode()
                        .expect("a number is shorter than the longest control");
                    framing::encode_control(&json, frames);
                }
            }
        }
    }
    counts
}

/// A buffer that a long line made larger than this is not kept.
const LARGE: usize = 1 << 20;
/// How often a path is looked at while its stream is not connected.
pub(crate) const OBSERVE: Duration = Duration::from_secs(1);
