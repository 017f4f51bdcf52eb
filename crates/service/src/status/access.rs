//! Who may ask on an endpoint that tells, or does, more than others may know.

use std::fmt;
use std::path::{Path, PathBuf};

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Deserialize;

use super::listen::Listen;
use crate::config::{Problem, Source};

/// The `[status]` table of a program whose endpoint has pages of its own.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct GuardedConfig {
    listen: Option<Listen>,
    token_file: Option<PathBuf>,
}

impl GuardedConfig {
    /// Where to listen: as configured, else `status.sock` in the program's state directory.
    pub fn listen(&self, dir: &Path) -> Listen {
        self.listen
            .clone()
            .unwrap_or_else(|| Listen::Unix(dir.join("status.sock")))
    }

    /// Who may ask: whoever has the token of `token_file`, if that is set.
    ///
    /// # Errors
    /// The file can't be read, or holds no token. Its content is not shown.
    pub fn access(&self, source: &Source) -> Result<Access, Problem> {
        let Some(path) = &self.token_file else {
            return Ok(Access::default());
        };
        let problem = |what: String| source.problem("status.token_file", what);
        let text = std::fs::read_to_string(path)
            .map_err(|error| problem(format!("{} can't be read: {error}", path.display())))?;
        let token = text.trim_end();
        let len = token.len();
        if !(MIN_TOKEN..=MAX_TOKEN).contains(&len) || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(problem(format!(
                "{} holds no token: {MIN_TOKEN} to {MAX_TOKEN} printable characters without a space",
                path.display()
            )));
        }
        Ok(Access {
            token: Some(token.to_owned()),
        })
    }
}

/// Who may ask: everybody, or whoever has the token.
#[derive(Clone, Default)]
pub struct Access {
    token: Option<String>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_open() { "open" } else { "by token" })
    }
}

impl Access {
    /// Whether no token is needed.
    pub fn is_open(&self) -> bool {
        self.token.is_none()
    }

    /// Whether a request with these headers may be answered.
    pub(super) fn permits(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let given = given.and_then(|value| value.strip_prefix(b"Bearer "));
        given.is_some_and(|given| same(given, token.as_bytes()))
    }

    /// The header with which to ask.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let value = format!("Bearer {}", self.token.as_ref()?);
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Compares without telling by its time where the first difference is.
fn same(given: &[u8], token: &[u8]) -> bool {
    given.len() == token.len() && given.iter().zip(token).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// Shorter ones can be guessed.
const MIN_TOKEN: usize = 16;
/// What fits a request head with room to spare.
const MAX_TOKEN: usize = 1024;
