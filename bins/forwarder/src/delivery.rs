//! Delivery modes: what is done with a connection once it stands. A mode takes batches from the link's tailer, decides
//! what counts as delivered, and gives the connection back only by its [`End`].
//!
//! [`acknowledged`] (docs/wire.md) confirms on the master's word, [`plain`] (RFC 5425) on that of the kernel. [`ask`]
//! finds out what masters know of files that we know nothing of.

use ::delivery::sender::{Outcome, Why};

pub(crate) mod acknowledged;
pub(crate) mod ask;
mod idle;
pub(crate) mod plain;
mod talk;

/// What a hello says of the program.
const AGENT: &str = concat!("logferry-forwarder/", env!("CARGO_PKG_VERSION"));

/// How a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// We were told to stop.
    Stopped,
    /// The session is over.
    Lost {
        /// In words for the log.
        why: String,
        /// What decides where, and how soon, to connect again.
        outcome: Outcome,
    },
}

impl End {
    /// The connection is gone; something was delivered (`progress`), or not.
    pub(crate) fn lost(why: String, progress: bool) -> Self {
        let outcome = Outcome {
            why: Why::Broken,
            reset: progress,
        };
        Self::Lost { why, outcome }
    }
}

/// Why a session can't go on.
#[derive(Debug)]
pub(crate) enum Broken {
    /// Its connection.
    Connection(String),
    /// Something that no other connection would mend.
    Us(anyhow::Error),
}

impl From<pki::ConnectProblem> for Broken {
    fn from(problem: pki::ConnectProblem) -> Self {
        Self::Connection(problem.to_string())
    }
}

impl From<anyhow::Error> for Broken {
    fn from(error: anyhow::Error) -> Self {
        Self::Us(error)
    }
}

/// The end of a session in words for the log.
pub(crate) fn words(why: &Why, problem: Option<String>) -> String {
    match why {
        Why::Finished => "finished".to_owned(),
        Why::Drained => "the master goes away".to_owned(),
        Why::Elsewhere => "another epoch is next".to_owned(),
        Why::Refused(refuse) => {
            let code = serde_json::to_value(refuse.code).unwrap_or_default();
            let code = code.as_str().unwrap_or("other").to_owned();
            // Somebody else's words are shown as text, whatever is in them.
            format!(
                "the master refused: {code} ({})",
                refuse.detail.escape_debug()
            )
        }
        Why::Branch { base, .. } => {
            format!("the file is not the one that the master knows, from offset {base} on")
        }
        Why::Unreadable => "the file can't be read".to_owned(),
        Why::Unproved(_) => {
            "the file is not the one that was delivered, and another master has what this one lacks to tell from where on"
                .to_owned()
        }
        Why::Violation(what) => format!("the master broke the protocol: {what}"),
        Why::Late(what) => format!("no {what} in time"),
        Why::Broken => problem.unwrap_or_else(|| "the connection broke".to_owned()),
        _ => "the session ended".to_owned(),
    }
}

/// A refusal's kind as the protocol writes it.
pub(crate) fn code(code: ::delivery::Code) -> String {
    let written = serde_json::to_value(code).unwrap_or_default();
    written.as_str().unwrap_or("other").to_owned()
}
