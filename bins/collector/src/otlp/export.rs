//! The queue of spans, and the one who sends them in batches.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use ratelimit::Backoff;
use service::Seldom;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use tracing::{info, warn};

use super::{
    Config, Metrics, Span,
    config::Endpoint,
    message,
    post::{Answer, Poster},
};

/// Takes spans from those who work; clones share it.
#[derive(Clone, Debug)]
pub struct Queue {
    spans: mpsc::Sender<Span>,
    metrics: Metrics,
}

/// Sends what is in the queue.
#[derive(Debug)]
pub struct Exporter {
    spans: mpsc::Receiver<Span>,
    poster: Poster,
    endpoint: Endpoint,
    host: String,
    metrics: Metrics,
    failures: Seldom,
}

impl Queue {
    /// Puts a span into the queue; without room it is counted and dropped.
    pub fn offer(&self, span: Span) {
        if self.spans.try_send(span).is_err() {
            self.metrics.drop("queue_full", 1);
        }
    }

    /// Puts these there, which have ended now.
    pub(crate) fn offer_ended(&self, spans: impl IntoIterator<Item = Span>) {
        let end_ns = super::now_ns();
        for span in spans {
            self.offer(Span { end_ns, ..span });
        }
    }

    /// Counts spans for which a batch had no room.
    pub(crate) fn over(&self, spans: u64) {
        self.metrics.drop("queue_full", spans);
    }
}

impl Exporter {
    /// An exporter and its queue.
    ///
    /// # Errors
    /// Certificate authorities that can't be used.
    pub fn new(config: &Config, metrics: Metrics) -> anyhow::Result<(Queue, Exporter)> {
        let (sender, spans) = mpsc::channel(QUEUE);
        let queue = Queue {
            spans: sender,
            metrics: metrics.clone(),
        };
        let host = rustix::system::uname();
        let exporter = Exporter {
            spans,
            poster: Poster::new(&config.endpoint, config.ca.as_deref())?,
            endpoint: config.endpoint.clone(),
            host: host.nodename().to_string_lossy().into_owned(),
            metrics,
            failures: Seldom::new(SAID_EVERY),
        };
        Ok((queue, exporter))
    }

    /// Sends until nobody holds the queue any more, and then what is left, once.
    pub async fn run(mut self) {
        info!(endpoint = %self.endpoint, "records are traced");
        let mut batch = Vec::with_capacity(BATCH);
        while self.spans.recv_many(&mut batch, BATCH).await > 0 {
            let until = Instant::now() + GATHER;
            while batch.len() < BATCH {
                let room = BATCH - batch.len();
                match timeout_at(until, self.spans.recv_many(&mut batch, room)).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
            self.send(&batch).await;
            batch.clear();
        }
    }

    /// Tries some times, if the receiver may take it later; what waits meanwhile is bounded by the queue.
    async fn send(&self, batch: &[Span]) {
        let request = message::request(batch, &self.host, env!("CARGO_PKG_VERSION"));
        let body = Bytes::from(request.encode_to_vec());
        let spans = batch.len() as u64;
        let mut backoff = Backoff::new(RETRY_BASE, RETRY_CAP);
        for attempt in 1.. {
            let posted = timeout(POST, self.poster.post(body.clone())).await;
            let (again, error) = match posted {
                Ok(Ok(Answer::Taken { rejected })) => {
                    let rejected = rejected.min(spans);
                    self.metrics.sent.inc_by(spans - rejected);
                    return self.metrics.drop("rejected", rejected);
                }
                Ok(Ok(Answer::Refused { status, again })) => (again, format!("status {status}")),
                Ok(Err(error)) => (true, format!("{error:#}")),
                Err(_) => (true, format!("no answer within {} s", POST.as_secs())),
            };
            if let Some(more) = self.failures.allow((), std::time::Instant::now()) {
                warn!(endpoint = %self.endpoint, error, more, "can't send spans");
            }
            // At the end of the program nobody waits.
            let closed = self.spans.is_closed();
            if !again || closed || attempt == ATTEMPTS {
                let reason = if again { "unreachable" } else { "refused" };
                return self.metrics.drop(reason, spans);
            }
            let pause = backoff.next(&mut rand::rng());
            tokio::time::sleep(pause).await;
        }
    }
}

/// Spans that wait, some 300 octets each.
const QUEUE: usize = 8192;
/// Spans in a request, as other exporters have them.
const BATCH: usize = 512;
/// How long a request waits to become larger.
const GATHER: Duration = Duration::from_secs(1);
/// Time for one request and its answer.
const POST: Duration = Duration::from_secs(10);
/// Tries of a request.
const ATTEMPTS: u32 = 5;
const RETRY_BASE: Duration = Duration::from_millis(500);
const RETRY_CAP: Duration = Duration::from_secs(10);
const SAID_EVERY: Duration = Duration::from_secs(60);
