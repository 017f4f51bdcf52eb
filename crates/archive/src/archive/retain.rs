//! Retention: closed segments go when they are too old or too many, and the ledger says so first.

use std::collections::HashMap;

use offsets::Fact;

use super::Archive;
use crate::api::{Retained, Retention};
use crate::entry::{Entry, LedgerMark};
use crate::epoch::{existing_dir, sync_above};
use crate::error::CommitError;
use crate::facts;
use crate::fault::Step;
use crate::index::SegmentRow;
use crate::name::{EpochId, StreamKey, packed_name, segment_name};

/// What a round works through.
struct Round<'a> {
    needed: &'a dyn Fn(&StreamKey, EpochId) -> Option<u64>,
    chosen: Vec<(SegmentRow, &'static str)>,
    done: Retained,
}

impl Round<'_> {
    /// Chooses a segment, unless somebody needs it; whether it was chosen.
    fn choose(&mut self, row: SegmentRow, why: &'static str) -> bool {
        if self
            .chosen
            .iter()
            .any(|(known, _)| known.number == row.number)
        {
            return false;
        }
        let needed = (self.needed)(&row.key, row.epoch);
        if needed.is_some_and(|from| from < row.base.saturating_add(row.len)) {
            self.done.needed += 1;
            return false;
        }
        self.chosen.push((row, why));
        true
    }

    fn is_full(&self) -> bool {
        self.chosen.len() >= REMOVED_AT_ONCE
    }
}

impl Archive {
    /// Removes closed segments that are over a limit, oldest first; a bounded number a call. `needed` gives the lowest
    /// offset of an epoch that somebody still has to read; none: nobody has. Call it when no window is open, else it
    /// does nothing.
    ///
    /// Each removal is in the ledger before the file goes, and in the index after it. What a crash leaves half-way is
    /// done again by the next call.
    ///
    /// # Errors
    /// [`CommitError`]; what was removed is removed, and the rest can be tried again.
    pub async fn retain(
        &mut self,
        limits: Retention,
        needed: &dyn Fn(&StreamKey, EpochId) -> Option<u64>,
    ) -> Result<Retained, CommitError> {
        let mut round = Round {
            needed,
            chosen: Vec::new(),
            done: Retained::default(),
        };
        if !self.window.is_empty() {
            round.done.more = true;
            return Ok(round.done);
        }
        if let Some(max_age) = limits.max_age {
            round.done.clock = self.trust.doubt(&self.options.clock, self.newest_ms);
            if round.done.clock.is_none() {
                let max_age = i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX);
                let before = self.options.clock.now_ms().saturating_sub(max_age);
                self.choose_aged(before, &mut round).await?;
            }
        }
        if let Some(max_bytes) = limits.max_bytes {
            self.choose_surplus(max_bytes, &mut round).await?;
        }
        round.done.more = round.is_full();
        self.remove(&mut round).await?;
        Ok(round.done)
    }

    async fn choose_aged(
        &mut self,
        before_ms: i64,
        round: &mut Round<'_>,
    ) -> Result<(), CommitError> {
        let rows = self
            .ask(async |index| index.aged(before_ms, LOOKED_AT).await)
            .await?;
        for row in rows {
            if round.is_full() {
                break;
            }
            round.choose(row, "age");
        }
        Ok(())
    }

    async fn choose_surplus(
        &mut self,
        max_bytes: u64,
        round: &mut Round<'_>,
    ) -> Result<(), CommitError> {
        let stored = self.ask(async |index| index.stored().await).await?;
        let mut open: HashMap<&str, u64> = HashMap::new();
        for epoch in self.epochs.values() {
            *open.entry(epoch.key.worker()).or_default() += epoch.open_bytes();
        }
        let chosen = |worker: &str, round: &Round<'_>| {
            let of_worker = round
                .chosen
                .iter()
                .filter(|(row, _)| row.key.worker() == worker);
            of_worker.map(|(row, _)| row.stored).sum::<u64>()
        };
        let over: Vec<(String, u64)> = stored
            .into_iter()
            .filter_map(|(worker, closed)| {
                let all = closed + open.get(worker.as_str()).copied().unwrap_or_default();
                let surplus = all
                    .saturating_sub(chosen(&worker, round))
                    .checked_sub(max_bytes)?;
                (surplus > 0).then_some((worker, surplus))
            })
            .collect();
        for (worker, mut surplus) in over {
            let rows = self
                .ask(async |index| index.oldest(&worker, LOOKED_AT).await)
                .await?;
            for row in rows {
                if surplus == 0 || round.is_full() {
                    break;
                }
                let bytes = row.stored;
                if round.choose(row, "bytes") {
                    surplus = surplus.saturating_sub(bytes);
                }
            }
        }
        Ok(())
    }

    /// Ledger, files, index, in this order.
    async fn remove(&mut self, round: &mut Round<'_>) -> Result<(), CommitError> {
        let chosen = std::mem::take(&mut round.chosen);
        let mut streams: Vec<(StreamKey, Vec<Fact>)> = Vec::new();
        for (row, why) in &chosen {
            let entry: Option<Entry> = self
                .ask(async |index| index.find(&row.key, row.epoch).await)
                .await?;
            let fact = facts::removed(row.epoch, row.base, row.len, why, entry.as_ref());
            match streams.iter_mut().find(|(key, _)| *key == row.key) {
                Some((_, facts)) => facts.push(fact),
                None => streams.push((row.key.clone(), vec![fact])),
            }
        }
        let now = self.options.clock.now();
        let mut ledgers: Vec<(StreamKey, LedgerMark)> = Vec::new();
        for (key, facts) in streams {
            let path = self.stream_path(&key);
            let io = |e| CommitError::Sync(path.clone(), e);
            self.options.fault.check(Step::Upkeep).map_err(io)?;
            sync_above(&self.root, &key).map_err(io)?;
            let mark = self.tell(&key, &facts, now)?;
            // Even if the index can't say so yet, the next window does not take it for a stranger's.
            self.streams.entry(key.clone()).or_default().ledger = mark;
            ledgers.push((key, mark));
        }
        for (row, _) in &chosen {
            self.options
                .fault
                .check(Step::Upkeep)
                .and_then(|()| self.unlink(row))
                .map_err(|e| CommitError::Sync(self.stream_path(&row.key), e))?;
            round.done.segments += 1;
            round.done.bytes += row.stored;
        }
        let numbers: Vec<i64> = chosen.iter().map(|(row, _)| row.number).collect();
        if !numbers.is_empty() {
            self.options
                .fault
                .check(Step::Upkeep)
                .map_err(|e| CommitError::Index(e.into()))?;
            self.index.forget(&numbers, &ledgers).await?;
        }
        Ok(())
    }

    /// Removes a segment's files.
    fn unlink(&mut self, row: &SegmentRow) -> std::io::Result<()> {
        if self.job.as_ref().is_some_and(|job| job.is_for(row)) {
            self.job = None;
        }
        let Some(dir) = existing_dir(&self.root, &row.key, row.epoch)? else {
            return Ok(());
        };
        let packed = packed_name(row.base, row.form);
        dir.remove_file(&format!("{packed}{}", super::compress::NEW))?;
        dir.remove_file(&segment_name(row.base, row.form))?;
        dir.remove_file(&packed)?;
        dir.sync()
    }
}

/// Most segments removed in one call.
const REMOVED_AT_ONCE: usize = 64;

/// Most segments looked at in one query: those that are still needed stand in front of the others.
const LOOKED_AT: u32 = 1024;
