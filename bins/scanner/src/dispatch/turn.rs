//! One turn of the dispatcher's loop: write down what was done, take in what is new, send what is due.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rules::Severity;
use tokio::task::JoinSet;
use webhook::Resolver;

use super::flood::{Flood, Pace, Place};
use super::lane::{Head, Lane, settle, url_mark};
use super::queue::{Entry, Health, Verdict, Waiting};
use super::sender::{Parcel, Sender};
use super::{Dispatcher, IDLE, Landed, now_ms};
use crate::store::Stored;
use crate::trigger::Trigger;

impl<R: Resolver + 'static> Dispatcher<R> {
    /// Does what can be done now; gives how long there is nothing more to do.
    pub(super) async fn turn(&mut self, flights: &mut JoinSet<Landed>) -> anyhow::Result<Duration> {
        self.write_down().await.context("write down attempts")?;
        let now = Instant::now();
        let look = self
            .looked
            .is_none_or(|at| now.saturating_duration_since(at) >= IDLE);
        let mut more = false;
        if look || self.stale {
            self.renew().await.context("read the queue")?;
            more = self.take_in().await.context("take in events")?;
            self.tidy().await.context("tidy up the queue")?;
            self.looked = (!more).then_some(now);
        }
        let wait = self.start(flights).await.context("read the queue")?;
        Ok(if more { Duration::ZERO } else { wait })
    }

    /// Writes the attempts down that were made.
    pub(super) async fn write_down(&mut self) -> anyhow::Result<()> {
        while let Some(landed) = self.landed.front() {
            let Some(lane) = self.lanes.get(&landed.trigger) else {
                self.landed.pop_front();
                continue;
            };
            let (trigger, sent) = (landed.trigger.clone(), &landed.sent);
            let unit = rand::random();
            let (waiting, now) = (&landed.waiting, now_ms());
            let mut settled = settle(waiting, sent, &lane.health, &self.schedule, now, unit);
            if landed.url_mark != lane.health.url_mark {
                // It says nothing of the receiver that the trigger has now.
                settled.health = lane.health.clone();
                if settled.attempt.verdict == Verdict::Dead {
                    settled.attempt.verdict = Verdict::Again(now);
                }
            }
            let attempt = &settled.attempt;
            let given_up = self
                .queue
                .finish(&trigger, attempt, &settled.health)
                .await?;
            self.metrics
                .attempt(&trigger, sent.outcome, sent.elapsed.as_secs_f64());
            let elapsed_ms = sent.elapsed.as_millis() as u64;
            tracing::debug!(
                trigger,
                status = sent.status,
                elapsed_ms,
                error = attempt.error,
                "attempt"
            );
            if attempt.verdict == Verdict::Dead
                && let Some(left_out) = self.seldom.allow(trigger.clone(), Instant::now())
            {
                let (id, error) = (attempt.id, &attempt.error);
                tracing::warn!(trigger, id, error, left_out, "webhook given up");
            }
            let dead = given_up + u64::from(attempt.verdict == Verdict::Dead);
            self.metrics.dead(&trigger, dead);
            if let Some(lane) = self.lanes.get_mut(&trigger) {
                if let Some(reason) = &settled.health.disabled
                    && lane.health.disabled.is_none()
                {
                    tracing::error!(trigger, reason, given_up, "trigger disabled");
                }
                lane.health = settled.health;
                lane.flying = None;
                lane.head = Head::Unknown;
                let done = given_up + u64::from(!matches!(attempt.verdict, Verdict::Again(_)));
                lane.waiting = lane.waiting.saturating_sub(done);
            }
            self.landed.pop_front();
        }
        Ok(())
    }

    /// Makes lanes for new triggers, forgets those of old ones, and sees what other processes wrote.
    async fn renew(&mut self) -> anyhow::Result<()> {
        let version = Some(self.queue.version().await?);
        if !self.stale && version == self.version {
            return Ok(());
        }
        let triggers = Arc::clone(&self.triggers);
        for trigger in &triggers.rows {
            self.renew_lane(trigger).await?;
        }
        let gone = |name: &String| triggers.find(name).is_none();
        let names: Vec<String> = self
            .lanes
            .keys()
            .filter(|name| gone(name))
            .cloned()
            .collect();
        for name in names {
            // One that is being sent comes back first.
            if self
                .lanes
                .get(&name)
                .is_some_and(|lane| lane.flying.is_none())
            {
                self.lanes.remove(&name);
                self.metrics.forget(&name);
            }
        }
        for lane in self.lanes.values_mut() {
            lane.head = Head::Unknown;
            lane.waiting = 0;
        }
        for (name, count) in self.queue.counts().await? {
            if let Some(lane) = self.lanes.get_mut(&name) {
                lane.waiting = count;
            }
        }
        self.stale = self.lanes.keys().any(gone);
        self.version = version;
        Ok(())
    }

    async fn renew_lane(&mut self, trigger: &Trigger) -> anyhow::Result<()> {
        let (name, mark) = (&trigger.row.name, url_mark(&trigger.row.url));
        if self
            .lanes
            .get(name)
            .is_some_and(|lane| lane.health.url_mark == mark)
        {
            return Ok(());
        }
        let known = self.queue.health(name).await?;
        // What is known of another receiver does not count for this one.
        let health = known.filter(|health| health.url_mark == mark);
        let health = health.unwrap_or(Health {
            url_mark: mark,
            ..Health::default()
        });
        self.queue.set_health(name, &health).await?;
        let open = self.queue.open_of(name).await?;
        let lane = self.lanes.entry(name.clone()).or_insert_with(|| Lane {
            flood: Flood::new(open),
            health: health.clone(),
            waiting: 0,
            head: Head::Unknown,
            flying: None,
            task: None,
            broken: None,
        });
        lane.health = health;
        Ok(())
    }

    /// Takes in one batch of events; says whether there may be more.
    async fn take_in(&mut self) -> anyhow::Result<bool> {
        let events = self.events.after(self.cursor, BATCH).await?;
        let Some(last) = events.last() else {
            return Ok(false);
        };
        let cursor = last.seq;
        let now = now_ms();
        let floods: Vec<Flood> = self.lanes.values().map(|lane| lane.flood.clone()).collect();
        let mut skipped = Vec::new();
        let triggers = Arc::clone(&self.triggers);
        let mut entries = Vec::new();
        for event in &events {
            for trigger in triggers.rows.iter().filter(|trigger| trigger.row.enabled) {
                if self.is_for(trigger, event) {
                    match self.place(trigger, event, now) {
                        Some(entry) => entries.push(entry),
                        None => skipped.push(trigger.row.name.clone()),
                    }
                }
            }
        }
        let flying: Vec<i64> = self.lanes.values().filter_map(|lane| lane.flying).collect();
        let admitted = match self.queue.admit(cursor, &entries, &flying, now).await {
            Ok(admitted) => admitted,
            Err(error) => {
                // None of it holds, so the tokens are not spent.
                for (lane, flood) in self.lanes.values_mut().zip(floods) {
                    lane.flood = flood;
                }
                return Err(error.into());
            }
        };
        self.move_to(cursor);
        self.metrics.folded.inc_by(admitted.folded);
        self.metrics.overflowed.inc_by(admitted.overflowed);
        for trigger in skipped {
            self.metrics.skipped(&trigger, 1);
        }
        self.counted(&entries, admitted.overflowed > 0).await?;
        Ok(events.len() == BATCH as usize)
    }

    fn is_for(&mut self, trigger: &Trigger, event: &Stored) -> bool {
        let severity = Severity::ALL
            .iter()
            .find(|known| known.name() == event.severity);
        let Some(severity) = severity else {
            return false;
        };
        let filter = &trigger.row.filter;
        let (source, message) = (&event.source, &event.message);
        let verdict = filter.judge(&mut self.patterns, *severity, source, message);
        let broken = match &verdict {
            rules::Verdict::Broken(why) => Some(why.clone()),
            rules::Verdict::Match | rules::Verdict::NoMatch => None,
        };
        if let Some(lane) = self.lanes.get_mut(&trigger.row.name) {
            lane.broken = broken;
        }
        verdict == rules::Verdict::Match
    }

    /// What an event becomes for a trigger; `None` when that is disabled.
    fn place(&mut self, trigger: &Trigger, event: &Stored, now: i64) -> Option<Entry> {
        let name = &trigger.row.name;
        let lane = self.lanes.get_mut(name)?;
        if lane.health.disabled.is_some() {
            return None;
        }
        let pace = Pace {
            per_minute: trigger.row.rate,
            group_wait: trigger.row.group_wait,
        };
        let (due_ms, into) = match lane.flood.place(&event.id, pace, now) {
            Place::New(due_ms) => (due_ms, None),
            Place::Fold(into) => (now, Some(into)),
        };
        Some(Entry {
            trigger: name.clone(),
            event: event.id.clone(),
            body: event.body.clone(),
            due_ms,
            into,
        })
    }

    /// Brings the lanes in line with what was taken in.
    async fn counted(&mut self, entries: &[Entry], overflowed: bool) -> anyhow::Result<()> {
        for entry in entries {
            if let Some(lane) = self.lanes.get_mut(&entry.trigger) {
                // A webhook behind the head changes nothing; one that was folded into may be it.
                if entry.into.is_some() || lane.head == Head::Nobody {
                    lane.head = Head::Unknown;
                }
            }
        }
        for (name, count) in self.queue.counts().await? {
            if let Some(lane) = self.lanes.get_mut(&name) {
                lane.waiting = count;
                if overflowed {
                    lane.head = Head::Unknown;
                }
            }
        }
        Ok(())
    }

    /// Forgets what is done and old, and gives up what waits for triggers that are gone.
    async fn tidy(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        if self
            .pruned
            .is_some_and(|at| now.saturating_duration_since(at) < TIDY)
        {
            return Ok(());
        }
        self.pruned = Some(now);
        let ms = now_ms();
        let rows = self.triggers.rows.iter();
        let known: Vec<String> = rows.map(|trigger| trigger.row.name.clone()).collect();
        let abandoned = self.queue.abandon(&known, ms - ABANDON_MS, ms).await?;
        if abandoned > 0 {
            tracing::warn!(abandoned, "webhooks given up, their triggers are gone");
        }
        self.queue
            .prune(ms - KEEP_DELIVERED_MS, ms - KEEP_DEAD_MS)
            .await?;
        Ok(())
    }

    /// Sends what is due; gives how long nothing else will be.
    async fn start(&mut self, flights: &mut JoinSet<Landed>) -> anyhow::Result<Duration> {
        let now = now_ms();
        let longest = i64::try_from(self.schedule.longest().as_millis()).unwrap_or(i64::MAX);
        let mut wait = IDLE;
        let triggers = Arc::clone(&self.triggers);
        for trigger in triggers.rows.iter().filter(|trigger| trigger.row.enabled) {
            let name = &trigger.row.name;
            let Some(lane) = self
                .lanes
                .get_mut(name)
                .filter(|lane| lane.flying.is_none())
            else {
                continue;
            };
            if lane.head == Head::Unknown {
                let head = self.queue.head(name).await?;
                lane.head = head.map_or(Head::Nobody, Head::Known);
            }
            let Head::Known(head) = &lane.head else {
                continue;
            };
            if lane.health.disabled.is_some() && !head.replayed {
                continue;
            }
            // Further off than any wait: the clock was set back.
            let left = head.due_ms - now;
            if left > 0 && left <= longest.max(GROUP_MS) {
                wait = wait.min(Duration::from_millis(left.unsigned_abs()));
                continue;
            }
            let head = head.clone();
            lane.flying = Some(head.id);
            let (sender, trigger) = (Arc::clone(&self.sender), Arc::clone(trigger));
            let task = flights.spawn(fly(sender, trigger, head));
            lane.task = Some(task.id());
        }
        Ok(wait)
    }
}

async fn fly<R: Resolver>(
    sender: Arc<Sender<R>>,
    trigger: Arc<Trigger>,
    waiting: Waiting,
) -> Landed {
    let parcel = Parcel {
        event: waiting.event.clone(),
        body: waiting.body.clone(),
        truncated: waiting.truncated,
        test: false,
    };
    let sent = sender.send(&trigger, &parcel).await;
    Landed {
        trigger: trigger.row.name.clone(),
        waiting,
        sent,
        url_mark: url_mark(&trigger.row.url),
    }
}

/// Events of one transaction: the work between two looks at what is due.
const BATCH: u32 = 256;

/// How often old rows are looked for.
const TIDY: Duration = Duration::from_secs(60);

const DAY_MS: i64 = 24 * 3600 * 1000;

/// How long webhooks wait for a trigger that is gone: a file may be taken away by mistake.
const ABANDON_MS: i64 = 5 * DAY_MS;

/// How long webhooks that arrived are kept.
const KEEP_DELIVERED_MS: i64 = 7 * DAY_MS;

/// How long webhooks that were given up are kept for a replay.
const KEEP_DEAD_MS: i64 = 30 * DAY_MS;

/// The longest that a first attempt waits for others.
const GROUP_MS: i64 = rules::MAX_GROUP_WAIT.as_millis() as i64 + 60_000;
