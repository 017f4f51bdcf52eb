//! How fast lines become octets: parse + record alone, and rendering. `cargo bench -p collector`.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use collector::{
    books::Books,
    config::Rendering,
    render::{Label, Output, Renderer},
};
use docker_demux::{Line, Lines, Stream};
use rfc5424::{
    Timestamp,
    decnet::{Extras, Record},
};
use service::out::Out;

mod samples;

const LINES: usize = 16_384;
const ROUNDS: usize = 40;

fn main() -> std::process::ExitCode {
    service::finish(measure())
}

fn measure() -> Result<(), service::Failure> {
    let mut lines = Lines::default();
    for n in 0..LINES {
        let start = lines.bytes.len();
        lines
            .bytes
            .extend_from_slice(samples::LINES[n % samples::LINES.len()].as_bytes());
        lines.index.push(Line {
            start,
            end: lines.bytes.len(),
            time_ns: 1_781_964_187_125_301_999 + i64::try_from(n).unwrap_or(0) * 1_000_000,
            stream: Stream::Stdout,
            part: None,
            terminated: true,
        });
    }
    let mut out = Out::new();

    let mut json = Vec::new();
    let best = best(|| {
        json.clear();
        for (line, bytes) in lines.iter() {
            if let Some(record) = Record::parse(bytes) {
                let fallback_time = Timestamp::from_unix_ns(line.time_ns);
                let extras = Extras {
                    fallback_time,
                    source: None,
                    container: None,
                    stream: None,
                    traceparent: None,
                };
                record.write_json(&mut json, &extras);
            }
        }
        black_box(&json);
    });
    out.line(format_args!("parse + record: {}", rate(best)))?;

    let rendering = Rendering {
        stderr: false,
        wrap: true,
        window: Duration::from_secs(1),
        events: vec!["connection".to_owned()],
        drop_services: vec!["sshd".to_owned(), "cron".to_owned()],
        max_keys: 10_000,
        tracer: None,
    };
    let label = Label {
        name: "omega".to_owned(),
        service: "http".to_owned(),
        id: "0".repeat(12),
        stream: None,
    };
    let mut renderer = Renderer::new(&rendering);
    let mut output = Output::default();
    let best = self::best(|| {
        output.log.clear();
        output.json.clear();
        renderer.render(&lines, &label, &mut output, &mut Books::default());
        black_box(&output);
    });
    out.line(format_args!("render:         {}", rate(best)))?;
    out.finish()
}

fn best(mut round: impl FnMut()) -> Duration {
    let time = |round: &mut dyn FnMut()| {
        let began = Instant::now();
        round();
        began.elapsed()
    };
    (0..ROUNDS)
        .map(|_| time(&mut round))
        .min()
        .unwrap_or_default()
}

fn rate(best: Duration) -> String {
    let ns = best.as_secs_f64() * 1e9 / LINES as f64;
    format!("{ns:.0} ns a line, {:.2} million lines/s", 1e3 / ns)
}
