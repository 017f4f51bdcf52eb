//! Signatures by Standard Webhooks: `v1,` and the base64 of an HMAC-SHA256 over `id.timestamp.body`.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Most secrets of one receiver: the present one, and those that it is rotated from.
pub const MAX_SECRETS: usize = 4;

/// Longest text of a secret in bytes.
const MAX_SECRET: usize = 1024;

/// Length of a key behind `whsec_` in bytes, by the specification.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The keys that a message is signed with. Never shown.
#[derive(Clone)]
pub struct Secrets(Vec<hmac::Key>);

/// What is wrong with a secret. The text of the secret is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// No line has anything in it.
    #[error("there is no secret")]
    Empty,
    /// More than [`MAX_SECRETS`] lines.
    #[error("there are more than {MAX_SECRETS} secrets")]
    TooMany,
    /// Over 1024 bytes.
    #[error("secret {0} is longer than {MAX_SECRET} bytes")]
    TooLong(usize),
    /// `whsec_` with something else than base64 behind it.
    #[error("secret {0} begins with whsec_, but the rest is not base64")]
    Base64(usize),
    /// `whsec_` with a key that the specification does not allow.
    #[error("secret {at} has {bytes} bytes behind whsec_; 24 to 64 are allowed")]
    Length {
        /// Which of the secrets, counted from 1.
        at: usize,
        /// The length of the decoded key.
        bytes: usize,
    },
}

impl Secrets {
    /// Reads secrets, one a line; blank lines and blanks around a secret are ignored. `whsec_` is followed by the
    /// base64 of the key, any other text is the key itself.
    ///
    /// # Errors
    /// [`SecretError`], of the first that is wrong.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut keys = Vec::new();
        for (at, line) in (1..).zip(lines) {
            if at > MAX_SECRETS {
                return Err(SecretError::TooMany);
            }
            keys.push(key(at, line)?);
        }
        if keys.is_empty() {
            return Err(SecretError::Empty);
        }
        Ok(Self(keys))
    }

    /// The value of `webhook-signature`: one signature a secret, in their order, with spaces between.
    pub fn sign(&self, id: &MessageId, timestamp: u64, body: &[u8]) -> String {
        let head = format!("{}.{timestamp}.", id.as_str());
        let signatures = self.0.iter().map(|key| {
            let mut context = hmac::Context::with_key(key);
            context.update(head.as_bytes());
            context.update(body);
            format!("v1,{}", STANDARD.encode(context.sign()))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

fn key(at: usize, text: &str) -> Result<hmac::Key, SecretError> {
    if text.len() > MAX_SECRET {
        return Err(SecretError::TooLong(at));
    }
    let bytes = match text.strip_prefix("whsec_") {
        None => text.as_bytes().to_vec(),
        Some(rest) => {
            let bytes = STANDARD.decode(rest).map_err(|_| SecretError::Base64(at))?;
            if !KEY_BYTES.contains(&bytes.len()) {
                let bytes = bytes.len();
                return Err(SecretError::Length { at, bytes });
            }
            bytes
        }
    };
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// The identity of a message over all its attempts: 1 to 256 visible ASCII characters without `.`, which separates
/// the parts that are signed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageId(String);

/// The text cannot be a message's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no message id: 1 to 256 visible ASCII characters without a full stop are")]
pub struct IdError(String);

impl MessageId {
    /// Checks an id.
    ///
    /// # Errors
    /// [`IdError`].
    pub fn new(id: impl Into<String>) -> Result<Self, IdError> {
        let id = id.into();
        let fits = (1..=256).contains(&id.len());
        if fits && id.bytes().all(|b| b.is_ascii_graphic() && b != b'.') {
            return Ok(Self(id));
        }
        Err(IdError(id.chars().take(256).collect()))
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests;
