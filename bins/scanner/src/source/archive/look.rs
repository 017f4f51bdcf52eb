//! Looking at the index: new streams, new epochs, new ends.

use super::*;

impl ArchiveSource {
    /// Looks at what the index has to say, if it has changed or its time has come.
    pub(super) async fn look(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        let due = |last: Option<Instant>, every: Duration| {
            last.is_none_or(|at| now.saturating_duration_since(at) >= every)
        };
        if !self.ready.is_empty() && !due(self.looks.last, BUSY) {
            return Ok(());
        }
        self.looks.last = Some(now);
        if due(self.looks.rest, REST) {
            self.looks.rest = Some(now);
            self.queue_unended(now);
        }
        let all = due(self.looks.all, ALL);
        let changed = self.view.changed().await?;
        if !changed && !all && self.looks.streams.is_some() {
            return Ok(());
        }
        let newest = self.view.newest_ms().await?;
        // A clock that was set back hides what moved.
        let back = self.looks.newest_ms.is_none_or(|seen| newest < seen);
        let since = self.looks.newest_ms.filter(|_| !all && !back);
        let mut unknown = false;
        for found in self.view.moved(since).await? {
            unknown |= self.ends(found);
        }
        self.looks.newest_ms = Some(newest);
        if all {
            self.looks.all = Some(now);
        }
        if unknown || due(self.looks.streams, STREAMS) {
            self.look_at_streams().await?;
            self.looks.streams = Some(now);
        }
        Ok(())
    }

    /// Takes in where an epoch ends; whether it is not known yet.
    fn ends(&mut self, found: EpochView) -> bool {
        let Some(stream) = self.streams.get_mut(&found.key) else {
            return true;
        };
        let known = stream
            .mark
            .as_ref()
            .is_some_and(|mark| found.ordinal <= mark.ordinal);
        let follow = stream
            .follows
            .iter_mut()
            .find(|follow| follow.is(found.epoch));
        let Some(follow) = follow else {
            return !known;
        };
        let key = found.key.clone();
        if follow.seen(found) {
            self.queue(&key);
        }
        false
    }

    /// Looks for epochs of streams whose ledger has grown.
    async fn look_at_streams(&mut self) -> anyhow::Result<()> {
        for (key, ledger) in self.view.streams().await? {
            let known = self.streams.get(&key);
            if known.is_some_and(|stream| stream.ledger == ledger) {
                continue;
            }
            let new = known.is_none_or(|stream| stream.mark.is_none());
            self.streams.entry(key.clone()).or_default();
            self.look_at(&key, new).await?;
            if let Some(stream) = self.streams.get_mut(&key) {
                stream.ledger = if stream.more { 0 } else { ledger };
            }
            self.queue(&key);
        }
        if self.first.take().is_some() {
            self.marks.values.insert(BEGUN, b"1".to_vec());
        }
        Ok(())
    }

    async fn look_at(&mut self, key: &StreamKey, new: bool) -> anyhow::Result<()> {
        let at_end = new && self.first == Some(Start::End);
        let mark = self.find_mark(key).await?;
        let mut ordinal = mark.as_ref().map_or(i64::MIN, |mark| mark.ordinal);
        loop {
            let found = self.view.behind(key, ordinal, PAGE).await?;
            let whole = found.len() < PAGE as usize;
            for epoch in found {
                ordinal = epoch.ordinal;
                if !self.begin(key, epoch, at_end) {
                    return self.look_again(key).await;
                }
            }
            if whole {
                break;
            }
        }
        if let Some(stream) = self.streams.get_mut(key) {
            stream.more = false;
        }
        self.look_again(key).await
    }

    /// The newest known epoch of a stream, where the index has it now.
    async fn find_mark(&mut self, key: &StreamKey) -> anyhow::Result<Option<Watermark>> {
        let mark = self.streams.get(key).and_then(|stream| stream.mark.clone());
        let Some(mut mark) = mark else {
            return Ok(None);
        };
        let Ok(epoch) = archive::EpochId::parse(&mark.epoch) else {
            return Ok(Some(mark));
        };
        match self.view.find(key, epoch).await? {
            Some(found) if found.ordinal != mark.ordinal => {
                info!(stream = %key, "the archive's index was made anew");
                mark.ordinal = found.ordinal;
                self.set_mark(key, mark.clone());
            }
            Some(_) => {}
            None => {
                warn!(stream = %key, epoch = mark.epoch, "the newest epoch that was scanned is not in the archive")
            }
        }
        Ok(Some(mark))
    }

    fn set_mark(&mut self, key: &StreamKey, mark: Watermark) {
        let name = (key.worker().to_owned(), key.stream().to_owned());
        self.marks.watermarks.insert(name, mark.clone());
        if let Some(stream) = self.streams.get_mut(key) {
            stream.mark = Some(mark);
        }
    }

    /// Begins with an epoch; false: there is no room for it now.
    fn begin(&mut self, key: &StreamKey, found: EpochView, at_end: bool) -> bool {
        let Some(stream) = self.streams.get_mut(key) else {
            return false;
        };
        if stream.follows.len() >= MAX_FOLLOWS {
            stream.more = true;
            return false;
        }
        let mark = Watermark {
            ordinal: found.ordinal,
            epoch: found.epoch.to_string(),
        };
        let known = stream.follows.iter().any(|follow| follow.is(found.epoch));
        // A first start at the end is done with what will not grow.
        let passed = at_end && found.sealed;
        if !known && !passed {
            let follow = Follow::new(&self.data, key, found, at_end);
            self.marks
                .places
                .insert(follow.key(key), Some(follow.place()));
            stream.follows.push(follow);
        }
        self.set_mark(key, mark);
        true
    }

    /// Looks again at the epochs of a stream that are followed: one may be sealed.
    async fn look_again(&mut self, key: &StreamKey) -> anyhow::Result<()> {
        let followed = self.streams.get(key).map(|stream| &stream.follows);
        let epochs: Vec<_> = followed.into_iter().flatten().map(Follow::epoch).collect();
        for epoch in epochs {
            if let Some(found) = self.view.find(key, epoch).await? {
                self.ends(found);
            }
        }
        Ok(())
    }

    /// Lines without an end, of files that nobody writes to any more, are taken as they are after a while.
    fn queue_unended(&mut self, now: Instant) {
        let mut due = Vec::new();
        for (key, stream) in &mut self.streams {
            for follow in &mut stream.follows {
                if follow.rests(now) {
                    due.push(key.clone());
                }
            }
        }
        for key in due {
            self.queue(&key);
        }
    }
}

/// Epochs of one stream that are followed at a time; with more of them the newest wait.
pub(super) const MAX_FOLLOWS: usize = 64;

/// Epochs that are asked for at once.
const PAGE: u32 = 256;

/// How often all epochs that may grow are looked at, should the clock have hidden one.
const ALL: Duration = Duration::from_secs(5);

/// How often the index is looked at while there is something to read: a master commits no faster.
const BUSY: Duration = Duration::from_millis(50);

/// How often new epochs are looked for.
const STREAMS: Duration = Duration::from_millis(500);

/// How often unended lines are looked at.
const REST: Duration = Duration::from_secs(1);
