//! The pages of the status endpoint that only the scanner has: statistics, events, and rules and
//! triggers to try.
//!
//! ```text
//! GET  /stats
//! GET  /events?after=SEQ&limit=N
//! GET  /events/ID
//! GET  /rules/effective?workload=WORKER/NAME
//! POST /rules/test       {"line": …, "stream": …, "workload": …, "pattern": …}
//! POST /triggers/NAME/test
//! ```

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use service::status::{Answer, Asked, Routes};

use crate::board::Board;
use crate::config::Config;
use crate::dispatch;
use crate::store::{EventReader, Stored};
use crate::trial::{self, Trial};

/// The pages.
#[derive(Debug)]
pub(crate) struct Pages {
    board: Arc<Board>,
    state: PathBuf,
    trial: trial::Options,
    triggers: PathBuf,
    webhooks: dispatch::config::Config,
}

/// What `POST /rules/test` wants to know.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    line: String,
    stream: Option<String>,
    workload: Option<String>,
    /// Tried instead of the rules in use.
    pattern: Option<String>,
}

impl Pages {
    /// Pages over what the board shows.
    pub(crate) fn new(config: &Config, board: Arc<Board>) -> Self {
        Self {
            board,
            state: config.state.clone(),
            trial: trial::Options::of(config),
            triggers: config.triggers.clone(),
            webhooks: config.webhooks.clone(),
        }
    }

    async fn page(&self, asked: Asked) -> Option<Answer> {
        let segments = asked.segments()?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        Some(match (asked.post, &*segments) {
            (false, ["stats"]) => ok(self.board.stats()),
            (false, ["events"]) => self.events(&asked).await,
            (false, ["events", id]) => self.event(id).await?,
            (false, ["rules", "effective"]) => match asked.parameter("workload") {
                Some(workload) => ok(trial::effective(&self.board.rules().set, &workload)),
                None => bad("workload is missing: WORKER/NAME"),
            },
            (true, ["rules", "test"]) => self.test(&asked),
            (true, ["triggers", name, "test"]) => {
                let tested = dispatch::commands::test_value(&self.webhooks, &self.triggers, name);
                match tested.await {
                    Ok(value) => ok(value?),
                    Err(error) => failed(&error),
                }
            }
            _ => return None,
        })
    }

    fn test(&self, asked: &Asked) -> Answer {
        let test: Test = match serde_json::from_slice(&asked.body) {
            Ok(test) => test,
            Err(error) => return bad(&error.to_string()),
        };
        let trial = Trial {
            line: test.line.as_bytes(),
            stream: test.stream.as_deref(),
            workload: test.workload.as_deref(),
        };
        let tried = match &test.pattern {
            Some(pattern) => trial.pattern(pattern, &self.trial),
            None => trial.rules(&self.board.rules().set, &self.trial),
        };
        match tried {
            Ok(answer) => ok(answer),
            Err(what) => bad(&what),
        }
    }

    /// One event; none: there is no such one.
    async fn event(&self, id: &str) -> Option<Answer> {
        let read = async { anyhow::Ok(EventReader::open(&self.state).await?.find(id).await?) };
        match read.await {
            Ok(event) => Some(ok(body(&event?))),
            Err(error) => Some(failed(&error)),
        }
    }

    async fn events(&self, asked: &Asked) -> Answer {
        let number = |name| {
            asked
                .parameter(name)
                .map(|text| text.parse::<i64>())
                .transpose()
        };
        let (Ok(after), Ok(limit)) = (number("after"), number("limit")) else {
            return bad("after and limit are numbers");
        };
        let limit = limit.unwrap_or(DEFAULT_EVENTS).clamp(1, MAX_EVENTS);
        let read = async {
            let mut reader = EventReader::open(&self.state).await?;
            let after = match after {
                Some(after) => after,
                None => (reader.last_seq().await? - limit).max(0),
            };
            anyhow::Ok(
                reader
                    .after(after, u32::try_from(limit).unwrap_or(u32::MAX))
                    .await?,
            )
        };
        match read.await {
            Ok(events) => {
                let list = events.iter();
                let list = list.map(|event| json!({"seq": event.seq, "event": body(event)}));
                ok(Value::Array(list.collect()))
            }
            Err(error) => failed(&error),
        }
    }
}

impl Routes for Pages {
    fn pages(&self) -> &'static str {
        " /stats /events /rules/effective /rules/test (POST) /triggers/NAME/test (POST)"
    }

    fn answer(&self, asked: Asked) -> Pin<Box<dyn Future<Output = Option<Answer>> + Send + '_>> {
        Box::pin(self.page(asked))
    }
}

/// An event as it was written.
fn body(event: &Stored) -> Value {
    serde_json::from_str(&event.body).unwrap_or(Value::Null)
}

fn failed(error: &anyhow::Error) -> Answer {
    let body = json!({"error": format!("{error:#}")});
    Answer { code: 500, body }
}

fn ok(body: Value) -> Answer {
    Answer { code: 200, body }
}

fn bad(what: &str) -> Answer {
    let body = json!({"error": what});
    Answer { code: 400, body }
}

/// Events on one page, if it is not said.
const DEFAULT_EVENTS: i64 = 100;
/// Most events on one page: some megabytes.
const MAX_EVENTS: i64 = 1000;
