//! kill -9 at random moments: the log is what it would have been without.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use crate::host::{Host, entry};

const KILLS: usize = 20;
const CONTAINERS: usize = 3;

/// Many identical lines, some of them unique: a line that is lost or repeated shows in the order.
fn text(container: usize, n: u64) -> String {
    let record = format!(
        r#"<134>1 2026-06-20T14:03:07+00:00 omega{container} http - request [relay@55555 src_ip="203.0.113.4""#
    );
    if n.is_multiple_of(17) {
        format!("{record} seq=\"{n}\"]")
    } else {
        format!("{record}]")
    }
}

#[test]
fn loses_and_repeats_nothing_over_kills() {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(7);
    let mut rng = SmallRng::seed_from_u64(seed);
    let host = Host::new("");
    let containers: Vec<_> = (0..CONTAINERS)
        .map(|c| host.run_container(&format!("web{c}")))
        .collect();
    let over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = containers
        .iter()
        .enumerate()
        .map(|(c, container)| {
            let (container, over) = (container.clone(), over.clone());
            std::thread::spawn(move || {
                let mut file = OpenOptions::new()
                    .append(true)
                    .open(&container.log_path)
                    .unwrap();
                let mut n = 0;
                while !over.load(Ordering::Relaxed) {
                    let chunk: String = (0..20)
                        .map(|i| entry((n + i) * 1000, &text(c, n + i), "stdout"))
                        .collect();
                    file.write_all(chunk.as_bytes()).unwrap();
                    n += 20;
                    if n % 4_000 == 0 {
                        container.rotate();
                        file = OpenOptions::new()
                            .append(true)
                            .open(&container.log_path)
                            .unwrap();
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
                n
            })
        })
        .collect();
    let size = || std::fs::metadata(host.log()).map_or(0, |log| log.len());
    for kill in 0..KILLS {
        let before = size();
        let collector = host.start();
        // Every fourth is killed while it starts, the others after they wrote something.
        if kill % 4 != 3 {
            host.until("progress", || size() > before);
        }
        // A random moment is the subject here, not a synchronisation.
        std::thread::sleep(Duration::from_millis(rng.random_range(0..80)));
        collector.kill();
    }
    over.store(true, Ordering::Relaxed);
    let counts: Vec<u64> = writers
        .into_iter()
        .map(|writer| writer.join().unwrap())
        .collect();
    let total = usize::try_from(counts.iter().sum::<u64>()).unwrap();
    let collector = host.start();
    host.until_lines(total);
    assert_eq!(collector.stop(), Some(0));

    let mut next: BTreeMap<usize, u64> = BTreeMap::new();
    for line in host.lines() {
        let line = String::from_utf8(line).unwrap();
        let at = line.find("omega").unwrap() + 5;
        let container: usize = line[at..=at].parse().unwrap();
        let n = next.entry(container).or_default();
        assert_eq!(
            line,
            text(container, *n),
            "seed {seed}, container {container}, line {n}"
        );
        *n += 1;
    }
    assert_eq!(
        next.into_values().collect::<Vec<_>>(),
        counts,
        "seed {seed}"
    );
    let records = host.records();
    assert_eq!(records.len(), total, "seed {seed}");

    let _collector = host.start();
    host.until("status", || host.status().len() == CONTAINERS);
    for (c, count) in counts.iter().enumerate() {
        let books = &host.status()[&format!("web{c}")]["books"];
        assert_eq!(
            (&books["read"], &books["written"]),
            (&(*count).into(), &(*count).into())
        );
    }
}
