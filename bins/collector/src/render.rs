//! Lines of a container turned into the octets of `.log` and `.json`: a pure step without IO, clock
//! or allocation per line.

use docker_demux::{Line, Lines, Stream};
use ratelimit::Dedupe;
use rfc5424::{
    Part, Timestamp, Wrap,
    decnet::{self, Class, Extras, Record},
};

use crate::{
    books::Books,
    config::Rendering,
    otlp::{self, Context, Place, Span, Tracer},
    select::Facts,
};

/// Turns lines into octets; keeps the memory of the dedupe window.
#[derive(Debug)]
pub struct Renderer {
    stderr: bool,
    wrap: bool,
    dedupe: Dedupe,
    /// A handful: comparing lengths first beats hashing every service.
    drop_services: Vec<Vec<u8>>,
    tracer: Option<Tracer>,
    /// The line at hand among all of its container.
    number: u64,
}

/// What a rendered line says of its container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// The container's name, HOSTNAME of a wrapped line.
    pub name: String,
    /// Its service, APP-NAME of a wrapped line.
    pub service: String,
    /// The first 12 digits of its id.
    pub id: String,
    /// What its lines say of their stream instead of `stdout` or `stderr`.
    pub stream: Option<&'static str>,
}

/// The octets of one batch.
#[derive(Debug, Default)]
pub struct Output {
    /// Whole lines for `.log`.
    pub log: Vec<u8>,
    /// Whole lines for `.json`.
    pub json: Vec<u8>,
    /// Spans of the traced records among them, not ended yet.
    pub spans: Vec<Span>,
    /// Traced records beyond those.
    pub spans_over: u64,
}

impl Renderer {
    /// A renderer with an empty window.
    #[must_use]
    pub fn new(rendering: &Rendering) -> Renderer {
        let events = rendering.events.iter().map(String::as_str);
        Renderer {
            stderr: rendering.stderr,
            wrap: rendering.wrap,
            dedupe: Dedupe::new(rendering.window, events, rendering.max_keys),
            drop_services: rendering
                .drop_services
                .iter()
                .map(|s| s.clone().into_bytes())
                .collect(),
            tracer: rendering.tracer,
            number: 0,
        }
    }

    /// Appends `lines` of one container to `out` and enters them into its books.
    pub fn render(&mut self, lines: &Lines, label: &Label, out: &mut Output, books: &mut Books) {
        let first = books.read;
        books.read += lines.index.len() as u64;
        let before = out.log.len();
        for (number, line) in (first..).zip(&lines.index) {
            self.number = number;
            let bytes = &lines.bytes[line.start..line.end];
            if line.stream == Stream::Stderr && !self.stderr {
                books.dropped.stderr += 1;
            } else if bytes.is_empty() && line.part.is_none() {
                books.dropped.blank += 1;
            } else {
                self.line(line, bytes, label, out, books);
            }
        }
        books.bytes += (out.log.len() - before) as u64;
        debug_assert!(books.balance(), "{books:?}");
    }

    fn line(
        &mut self,
        line: &Line,
        bytes: &[u8],
        label: &Label,
        out: &mut Output,
        books: &mut Books,
    ) {
        books.written += 1;
        if line.part.as_ref().is_some_and(|part| part.n > 0) {
            // A later part means nothing alone: it is marked even where raw lines are wanted.
            return wrapped(line, bytes, label, out, books);
        }
        match decnet::classify(bytes) {
            Class::Record(record) => {
                copied(bytes, out);
                self.record(&record, line, label, out, books);
            }
            // Our wrapper is ours alone to write: around a container's own it says whose line this really is, even where
            // raw lines are wanted.
            Class::Wrapped => wrapped(line, bytes, label, out, books),
            Class::Raw if self.wrap => wrapped(line, bytes, label, out, books),
            Class::Raw | Class::Strict => copied(bytes, out),
        }
    }

    fn record(
        &mut self,
        record: &Record<'_>,
        line: &Line,
        label: &Label,
        out: &mut Output,
        books: &mut Books,
    ) {
        let service = record.service();
        if self.drop_services.iter().any(|dropped| dropped == service) {
            books.records.service += 1;
            return;
        }
        // The line's own time is the clock: a backlog is judged as it would have been live.
        let allowed = self.dedupe.allow(
            line.time_ns,
            record.attacker_ip(),
            record.decky(),
            record.service(),
            record.event_type(),
        );
        if !allowed {
            books.records.repeated += 1;
            return;
        }
        books.records.written += 1;
        let stream = label.stream.unwrap_or(line.stream.as_str());
        let place = Place {
            id: &label.id,
            stream,
            number: self.number,
            time_ns: line.time_ns,
        };
        let context = self.tracer.and_then(|tracer| tracer.event(&place));
        let traceparent = context.map(|context| context.to_string());
        let extras = Extras {
            fallback_time: Timestamp::from_unix_ns(line.time_ns),
            source: None,
            container: Some(&label.name),
            stream: Some(stream),
            traceparent: traceparent.as_deref(),
        };
        record.write_json(&mut out.json, &extras);
        if let Some(context) = context {
            out.trace(record, context);
        }
    }
}

impl Output {
    /// Adds the span of a record; who knows the time begins it.
    fn trace(&mut self, record: &Record<'_>, context: Context) {
        if self.spans.len() >= MAX_SPANS {
            self.spans_over += 1;
            return;
        }
        let text = |octets| String::from_utf8_lossy(octets).into_owned();
        self.spans.push(Span {
            name: otlp::EVENT,
            context,
            link: None,
            start_ns: 0,
            end_ns: 0,
            attributes: vec![
                ("decky", text(record.decky())),
                ("service", text(record.service())),
                ("event_type", text(record.event_type())),
                ("attacker_ip", text(record.attacker_ip())),
            ],
        });
    }
}

impl Label {
    /// What rendering needs of a container's facts.
    #[must_use]
    pub fn of(facts: &Facts) -> Label {
        Label {
            name: facts.summary.name.clone(),
            service: facts.service().to_owned(),
            id: facts.summary.id.chars().take(12).collect(),
            stream: None,
        }
    }
}

fn copied(bytes: &[u8], out: &mut Output) {
    out.log.extend_from_slice(bytes);
    out.log.push(b'\n');
}

fn wrapped(line: &Line, bytes: &[u8], label: &Label, out: &mut Output, books: &mut Books) {
    books.wrapped += 1;
    let wrap = Wrap {
        stderr: line.stream == Stream::Stderr,
        stream: label.stream,
        time_unix_ns: line.time_ns,
        hostname: &label.name,
        app_name: &label.service,
        container: &label.name,
        id: &label.id,
        part: line.part.map(|part| Part {
            line: part.line,
            n: part.n + 1,
            last: part.last,
        }),
    };
    wrap.write(&mut out.log);
    copied(bytes, out);
}

/// Spans in a batch: as many as wait to be sent at most.
const MAX_SPANS: usize = 8192;

#[cfg(test)]
mod tests;
