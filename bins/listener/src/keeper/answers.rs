//! What acknowledged connections ask and write, in the order in which it comes.

use std::time::Instant;

use archive::{CommitError, Form, Handle, Origin, StreamKey};
use delivery::control::{Held, MAX_EPOCHS, Missing, Proof};
use delivery::receiver::{Opening, Standing};
use delivery::{Code, ConnectionId, EpochId, Hash, Offset, Print, RollCause};
use offsets::Fact;

use super::Keeper;
use super::links::Open;
use super::trouble::Chain;
use super::window::{Entry, What};
use crate::intake::{News, Room, Said};

impl Keeper {
    pub(super) async fn said(&mut self, id: ConnectionId, said: Said) {
        match said {
            Said::Claim(stream) => self.claim(id, &stream),
            Said::List => self.list(id).await,
            Said::Open(opening) => self.open(id, opening).await,
            Said::Prove { epoch, end, len } => self.prove(id, epoch, end, len).await,
            Said::Commit => {
                if let Some(link) = self.links.live(id) {
                    link.wants = true;
                    self.window.urgent = true;
                }
            }
            Said::Lines { from, bytes, room } => {
                let len = bytes.len() as u64;
                self.write(id, room, |_, open| {
                    if open.end != from {
                        return None;
                    }
                    let to = open.end.advance(len).ok()?;
                    open.end = to;
                    let to = Some(to);
                    Some(What::Bytes { bytes, len, to })
                });
            }
            Said::Gap { to, cause } => self.write(id, None, |key, open| {
                let from = std::mem::replace(&mut open.end, to);
                let key = key.clone();
                Some(What::Gap {
                    key,
                    from,
                    to,
                    cause,
                })
            }),
            Said::Roll { next, cause, lost } => {
                self.write(id, None, |key, open| {
                    Some(What::Roll {
                        key: key.clone(),
                        end: open.end,
                        next,
                        cause,
                        lost,
                    })
                });
                if cause == RollCause::Gone {
                    // Nobody holds the file any more, so that nothing can follow.
                    self.write(id, None, |_, _| Some(What::Seal));
                }
            }
            // Not here.
            Said::Enter { .. } | Said::Over => {}
        }
    }

    /// Takes a step of a connection into the window.
    fn write(
        &mut self,
        id: ConnectionId,
        room: Option<Room>,
        step: impl FnOnce(&StreamKey, &mut Open) -> Option<What>,
    ) {
        let Some(link) = self.links.live(id) else {
            return;
        };
        let (Some(key), Some(open)) = (&link.key, &mut link.open) else {
            return;
        };
        let Some(what) = step(key, open) else {
            tracing::error!(stream = %key, "a step does not fit the one before");
            return link.void();
        };
        let handle = Some(open.handle);
        link.pending += 1;
        self.window.push(Entry {
            handle,
            by: Some(id),
            what,
            room,
        });
        // While the bytes are hot, and while others are being read. What fails is told by settle.
        let _ = self.append();
    }

    fn claim(&mut self, id: ConnectionId, stream: &str) {
        let Some(link) = self.links.live(id) else {
            return;
        };
        let Ok(key) = StreamKey::new(link.worker.name(), stream) else {
            return link.refuse(Code::BadStream, "not a stream's name");
        };
        let now = Instant::now();
        let conflict = self.links.claim(id, key.clone(), now).unwrap_or(false);
        if !conflict {
            return;
        }
        self.metrics.conflicts.inc();
        if let Some(suppressed) = self.conflicts.allow(key.clone(), now) {
            tracing::error!(stream = %key, suppressed, "two hosts fight for one stream: one identity on both?");
            self.note(key, "conflict", None);
        }
    }

    fn note(&mut self, key: StreamKey, kind: &str, epoch: Option<EpochId>) {
        let fact = Fact {
            kind: kind.to_owned(),
            epoch: epoch.map(|epoch| epoch.to_string()),
            ..Fact::default()
        };
        self.window.push(Entry {
            handle: None,
            by: None,
            what: What::Note(key, fact),
            room: None,
        });
        let _ = self.append();
    }

    /// A connection said its last.
    pub(super) fn over(&mut self, id: ConnectionId) {
        self.links.over(id);
        self.release();
    }

    /// Gives streams on that became free.
    pub(super) fn release(&mut self) {
        for key in self.links.release() {
            self.metrics.takeovers.inc();
            tracing::info!(stream = %key, "a newer connection has taken over");
        }
    }

    async fn list(&mut self, id: ConnectionId) {
        let Some(key) = self.held_by(id) else { return };
        let found = self.archive.epochs(&key, MAX_EPOCHS).await;
        let Some(link) = self.links.live(id) else {
            return;
        };
        match found {
            Ok(held) => link.tell(News::Epochs(held.iter().map(told).collect())),
            Err(error) => {
                tracing::error!(stream = %key, %error, "epochs can't be looked up");
                link.void();
            }
        }
    }

    async fn prove(&mut self, id: ConnectionId, epoch: EpochId, end: Offset, len: u32) {
        let Some(key) = self.held_by(id) else { return };
        let found = self
            .archive
            .prove(&key, theirs(epoch), end.get(), len)
            .await;
        let Some(link) = self.links.live(id) else {
            return;
        };
        match found {
            Ok(proof) => link.tell(News::Proof(proved(proof))),
            Err(error) => {
                tracing::error!(stream = %key, %epoch, offset = end.get(), %error, "archived bytes can't be read");
                link.void();
            }
        }
    }

    /// The stream that a connection has.
    fn held_by(&mut self, id: ConnectionId) -> Option<StreamKey> {
        let link = self.links.live(id).filter(|link| link.holds)?;
        link.key.clone()
    }

    async fn open(&mut self, id: ConnectionId, opening: Opening) {
        let Some(key) = self.held_by(id) else { return };
        let mut counted = false;
        loop {
            let error = match self.try_open(id, &key, &opening, &mut counted).await {
                Ok(()) => return,
                Err(error) => error,
            };
            // What ends for all of them is waited for. The rest is this stream's own, and the others go on.
            let is_common =
                matches!(error, CommitError::Void) || error.is_full() || error.is_damage();
            if !is_common {
                return self.not_opened(id, &key, &error);
            }
            if !self.overcome(error).await {
                return;
            }
        }
    }

    /// An epoch can't be opened: its connection begins again, when its sender thinks fit.
    fn not_opened(&mut self, id: ConnectionId, key: &StreamKey, error: &CommitError) {
        if let Some(suppressed) = self.gaps.allow((key.clone(), "open"), Instant::now()) {
            let error = format!("{}", Chain(error));
            tracing::error!(stream = %key, error, suppressed, "an epoch can't be opened");
        }
        if let Some(link) = self.links.live(id) {
            link.void();
        }
    }

    async fn try_open(
        &mut self,
        id: ConnectionId,
        key: &StreamKey,
        opening: &Opening,
        counted: &mut bool,
    ) -> Result<(), CommitError> {
        let epoch = theirs(opening.epoch);
        let known = self.archive.known(key, epoch).await?;
        if !known && !*counted {
            *counted = true;
            if !self.links.admission.may_open(key.worker(), Instant::now()) {
                if let Some(link) = self.links.live(id) {
                    link.refuse(Code::Limit, "too many new epochs in an hour");
                }
                return Ok(());
            }
        }
        let origin = Origin {
            after: opening.after.map(theirs),
            of: opening.of.map(theirs),
        };
        let base = opening.base.get();
        let handle = self
            .archive
            .open_epoch(key, epoch, Form::Log, base, origin)
            .await?;
        self.hear();
        if !known {
            self.metrics.epochs_opened.inc();
        }
        let link = self.links.live(id);
        let (took_over, fights) = link.map_or((false, false), |link| {
            (std::mem::take(&mut link.took_over), link.fights)
        });
        if took_over {
            if !fights {
                self.note(key.clone(), "takeover", Some(opening.epoch));
            }
            self.window.push(Entry {
                handle: Some(handle),
                by: None,
                what: What::Close,
                room: None,
            });
            let _ = self.append();
        }
        // Where an epoch stands is asked when nothing of it is on the way.
        if took_over || self.window.has(handle) {
            self.settle().await;
        }
        self.opened(id, opening.epoch, handle);
        Ok(())
    }

    fn opened(&mut self, id: ConnectionId, epoch: EpochId, handle: Handle) {
        let stand = self.archive.stand(handle);
        let Some(link) = self.links.live(id) else {
            return;
        };
        let stand = match stand {
            Ok(stand) => stand,
            Err(error) => {
                tracing::error!(worker = link.worker.name(), %epoch, %error, "an epoch can't be asked where it stands");
                return link.void();
            }
        };
        let standing = Standing {
            offset: offset(stand.end),
            tail: print(&stand.tail),
            ledger: Hash::from_bytes(stand.ledger),
            in_line: stand.in_line,
            sealed: stand.sealed,
        };
        link.open = Some(Open {
            epoch,
            handle,
            end: standing.offset,
            ledger: standing.ledger,
        });
        link.tell(News::Standing(standing));
    }
}

/// An epoch as the archive names it.
pub(super) fn theirs(epoch: EpochId) -> archive::EpochId {
    archive::EpochId::from_bytes(*epoch.bytes())
}

fn told(held: &archive::Held) -> Held {
    Held {
        epoch: EpochId::from_bytes(held.epoch.bytes()),
        end: offset(held.end),
        head: print(&held.head),
        tail: print(&held.tail),
    }
}

fn proved(proof: archive::Proof) -> Proof {
    match proof {
        archive::Proof::Hash(hash) => Hash::from_bytes(hash).into(),
        archive::Proof::Missing(place) => {
            let missing = place.map(|place| Missing {
                from: offset(place.start),
                to: offset(place.end),
            });
            missing.into()
        }
    }
}

fn print(print: &archive::Print) -> Print {
    Print {
        end: offset(print.end),
        len: print.len,
        blake3: Hash::from_bytes(print.blake3),
    }
}

/// What an acknowledged connection wrote lies below the last position.
fn offset(at: u64) -> Offset {
    Offset::new(at).unwrap_or(Offset::MAX)
}
