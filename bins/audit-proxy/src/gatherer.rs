//! The gatherer: decodes frames, renders their records into the group in the making, and hands groups over.

use std::sync::Arc;
use std::time::Duration;

use audit_codec::{Context, Message, Request, Status};
use offsets::Change;
use rfc5424::Timestamp;
use service::Seldom;
use service::status::Pulse;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{error, warn};

use crate::config::{Commit, Limits};
use crate::event::{Client, Event, Peer};
use crate::group::{Group, Output};
use crate::metrics::{
    BATCH_FULL, BUFFER_FULL, CHANNEL_FULL, FORWARD_FAILED, FrameLabel, Metrics, RejectLabel,
};
use crate::report::{Reports, Tally, What};
use crate::sessions::Sessions;

/// The gatherer's state.
#[derive(Debug)]
pub(crate) struct Gatherer {
    hostname: String,
    commit: Commit,
    limits: Limits,
    sessions: Sessions,
    metrics: Metrics,
    reports: Reports,
    /// Whether the group in the making takes the reports along. They add up until then, however long that takes.
    tell_now: bool,
    group: Group,
    /// The highest number of a connection with a record in the group.
    conn: Option<u64>,
    seldom: Seldom<(&'static str, Option<u32>)>,
}

impl Gatherer {
    /// With an empty group.
    pub(crate) fn new(
        hostname: String,
        commit: Commit,
        limits: Limits,
        sessions: Sessions,
        metrics: Metrics,
    ) -> Self {
        Self {
            hostname,
            commit,
            limits,
            sessions,
            metrics,
            reports: Reports::default(),
            tell_now: false,
            group: Group::default(),
            conn: None,
            seldom: Seldom::new(SELDOM),
        }
    }

    /// Gathers until `events` is closed. A group goes to `full` when it is old or large enough and an output in
    /// `empty` says that the one before is durable. While a group is full nothing more is taken, which is the clients'
    /// back-pressure; after [`Limits::full_wait`] of that, what comes is dropped and counted.
    pub(crate) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        full: mpsc::Sender<Group>,
        mut empty: mpsc::Receiver<Output>,
        pulse: Pulse,
    ) {
        // When the group began, and since when it has been full.
        let (mut first, mut stuck): (Option<Instant>, Option<Instant>) = (None, None);
        let (mut open, mut look) = (true, Instant::now() + LOOK_EVERY);
        loop {
            pulse.beat();
            let now = Instant::now();
            if now >= look || !open {
                look = now + LOOK_EVERY;
                self.sessions.look(now.into_std());
                self.tell_now = true;
            }
            if first.is_none() && self.has_something() {
                first = Some(now);
            }
            if first.is_none() && !open {
                return;
            }
            let fills = self.group.output.len() >= self.commit.max_bytes;
            stuck = fills.then(|| stuck.unwrap_or(now));
            let dropping = stuck.is_some_and(|since| now >= since + self.limits.full_wait);
            let old = first.is_some_and(|first| now >= first + self.commit.max_delay);
            let due = fills || old || (!open && first.is_some());
            let mut wake = look.min(now + pulse.period());
            if let Some(first) = first.filter(|_| !due) {
                wake = wake.min(first + self.commit.max_delay);
            }
            if let Some(since) = stuck.filter(|_| !dropping) {
                wake = wake.min(since + self.limits.full_wait);
            }
            tokio::select! {
                biased;
                spare = empty.recv(), if due => {
                    let handed = match spare {
                        Some(spare) => full.send(self.take(spare)).await.map_err(|back| back.0),
                        None => Err(self.take(Output::default())),
                    };
                    if let Err(group) = handed {
                        return self.give_up(&group, events).await;
                    }
                    first = None;
                }
                event = events.recv(), if open && (!fills || dropping) => match event {
                    Some(event) => self.apply(event, dropping, now),
                    None => open = false,
                },
                () = sleep_until(wake) => {}
            }
        }
    }

    fn has_something(&self) -> bool {
        self.group.batches > 0
            || self.sessions.has_news()
            || (self.tell_now && !self.reports.is_empty())
    }

    /// The group as it is, whole; the next one writes into `spare`.
    fn take(&mut self, mut spare: Output) -> Group {
        // What one monstrous frame needed is not kept for ever.
        spare.shrink_to(self.commit.max_bytes);
        let mut group = std::mem::replace(&mut self.group, Group::with(spare));
        self.sessions.take(&mut group);
        if std::mem::take(&mut self.tell_now) {
            group.facts = self.reports.take();
        }
        if let Some(conn) = self.conn.take() {
            group.changes.push(Change::Put {
                key: CONN.to_owned(),
                value: conn.to_string().into_bytes(),
            });
        }
        group
    }

    fn apply(&mut self, event: Event, dropping: bool, now: Instant) {
        match event {
            Event::Frame {
                client,
                tag,
                payload,
                arrival,
            } => {
                let octets = payload.len();
                let kind = match Message::decode(tag, &payload) {
                    Ok(Message::Logs(request)) => {
                        self.request(&client, &request, arrival, octets, dropping, now);
                        "logs"
                    }
                    Ok(Message::Status(status)) => {
                        self.status(&client, status);
                        "status"
                    }
                    Ok(_) => {
                        self.refuse(&client, "variant", octets, now);
                        "unknown"
                    }
                    Err(error) => {
                        if self.refuse(&client, "decode", octets, now) {
                            warn!(conn = client.conn, %error, "frame is no message, left out");
                        }
                        "undecodable"
                    }
                };
                let tag = u64::from(tag.octet());
                self.metrics
                    .frames
                    .get_or_create(&FrameLabel { tag, kind })
                    .inc();
            }
            Event::Broken { client, why } => {
                let reason = why.as_str();
                self.metrics
                    .rejected
                    .get_or_create(&RejectLabel { reason })
                    .inc();
                self.tell(What::Broken(why), client.peer, "", 0, 0);
                if let Some(left_out) = self.seldom.allow((reason, client.peer.uid), now.into_std())
                {
                    let Peer { pid, uid, .. } = client.peer;
                    warn!(
                        conn = client.conn,
                        pid, uid, reason, left_out, "frame broken off, connection closed"
                    );
                }
            }
            Event::Empty { client } => {
                self.metrics.empty.inc();
                self.tell(What::Empty, client.peer, "", 0, 0);
                if let Some(left_out) = self
                    .seldom
                    .allow(("empty", client.peer.uid), now.into_std())
                {
                    let Peer { pid, uid, .. } = client.peer;
                    warn!(
                        conn = client.conn,
                        pid,
                        uid,
                        left_out,
                        "connection closed without one octet: is a client's batch over the limit?"
                    );
                }
            }
        }
    }

    fn request(
        &mut self,
        client: &Arc<Client>,
        request: &Request<'_>,
        arrival: Timestamp,
        octets: usize,
        dropping: bool,
        now: Instant,
    ) {
        let records = request.logs.len() as u64;
        // What stands in each line must not make a short frame a flood.
        let common = request.session_id.len() + request.process.len();
        if request.logs.len() > self.limits.records_per_frame
            || common.saturating_mul(request.logs.len()) > MAX_COMMON
        {
            self.refuse(client, "records", octets, now);
            return;
        }
        if dropping {
            self.metrics.dropped(BUFFER_FULL, 1, records);
            self.tell(
                What::Lost(BUFFER_FULL),
                client.peer,
                request.session_id,
                records,
                0,
            );
            if let Some(left_out) = self.seldom.allow((BUFFER_FULL, None), now.into_std()) {
                error!(records, left_out, "records dropped, they can't be written");
            }
            return;
        }
        let twice = self.sessions.see(client.peer, request, now.into_std());
        if twice > 0 {
            self.tell(What::Duplicate, client.peer, request.session_id, twice, 0);
        }
        let Peer { pid, uid, gid } = client.peer;
        let context = Context {
            hostname: &self.hostname,
            arrival,
            pid,
            uid,
            gid,
            conn: Some(client.conn),
        };
        let Output { log: lines, json } = &mut self.group.output;
        for log in &request.logs {
            let start = lines.len();
            context.write_line(request, log, lines);
            context.write_json(request, log, &lines[start..], json);
        }
        self.group.batches += 1;
        self.group.records += records;
        if records > 0 {
            self.conn = self.conn.max(Some(client.conn));
        }
    }

    /// Counts what the client had to drop; what is not positive counts for nothing, as in the original.
    fn status(&mut self, client: &Client, status: Status) {
        for (reason, count) in [
            (CHANNEL_FULL, status.channel_full),
            (BATCH_FULL, status.batch_full),
        ] {
            if let Ok(records @ 1..) = u64::try_from(count) {
                self.metrics.dropped(reason, 0, records);
                self.tell(What::Lost(reason), client.peer, "", records, 0);
            }
        }
    }

    /// A whole frame is left out; the connection stays. Gives whether it may be logged in detail.
    fn refuse(
        &mut self,
        client: &Client,
        reason: &'static str,
        octets: usize,
        now: Instant,
    ) -> bool {
        self.metrics
            .rejected
            .get_or_create(&RejectLabel { reason })
            .inc();
        self.tell(What::Lost(reason), client.peer, "", 0, octets as u64);
        let Some(left_out) = self.seldom.allow((reason, client.peer.uid), now.into_std()) else {
            return false;
        };
        let Peer { pid, uid, .. } = client.peer;
        warn!(
            conn = client.conn,
            pid, uid, reason, left_out, "frame left out"
        );
        true
    }

    fn tell(&mut self, what: What, peer: Peer, session: &str, records: u64, bytes: u64) {
        // What is longer than an id names nothing in the ledger.
        let session = if session.len() > 64 { "" } else { session };
        let tally = Tally {
            times: 1,
            records,
            bytes,
        };
        self.reports.add(what, peer, session, tally);
    }

    /// Nobody makes groups durable any more: counts what is lost with `group`, and what still comes.
    async fn give_up(mut self, group: &Group, mut events: mpsc::Receiver<Event>) {
        let (mut batches, mut records) = (group.batches, group.records);
        events.close();
        while let Some(event) = events.recv().await {
            if let Event::Frame { tag, payload, .. } = event
                && let Ok(Message::Logs(request)) = Message::decode(tag, &payload)
            {
                batches += 1;
                records += request.logs.len() as u64;
            }
        }
        self.metrics.dropped(FORWARD_FAILED, batches, records);
        self.group = Group::default();
        if batches > 0 {
            error!(
                batches,
                records, "records given up, they could not be written"
            );
        }
    }
}

/// The store's key for the highest number of a connection with durable records.
pub(crate) const CONN: &str = "conn";

/// Octets of session id and process over all records of a frame: a thousand records with 1 KiB each.
const MAX_COMMON: usize = 1 << 20;

/// How often holes in the numbers are looked at, and incidents told.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Time between two log lines of one kind about one user.
const SELDOM: Duration = Duration::from_secs(60);
