//! Who is traced, and under which ids: a pure function of a record's place, so that a batch that is rendered again after a
//! crash says the same.

use std::fmt;

use blake3::Hasher;

/// A W3C trace context: trace and span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Context {
    /// Identifies the trace.
    pub trace_id: [u8; 16],
    /// Identifies the span.
    pub span_id: [u8; 8],
}

/// Where a record stands.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its container.
    pub id: &'a str,
    /// Its output or transport.
    pub stream: &'a str,
    /// Its number among all lines that were read of the container.
    pub number: u64,
    /// Its stamp in Unix nanoseconds.
    pub time_ns: i64,
}

/// Chooses records by their trace id, as OpenTelemetry's `TraceIdRatioBased` sampler does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tracer {
    /// 63 bits of the trace id must be below this.
    below: u64,
}

impl Tracer {
    /// Traces this share of records, over 0 and at most 1.
    #[must_use]
    pub fn new(share: f64) -> Tracer {
        // A share of 1 takes all 63 bits; the cast holds at the limits.
        Tracer {
            below: (share * (1u64 << 63) as f64) as u64,
        }
    }

    /// The context of the record's span, if the record is traced.
    #[must_use]
    pub fn event(&self, place: &Place<'_>) -> Option<Context> {
        let mut hasher = Hasher::new();
        hasher.update(b"event\0").update(place.id.as_bytes());
        hasher
            .update(b"\0")
            .update(place.stream.as_bytes())
            .update(b"\0");
        hasher.update(&place.number.to_le_bytes());
        hasher.update(&place.time_ns.to_le_bytes());
        let context = Context::of(&hasher);
        (context.sampled_bits() < self.below).then_some(context)
    }

    /// The context of the span of a container's stream that began then.
    #[must_use]
    pub fn stream(&self, id: &str, start_ns: u64) -> Context {
        let mut hasher = Hasher::new();
        hasher
            .update(b"stream\0")
            .update(id.as_bytes())
            .update(b"\0");
        Context::of(hasher.update(&start_ns.to_le_bytes()))
    }
}

impl Context {
    fn of(hasher: &Hasher) -> Context {
        let (mut trace_id, mut span_id) = ([0; 16], [0; 8]);
        let mut output = hasher.finalize_xof();
        output.fill(&mut trace_id);
        output.fill(&mut span_id);
        // All zero means none (W3C Trace Context §3.2.2.3, §3.2.2.4).
        trace_id[0] |= u8::from(trace_id == [0; 16]);
        span_id[0] |= u8::from(span_id == [0; 8]);
        Context { trace_id, span_id }
    }

    fn sampled_bits(&self) -> u64 {
        let (_, low) = self.trace_id.split_at(8);
        low.iter()
            .fold(0, |bits, octet| bits << 8 | u64::from(*octet))
            >> 1
    }
}

/// As in the header `traceparent`, sampled: W3C Trace Context §3.2.
impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        self.trace_id
            .iter()
            .try_for_each(|octet| write!(f, "{octet:02x}"))?;
        f.write_str("-")?;
        self.span_id
            .iter()
            .try_for_each(|octet| write!(f, "{octet:02x}"))?;
        f.write_str("-01")
    }
}
