//! The control messages: a JSON object of one key, which names the message.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ArchiveId, EpochId, Hash, Offset, Print};

mod strict;

/// Longest control message, in bytes.
pub const MAX_CONTROL: usize = 64 << 10;
/// Deepest nesting of a control message; `{}` is 1.
pub const MAX_NESTING: usize = 8;
/// Most empty lines that one `blank` stands for.
pub const MAX_BLANK: u32 = 65_536;
/// Most bytes that one `prove` asks about.
pub const MAX_PROVE: u32 = 64 << 10;
/// Most bytes that one print is about.
pub const MAX_PRINT: u32 = 4096;
/// Most epochs in one `epochs`.
pub const MAX_EPOCHS: usize = 16;

/// A control message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Control {
    /// → The first frame.
    Hello(Hello),
    /// ← Send from here.
    Resume(Resume),
    /// ← No, and then the end.
    Refuse(Refuse),
    /// ← The answer to a hello without epoch: what is held of the stream, newest first, at most [`MAX_EPOCHS`].
    Epochs(Vec<Held>),
    /// → The next frame is a piece of a line and is followed by no LF.
    Part {},
    /// → Empty lines, 1 … [`MAX_BLANK`].
    Blank {
        /// How many.
        count: u32,
    },
    /// → Bytes that will never come, up to `to`.
    Skip {
        /// The position behind them.
        to: Offset,
        /// Why.
        cause: GapCause,
    },
    /// → My position.
    Mark {
        /// It.
        offset: Offset,
    },
    /// → This epoch is over.
    Roll(Roll),
    /// ← Everything below is durable.
    Ack(Ack),
    /// → I am alive.
    Beat(Beat),
    /// ← This listener goes away.
    Drain {
        /// In so many milliseconds.
        after_ms: u64,
    },
    /// → What are the `len` bytes before `end`?
    Prove {
        /// Of this epoch.
        epoch: EpochId,
        /// The position behind them.
        end: Offset,
        /// How many, at most [`MAX_PROVE`].
        len: u32,
    },
    /// ← The answer to it.
    Proof(Proof),
    /// → A request for the worker's next certificate.
    Renew {
        /// In PEM.
        csr: String,
    },
    /// ← The worker's next certificate.
    Certificate {
        /// In PEM, its issuers behind it.
        chain: String,
    },
}

/// What a forwarder says first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The stream.
    pub stream: String,
    /// The epoch that will be continued; none when the forwarder lost its state.
    pub epoch: Option<EpochId>,
    /// The epoch before it.
    pub after: Option<EpochId>,
    /// The lowest position that this forwarder can still read.
    pub from: Offset,
    /// The file's size now.
    pub size: Offset,
    /// What each master has acknowledged of the epoch.
    #[serde(default)]
    pub acked: Vec<Acked>,
    /// The program and its version.
    #[serde(default)]
    pub agent: String,
    /// What this end can do beyond the protocol's first version.
    #[serde(default)]
    pub features: Vec<String>,
    /// The epoch of which this one is another history; it shares the bytes below `base`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<EpochId>,
    /// Where the epoch starts, if not at 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Offset>,
}

/// What one archive has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acked {
    /// The archive.
    pub archive: ArchiveId,
    /// Everything below.
    pub offset: Offset,
}

/// Where to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The archive that speaks.
    pub archive: ArchiveId,
    /// The epoch.
    pub epoch: EpochId,
    /// Send from here.
    pub offset: Offset,
    /// The last bytes held before any gap.
    pub tail: Print,
    /// Longest line in one frame, in bytes.
    pub max_frame: u32,
    /// Nothing may be appended to the epoch any more: what its file got since is another epoch's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sealed: bool,
    /// What this end can do beyond the protocol's first version.
    #[serde(default)]
    pub features: Vec<String>,
}

/// One epoch that a listener holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The epoch.
    pub epoch: EpochId,
    /// Its end.
    pub end: Offset,
    /// The first bytes that are held, up to any gap.
    pub head: Print,
    /// Its last bytes before any gap.
    pub tail: Print,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refuse {
    /// What kind.
    pub code: Code,
    /// For people.
    #[serde(default)]
    pub detail: String,
}

/// The kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Code {
    /// The certificate was revoked.
    Revoked,
    /// Nobody enrolled this certificate.
    NotEnrolled,
    /// The stream can't be written so.
    BadStream,
    /// Over a limit.
    Limit,
    /// No common version.
    Version,
    /// The listener goes away.
    Draining,
    /// A newer connection has the stream.
    Superseded,
    /// One that this version does not know.
    #[serde(other)]
    Other,
}

/// Why bytes will never come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapCause {
    /// The backlog was over the limit.
    LagCap,
    /// There was no room to keep them.
    DiskBudget,
    /// The file was rotated and no copy is left.
    RotatedAway,
    /// The file is there and can't be read.
    Unreadable,
    /// Another program forwarded them before the first start.
    Imported,
    /// Another archive has them.
    Elsewhere,
}

/// The end of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roll {
    /// The epoch's length.
    pub end: Offset,
    /// The next epoch.
    pub epoch: EpochId,
    /// How it ended.
    pub cause: RollCause,
    /// Bytes known to be lost at its end; none: unknown.
    pub lost: Option<u64>,
    /// The epoch of which the next one is another history; as in a hello.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<EpochId>,
    /// Where the next epoch starts, if not at 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Offset>,
}

/// How an epoch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RollCause {
    /// Its file was renamed or copied away.
    Rotated,
    /// Its file was cut, and no copy is there.
    Truncated,
    /// Its file is gone.
    Gone,
}

/// An acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The epoch; those before it on the connection are durable to their end.
    pub epoch: EpochId,
    /// Everything below is durable.
    pub offset: Offset,
    /// The hash of the ledger's last line.
    pub ledger: Hash,
}

/// What a listener holds of the bytes that it was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Their hash; none when not all of them are held.
    pub blake3: Option<Hash>,
    /// Why there is none: the highest place among them of which nothing is held, as wide as it is. A listener that does not
    /// know, or knows nothing of this key, leaves it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
}

/// A place of an epoch of which the listener holds nothing: a gap, or what retention removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The first byte.
    pub from: Offset,
    /// The position behind the last one.
    pub to: Offset,
}

impl From<Hash> for Proof {
    fn from(hash: Hash) -> Self {
        Self {
            blake3: Some(hash),
            missing: None,
        }
    }
}

impl From<Option<Missing>> for Proof {
    fn from(missing: Option<Missing>) -> Self {
        Self {
            blake3: None,
            missing,
        }
    }
}

/// A sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Bytes that wait.
    pub backlog_bytes: u64,
    /// Age of the oldest of them, in milliseconds.
    pub oldest_ms: u64,
    /// The forwarder's wall clock: UTC milliseconds since 1970.
    pub clock_ms: i64,
}

/// What a control frame turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// One that this version knows.
    Known(Control),
    /// One that it does not know: to be ignored and counted.
    Unknown,
}

/// A control message is not one. Always the peer's fault; the connection has to be closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Longer than [`MAX_CONTROL`].
    #[error("control message of {0} bytes, at most {MAX_CONTROL} are allowed")]
    TooLong(usize),
    /// Not JSON, a key twice, or nested too deeply.
    #[error("malformed control message")]
    Malformed(#[source] serde_json::Error),
    /// Not an object of one key.
    #[error("a control message is an object of one key")]
    Shape,
    /// A known message whose content is wrong.
    #[error("wrong content of a control message")]
    Content(#[source] serde_json::Error),
    /// A number is outside its limits.
    #[error("{what} {found} is outside 1..={max}")]
    Range {
        /// Which.
        what: &'static str,
        /// It.
        found: u64,
        /// The largest allowed.
        max: u64,
    },
}

const KNOWN: [&str; 16] = [
    "hello",
    "resume",
    "refuse",
    "epochs",
    "part",
    "blank",
    "skip",
    "mark",
    "roll",
    "ack",
    "beat",
    "drain",
    "prove",
    "proof",
    "renew",
    "certificate",
];

impl Control {
    /// Reads the content of a control frame.
    ///
    /// # Errors
    /// [`ControlError`]: close the connection.
    pub fn decode(json: &[u8]) -> Result<Decoded, ControlError> {
        if json.len() > MAX_CONTROL {
            return Err(ControlError::TooLong(json.len()));
        }
        let value = strict::parse(json, MAX_NESTING).map_err(ControlError::Malformed)?;
        let Value::Object(object) = &value else {
            return Err(ControlError::Shape);
        };
        let mut keys = object.keys();
        let (Some(key), None) = (keys.next(), keys.next()) else {
            return Err(ControlError::Shape);
        };
        if !KNOWN.contains(&key.as_str()) {
            return Ok(Decoded::Unknown);
        }
        let control: Self = serde_json::from_value(value).map_err(ControlError::Content)?;
        control.check()?;
        Ok(Decoded::Known(control))
    }

    fn check(&self) -> Result<(), ControlError> {
        let range = |what, found: u64, max: u64| {
            if (1..=max).contains(&found) {
                Ok(())
            } else {
                Err(ControlError::Range { what, found, max })
            }
        };
        let print = |print: &Print| {
            let most = print.end.get().min(MAX_PRINT.into());
            range("print len + 1", u64::from(print.len) + 1, most + 1)
        };
        match self {
            Self::Blank { count } => range("blank count", u64::from(*count), MAX_BLANK.into()),
            Self::Prove { len, end, .. } => range(
                "prove len",
                u64::from(*len),
                u64::from(MAX_PROVE).min(end.get()),
            ),
            Self::Proof(Proof {
                missing: Some(Missing { from, to }),
                ..
            }) => range("proof missing", to.since(*from), Offset::MAX.get()),
            Self::Resume(resume) => {
                range("max_frame", u64::from(resume.max_frame), u32::MAX.into())?;
                print(&resume.tail)
            }
            Self::Epochs(held) => {
                range("epochs", held.len() as u64 + 1, MAX_EPOCHS as u64 + 1)?;
                held.iter()
                    .flat_map(|held| [&held.head, &held.tail])
                    .try_for_each(print)
            }
            _ => Ok(()),
        }
    }

    /// Writes the content of a control frame, at most [`MAX_CONTROL`] bytes.
    ///
    /// # Errors
    /// The message is longer: only texts that the caller put in can make it so.
    pub fn encode(&self) -> Result<Vec<u8>, ControlError> {
        let json = serde_json::to_vec(self).map_err(ControlError::Content)?;
        if json.len() > MAX_CONTROL {
            return Err(ControlError::TooLong(json.len()));
        }
        Ok(json)
    }
}

#[cfg(test)]
mod tests;
