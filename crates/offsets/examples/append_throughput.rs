//! What a planned append costs: `append_throughput [DIR] [LINES_PER_BATCH] [MILLION_LINES]`.
//!
//! Writes 230-byte lines to a `.log` and 500-byte ones to a `.json` as the collector does, and the same
//! bytes bare (write and fdatasync per batch, no redo, no checkpoints) before and after it: the machine
//! is noisy, so only a comparison within one run means something.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use offsets::{Appender, Change, Limits, Store};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args
        .next()
        .unwrap_or_else(|| "/tmp/append_throughput".into());
    let per_batch: usize = args.next().map_or(Ok(20_000), |text| text.parse())?;
    let million: f64 = args.next().map_or(Ok(1.0), |text| text.parse())?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small positive number"
    )]
    let batches = (million * 1e6) as usize / per_batch;
    let [log, json] = [lines(230, per_batch), lines(500, per_batch)];
    let dir = Path::new(&dir);
    for _ in 0..2 {
        fresh(dir)?;
        measure("bare", batches, per_batch, || {
            bare(dir, batches, &log, &json)
        })?;
        fresh(dir)?;
        measure("planned", batches, per_batch, || {
            planned(dir, batches, &log, &json)
        })?;
    }
    fs::remove_dir_all(dir)?;
    Ok(())
}

fn fresh(dir: &Path) -> std::io::Result<()> {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir)?;
    // What the run before left for the disk is not this one's cost.
    rustix::fs::sync();
    Ok(())
}

fn lines(len: usize, count: usize) -> Vec<u8> {
    let byte = |at: usize| {
        if at % len == len - 1 {
            b'\n'
        } else {
            b'a' + u8::try_from(at * 7 % 26).unwrap_or(0)
        }
    };
    (0..len * count).map(byte).collect()
}

fn measure(
    what: &str,
    batches: usize,
    per_batch: usize,
    run: impl FnOnce() -> Result<String, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let (began, cpu) = (Instant::now(), cpu_seconds()?);
    let more = run()?;
    let wall = began.elapsed().as_secs_f64();
    let [user, system] = cpu_seconds()?;
    let (user, system) = (user - cpu[0], system - cpu[1]);
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let (count, lines) = (batches as f64, (batches * per_batch) as f64);
    println!(
        "{what:8} {per_batch} lines/batch: {:.0} batches/s, {:.0} MB/s, {:.2} s, {:.3} user and {:.3} system CPU s per million lines{more}",
        count / wall,
        lines * 730.0 / wall / 1e6,
        wall / lines * 1e6,
        user / lines * 1e6,
        system / lines * 1e6,
    );
    Ok(())
}

fn bare(dir: &Path, batches: usize, log: &[u8], json: &[u8]) -> Result<String, Box<dyn Error>> {
    let open = |name: &str| -> std::io::Result<File> {
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(dir.join(name))
    };
    let (mut a, mut b) = (open("decky.log")?, open("decky.json")?);
    for _ in 0..batches {
        a.write_all(log)?;
        b.write_all(json)?;
        a.sync_data()?;
        b.sync_data()?;
    }
    Ok(String::new())
}

fn planned(dir: &Path, batches: usize, log: &[u8], json: &[u8]) -> Result<String, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let store = Store::open(dir.join("offsets.sqlite")).await?;
        let targets = [dir.join("decky.log"), dir.join("decky.json")];
        let (mut appender, _) =
            Appender::open(store, dir.join("redo"), &targets, Limits::default()).await?;
        let mut parts = vec![Vec::new(), Vec::new()];
        for n in 0..batches {
            // The copy into the batch is the caller's work; it makes most of the user time.
            parts[0].extend_from_slice(log);
            parts[1].extend_from_slice(json);
            let cursor = |key: usize| Change::Put {
                key: format!("cursor/{key:064}"),
                value: vec![0; 120],
            };
            // As many containers as a batch of that size may be from.
            let changes = (0..(log.len() / 230).min(300))
                .map(|key| cursor(key + n % 2))
                .collect();
            parts = appender.append(parts, changes).await?.parts;
        }
        appender.flush().await?;
        let counters = appender.counters();
        Ok(format!(
            ", {:.1} syncs/batch",
            f64::from(u32::try_from(counters.syncs)?) / f64::from(u32::try_from(batches)?)
        ))
    })
}

/// User and system time of this process, in ticks of 10 ms.
fn cpu_seconds() -> Result<[f64; 2], Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no stat")?;
    let ticks = |index| {
        fields
            .split_ascii_whitespace()
            .nth(index)
            .unwrap_or("0")
            .parse::<f64>()
    };
    Ok([ticks(11)? / 100.0, ticks(12)? / 100.0])
}
