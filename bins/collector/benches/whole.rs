//! From Docker's files to `.log` and `.json`: lines/s and CPU seconds, everything durable at the end.
//! `taskset -c 0 cargo bench -p collector --bench whole -- [LINES [DIRECTORIES [BATCH]]]`.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use collector::{
    config::Config,
    fleet::{Chosen, Observation},
    metrics::Metrics,
    run::{self, Sources},
    select::{Facts, LabelRule, Summary, Verdict},
};
use service::{Failure, Telemetry, out};
use tokio::sync::mpsc;

mod samples;

fn main() -> std::process::ExitCode {
    service::finish(measure())
}

fn measure() -> Result<(), Failure> {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse().ok());
    let lines = numbers.next().unwrap_or(1_000_000);
    let directories = numbers.next().unwrap_or(1);
    let batch = numbers.next().unwrap_or(4 << 20);
    let place = tempfile::tempdir()?;
    let (containers, bytes) = make(place.path(), lines, directories)?;
    let settings = format!(
        "log = {:?}\nstate = {:?}\n[commit]\nmax_bytes = {batch}\n",
        place.path().join("out/decky.log"),
        place.path().join("state")
    );
    let path = place.path().join("collector.toml");
    std::fs::write(&path, settings)?;
    let (config, _) = Config::load(&path)?;

    let before = cpu_seconds()?;
    let began = Instant::now();
    service::runtime(2)?.block_on(collect(&config, containers, lines))?;
    let (elapsed, cpu) = (began.elapsed(), cpu_seconds()? - before);
    let count = lines as f64;
    out::json(&serde_json::json!({
        "measurement": "collector, file to log and json",
        "lines": lines,
        "directories": directories,
        "docker_bytes": bytes,
        "seconds": elapsed.as_secs_f64(),
        "lines_per_s": count / elapsed.as_secs_f64(),
        "cpu_s_per_million": cpu / count * 1e6,
        "lines_per_cpu_s": count / cpu,
    }))
}

/// Collects everything and stops: whatever was read by then is durable.
async fn collect(config: &Config, containers: Vec<Chosen>, lines: usize) -> anyhow::Result<()> {
    let mut telemetry = Telemetry::new("collector", "0");
    let metrics = Metrics::new(&mut telemetry.registry);
    let health = telemetry.health();
    let opened = run::open(config, &metrics, &health).await?;
    let roster = opened.roster();
    let (sender, observations) = mpsc::channel(1);
    let present = containers
        .iter()
        .map(|chosen| chosen.facts.summary.id.clone())
        .collect();
    sender
        .send(Observation::Listed {
            chosen: containers,
            present,
        })
        .await?;
    let all_read = async {
        while roster.written() < lines as u64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    run::collect(
        config,
        opened,
        Sources {
            observations,
            metrics,
            health,
            syslog: None,
            tracing: None,
        },
        all_read,
    )
    .await
}

/// Writes json-file logs of `lines` lines in all.
fn make(place: &Path, lines: usize, directories: usize) -> anyhow::Result<(Vec<Chosen>, u64)> {
    let rule = LabelRule::parse("bench=true").context("a label")?;
    let mut bytes = 0;
    let mut containers = Vec::new();
    for d in 0..directories {
        let id = format!("{d:064x}");
        let directory = place.join("containers").join(&id);
        std::fs::create_dir_all(&directory)?;
        let log_path = directory.join(format!("{id}-json.log"));
        let mut file = std::io::BufWriter::new(std::fs::File::create(&log_path)?);
        let share = lines / directories + usize::from(d < lines % directories);
        for n in 0..share {
            let log = serde_json::Value::String(format!(
                "{}\n",
                samples::LINES[n % samples::LINES.len()]
            ));
            let (seconds, nanos) = (n / 1000 % 3600, n % 1000 * 1_000_000);
            let (minutes, seconds) = (seconds / 60, seconds % 60);
            let entry = format!(
                "{{\"log\":{log},\"stream\":\"stdout\",\"time\":\"2026-06-20T14:{minutes:02}:{seconds:02}.{nanos:09}Z\"}}\n"
            );
            bytes += entry.len() as u64;
            file.write_all(entry.as_bytes())?;
        }
        file.flush()?;
        let summary = Summary {
            id,
            name: format!("decky-{d}"),
            image: "decoy".to_owned(),
            labels: BTreeMap::new(),
            running: true,
        };
        let facts = Facts {
            summary,
            driver: "json-file".to_owned(),
            log_path: Some(log_path),
            started_ns: 1,
            ..Facts::default()
        };
        containers.push(Chosen {
            facts,
            why: Verdict::Label(rule.clone()),
        });
    }
    Ok((containers, bytes))
}

/// User and system time of this process (proc(5): fields 14 and 15, in hundredths).
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks: Vec<f64> = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    Ok(ticks.iter().sum::<f64>() / 100.0)
}
