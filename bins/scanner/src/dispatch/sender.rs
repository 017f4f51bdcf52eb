//! One attempt for one trigger: its secrets as they are now, the body, and what came of it in words.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use webhook::{Client, Format, Limits, MessageId, Notice, Outcome, Request, Resolver, Roots};

use super::config::Config;
use crate::trigger::{Trigger, secrets};

/// Sends webhooks.
#[derive(Debug)]
pub(crate) struct Sender<R> {
    client: Client<R>,
}

/// What to send.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    /// The event's id.
    pub(crate) event: String,
    /// The event, one JSON object.
    pub(crate) body: String,
    /// Events folded into it.
    pub(crate) truncated: u64,
    /// Whether an operator asked for it.
    pub(crate) test: bool,
}

/// How an attempt went. No text in it shows a secret.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sent {
    pub(crate) outcome: Outcome,
    pub(crate) status: Option<u16>,
    pub(crate) addr: Option<IpAddr>,
    pub(crate) elapsed: Duration,
    pub(crate) error: Option<String>,
}

impl Sent {
    /// An attempt that came to nothing before anything was sent, and may do better later.
    pub(crate) fn failed(error: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Retry { after: None },
            status: None,
            addr: None,
            elapsed: Duration::ZERO,
            error: Some(error.into()),
        }
    }
}

impl<R: Resolver> Sender<R> {
    /// Loads the certificate authorities.
    ///
    /// # Errors
    /// The operator's file of authorities cannot be used.
    pub(crate) fn new(resolver: R, config: &Config, limits: Limits) -> anyhow::Result<Self> {
        let roots = Roots::load(config.ca_file.as_deref())?;
        if roots.is_empty() {
            tracing::warn!("no certificate authorities found; webhooks by https will fail");
        }
        let policy = config.policy.clone();
        let client = Client::new(resolver, &roots, policy, limits, AGENT);
        Ok(Self { client })
    }

    /// Makes one attempt.
    pub(crate) async fn send(&self, trigger: &Trigger, parcel: &Parcel) -> Sent {
        let useless = |error| Sent {
            outcome: Outcome::Dead,
            ..Sent::failed(error)
        };
        let Ok(id) = MessageId::new(webhook_id(&parcel.event, &trigger.row.name)) else {
            return useless("the event's id is none for a webhook");
        };
        let Ok(event) = serde_json::from_str::<Map<String, Value>>(&parcel.body) else {
            return useless("the event is no JSON object");
        };
        let files = trigger.row.secret_files.clone();
        // The file system may hang, and must not take the program's one thread along.
        let read = tokio::task::spawn_blocking(move || secrets(&files)).await;
        let secrets = match read.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(secrets) => secrets,
            Err(error) => {
                return Sent::failed(format!("secret: {error}"));
            }
        };
        let notice = Notice {
            trigger: webhook::Trigger {
                id: &trigger.row.name,
                name: &trigger.row.name,
            },
            event: &event,
            truncated: parcel.truncated,
            test: parcel.test,
        };
        let body = webhook::render(format(trigger.row.format), &notice);
        let request = Request {
            url: &trigger.row.url,
            id: &id,
            timestamp: unix_seconds(),
            secrets: secrets.as_ref(),
            body: body.into(),
        };
        let report = self.client.attempt(&request).await;
        Sent {
            outcome: report.outcome,
            status: report.status,
            addr: report.addr,
            elapsed: report.elapsed,
            error: report.error.map(|error| error.to_string()),
        }
    }
}

/// The identity of a webhook over all its attempts.
pub(crate) fn webhook_id(event: &str, trigger: &str) -> String {
    format!("{event}_{trigger}")
}

fn format(format: rules::Format) -> Format {
    match format {
        rules::Format::Standard => Format::Standard,
        rules::Format::Alertmanager => Format::Alertmanager,
    }
}

fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

const AGENT: &str = concat!("logferry/", env!("CARGO_PKG_VERSION"));
