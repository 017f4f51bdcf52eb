//! What a line of the input is to rules: whose it is, on which stream it was written, and what of it is matched.

use std::borrow::Cow;

use rfc5424::{Message, Wrapped};
use rules::{Parts, Stream};

/// Makes lines; its buffers go round.
#[derive(Debug)]
pub(crate) struct Reader {
    worker: String,
    strip_time: bool,
    workload: String,
    container: String,
}

/// A line, taken apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// `WORKER/CONTAINER`, else `WORKER/HOSTNAME`.
    pub(crate) workload: &'a str,
    /// `WORKER/ID` where our element names the container's id, else the workload.
    pub(crate) container: &'a str,
    /// The container's id.
    pub(crate) id: Option<&'a str>,
    /// Standard output, but for wrapped lines of standard error.
    pub(crate) stream: Stream,
    /// The message of a wrapped line, else the line.
    pub(crate) text: &'a [u8],
    /// The line's time stamp, as it came.
    pub(crate) ts: Option<&'a str>,
    message: Option<Message<'a>>,
}

impl Reader {
    /// For the lines of one worker.
    pub(crate) fn new(worker: &str, strip_time: bool) -> Self {
        Self {
            worker: worker.to_owned(),
            strip_time,
            workload: String::new(),
            container: String::new(),
        }
    }

    /// The same for the lines of another worker.
    pub(crate) fn of(&mut self, worker: &str) -> &mut Self {
        if self.worker != worker {
            worker.clone_into(&mut self.worker);
        }
        self
    }

    /// Takes a line apart, without its LF.
    pub(crate) fn read<'a>(&'a mut self, line: &'a [u8]) -> Line<'a> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // A collector wraps what a container imitates of this again, so that none can speak for another.
        let wrapped = Wrapped::of(line).filter(|wrapped| !wrapped.container.is_empty());
        let message = match &wrapped {
            Some(wrapped) => Some(wrapped.message),
            None => rfc5424::parse(line).ok(),
        };
        let name = match (&wrapped, &message) {
            (Some(wrapped), _) => wrapped.container.as_ref(),
            (None, Some(message)) => message.hostname.unwrap_or(NOBODY),
            (None, None) => NOBODY,
        };
        join(&mut self.workload, &self.worker, name);
        let id = wrapped.as_ref().map(|wrapped| wrapped.id.as_ref());
        let id = id.filter(|id| !id.is_empty());
        join(&mut self.container, &self.worker, id.unwrap_or(name));
        let text = match &wrapped {
            Some(wrapped) => wrapped.message.msg.unwrap_or_default(),
            None => line,
        };
        let stderr = wrapped
            .as_ref()
            .is_some_and(|wrapped| wrapped.stream == "stderr");
        Line {
            workload: &self.workload,
            container: &self.container,
            id: id
                .is_some()
                .then(|| &self.container[self.worker.len() + 1..]),
            stream: if stderr {
                Stream::Stderr
            } else {
                Stream::Stdout
            },
            text: if self.strip_time {
                strip_time(text)
            } else {
                text
            },
            ts: message
                .as_ref()
                .and_then(|message| Some(message.timestamp?.text)),
            message,
        }
    }
}

impl<'a> Line<'a> {
    /// What rules are told.
    pub(crate) fn facts(&'a self) -> rules::Line<'a> {
        rules::Line {
            workload: self.workload,
            container: self.container,
            stream: self.stream,
            text: self.text,
            parts: self,
        }
    }

    /// The container's name, or the host's.
    pub(crate) fn name(&self) -> &'a str {
        self.workload.split_once('/').map_or("", |(_, name)| name)
    }
}

impl Parts for Line<'_> {
    fn msg(&self) -> Option<&[u8]> {
        let msg = self.message.as_ref()?.msg?;
        Some(msg.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(msg))
    }

    fn field(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let elements = self.message.as_ref()?.structured_data.iter();
        let mut params = elements.flat_map(|element| element.params());
        let value = params.find(|param| param.name == name)?.value();
        Some(match value {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }
}

/// `WORKER/NAME`, the name cut.
fn join(into: &mut String, worker: &str, name: &str) {
    let mut end = name.len().min(MAX_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    into.clear();
    into.push_str(worker);
    into.push('/');
    into.push_str(&name[..end]);
}

/// Cuts a time stamp at the beginning, and the space behind it: what an application prints for itself.
pub(crate) fn strip_time(text: &[u8]) -> &[u8] {
    let head = &text[..text.len().min(STAMP.end() + 1)];
    match memchr::memchr(b' ', head) {
        Some(space) if STAMP.contains(&space) && is_stamp(&text[..space]) => &text[space + 1..],
        _ => text,
    }
}

/// RFC 3339 with any number of digits behind the second.
fn is_stamp(text: &[u8]) -> bool {
    let number = |at: usize, len: usize| -> Option<u32> {
        let digits = text.get(at..at + len)?;
        let digit = |sum: u32, b: &u8| b.is_ascii_digit().then(|| sum * 10 + u32::from(b - b'0'));
        digits.iter().try_fold(0, digit)
    };
    let is = |at: usize, octet: u8| text.get(at) == Some(&octet);
    let (Some(year), Some(month), Some(day)) = (number(0, 4), number(5, 2), number(8, 2)) else {
        return false;
    };
    let (Some(hour), Some(minute), Some(second)) = (number(11, 2), number(14, 2), number(17, 2))
    else {
        return false;
    };
    let marks = is(4, b'-') && is(7, b'-') && is(10, b'T') && is(13, b':') && is(16, b':');
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    if !marks || !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return false;
    }
    let mut rest = &text[19..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return false;
        }
        rest = &fraction[digits..];
    }
    let at = text.len() - rest.len();
    match rest {
        b"Z" => true,
        [b'+' | b'-', _, _, b':', _, _] => {
            number(at + 1, 2).is_some_and(|h| h < 24) && number(at + 4, 2).is_some_and(|m| m < 60)
        }
        _ => false,
    }
}

/// Where the space behind a time stamp may be.
const STAMP: std::ops::RangeInclusive<usize> = 20..=40;

/// The name of a line that names nobody.
const NOBODY: &str = "-";

/// Longest name of a container that is told apart, in octets: a host name's limit (RFC 5424 §6.2.4).
const MAX_NAME: usize = 255;

#[cfg(test)]
mod tests;
