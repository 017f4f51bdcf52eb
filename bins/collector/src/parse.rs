//! The `parse` command: messages in, one JSON value each out.

use std::io::{self, BufRead, Read, Write};

use anyhow::Context as _;
use framing::{Decoder, Frame, MAX_FRAME};
use rfc5424::{
    Timestamp,
    decnet::{Extras, Record},
};

use crate::args::{Format, Input};

/// Parses everything in `input`.
///
/// # Errors
/// Bad framing, after the whole frames before it were printed; input or output that fails.
pub fn parse(
    mode: Input,
    format: Format,
    now_ns: i64,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> anyhow::Result<()> {
    let mut printer = Printer {
        format,
        now_ns,
        json: Vec::new(),
        output,
    };
    match mode {
        Input::Lines => lines(input, &mut printer),
        Input::Frames => frames(input, &mut printer),
    }
}

struct Printer<'a, W> {
    format: Format,
    now_ns: i64,
    json: Vec<u8>,
    output: &'a mut W,
}

impl<W: Write> Printer<'_, W> {
    fn message(&mut self, message: &[u8]) -> io::Result<()> {
        self.json.clear();
        match self.format {
            Format::Decnet => match Record::parse(message) {
                Some(record) => {
                    let extras = Extras {
                        fallback_time: Timestamp::from_unix_ns(self.now_ns),
                        source: None,
                        container: None,
                        stream: None,
                        traceparent: None,
                    };
                    record.write_json(&mut self.json, &extras);
                }
                None => self.json.extend_from_slice(b"null\n"),
            },
            Format::Rfc5424 => match rfc5424::parse(message) {
                Ok(message) => rfc5424::rfc5424_json(&message, &mut self.json),
                Err(error) => rfc5424::rfc5424_error_json(&error, &mut self.json),
            },
        }
        self.output.write_all(&self.json)
    }
}

fn lines(input: &mut impl BufRead, printer: &mut Printer<'_, impl Write>) -> anyhow::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let limited = input.by_ref().take(MAX_LINE);
        let read = { limited }
            .read_until(b'\n', &mut line)
            .context("read stdin")?;
        if read == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if read as u64 == MAX_LINE {
            anyhow::bail!("a line is longer than {MAX_LINE} octets");
        }
        printer.message(&line).context("write to stdout")?;
    }
}

fn frames(input: &mut impl BufRead, printer: &mut Printer<'_, impl Write>) -> anyhow::Result<()> {
    let decoder = Decoder::new(MAX_FRAME);
    let mut buffer = Vec::new();
    let mut position = 0;
    loop {
        let more = input.fill_buf().context("read stdin")?;
        let read = more.len();
        buffer.extend_from_slice(more);
        input.consume(read);
        let mut taken = 0;
        loop {
            let decoded = decoder.decode(&buffer[taken..]);
            let here = position + taken;
            match decoded.map_err(|error| error.offset_by(here))? {
                Some((Frame::Message(message), consumed)) => {
                    printer.message(message).context("write to stdout")?;
                    taken += consumed;
                }
                Some((Frame::Control(_), _)) => anyhow::bail!("a control message at octet {here}"),
                None => break,
            }
        }
        buffer.drain(..taken);
        position += taken;
        if read == 0 {
            let ended = framing::at_eof(&buffer);
            return Ok(ended.map_err(|error| error.offset_by(position))?);
        }
    }
}

/// Longest line that is read into memory.
const MAX_LINE: u64 = 64 << 20;

#[cfg(test)]
mod tests;
