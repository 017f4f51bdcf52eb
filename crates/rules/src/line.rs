//! What a rule is told of a line.

use std::borrow::Cow;

use crate::Subject;

/// Where a line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Standard output; a native syslog line counts as this.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The name in configuration and events: `stdout` or `stderr`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A line, and whose it is.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    /// `WORKER/CONTAINER`, by which rules name it.
    pub workload: &'a str,
    /// What tells this container from its successor of the same name (`WORKER/ID`); the workload if that is unknown.
    /// Buckets and, by default, cooldowns are per container.
    pub container: &'a str,
    /// Where it was written.
    pub stream: Stream,
    /// What `on = "line"` matches: the line, or the message of one that was wrapped on its way.
    pub text: &'a [u8],
    /// What `on = "msg"` and `on = "field:NAME"` match. Asked only if a rule wants it.
    pub parts: &'a dyn Parts,
}

/// The parts of a syslog message.
pub trait Parts {
    /// The message after the header, if the line is a syslog message and has one.
    fn msg(&self) -> Option<&[u8]>;

    /// The value of a field, with its escapes undone.
    fn field(&self, name: &str) -> Option<Cow<'_, [u8]>>;
}

/// A line that has no parts.
#[derive(Debug, Clone, Copy)]
pub struct NoParts;

impl Parts for NoParts {
    fn msg(&self) -> Option<&[u8]> {
        None
    }

    fn field(&self, _name: &str) -> Option<Cow<'_, [u8]>> {
        None
    }
}

impl<'a> Line<'a> {
    /// What a rule looks at; `None` if the line has no such part.
    pub(crate) fn subject(&self, on: &Subject) -> Option<Cow<'a, [u8]>> {
        match on {
            Subject::Line => Some(Cow::Borrowed(self.text)),
            Subject::Msg => self.parts.msg().map(Cow::Borrowed),
            Subject::Field(name) => self.parts.field(name),
        }
    }
}
