//! kill -9 and orderly stops under load, with clients that behave like the original's.
//!
//! Without acknowledgement a crash can lose what lay in sockets and in the group under way, and nothing else: of each
//! connection the log holds a beginning, once, in order, and what is missing shows as gaps in the numbers.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::bed::{Bed, frame, until, write_in_two};
use crate::gaps::sequence_gaps;

const CLIENTS: usize = 4;

/// With `RUN_SLOW_TESTS`, four times as many.
fn kills() -> u32 {
    if std::env::var_os("RUN_SLOW_TESTS").is_some() {
        200
    } else {
        50
    }
}

/// For each of a client's connections the numbers whose frames were written to it.
type Written = Vec<Vec<i32>>;

/// Writes five records a millisecond, and keeps a frame that could not be written for the next connection.
fn client(
    bed: Arc<Bed>,
    session: String,
    done: Arc<AtomicBool>,
) -> JoinHandle<(Written, UnixStream)> {
    std::thread::spawn(move || {
        let (mut written, mut next) = (vec![Vec::new()], 0);
        let mut stream = bed.connect();
        // The last ones are enough that every hole before becomes a gap.
        let mut left = 60;
        while left > 0 {
            let wire = frame(&session, next..next + 5);
            if write_in_two(&mut stream, &wire).is_ok() {
                written.last_mut().unwrap().extend(next..next + 5);
                next += 5;
                left -= i32::from(done.load(Ordering::Relaxed));
            } else {
                stream = bed.connect();
                written.push(Vec::new());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        (written, stream)
    })
}

/// The numbers in the log by session and connection, in the log's order.
fn found(bed: &Bed) -> BTreeMap<String, Vec<(u64, Vec<i32>)>> {
    let (lines, records) = (bed.lines(), bed.records());
    assert_eq!(lines.len(), records.len());
    let mut found: BTreeMap<String, Vec<(u64, Vec<i32>)>> = BTreeMap::new();
    for (line, record) in lines.iter().zip(&records) {
        assert_eq!(
            record["raw_line"],
            line.as_str(),
            "log and JSON go together"
        );
        let session = record["session_id"].as_str().unwrap().to_owned();
        let conn = record["conn"].as_u64().unwrap();
        let number = record["sequence_number"].as_i64().unwrap() as i32;
        let connections = found.entry(session).or_default();
        match connections.iter_mut().find(|(known, _)| *known == conn) {
            Some((_, numbers)) => numbers.push(number),
            None => connections.push((conn, vec![number])),
        }
    }
    found
}

/// Ascending numbers as `(first, how many)`.
fn runs(numbers: &[i32]) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers.iter().map(|number| *number as u64) {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == number => *count += 1,
            _ => runs.push((number, 1)),
        }
    }
    runs
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_ends_of_connections_and_nothing_else() {
    let bed = Arc::new(Bed::new());
    let done = Arc::new(AtomicBool::new(false));
    let session = |client: usize| format!("session-{client}");
    let mut program = bed.program();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| client(Arc::clone(&bed), session(n), Arc::clone(&done)))
        .collect();
    let mut life = 7;
    for _ in 0..kills() {
        let before = bed.size();
        // Not before it has written something; then at any moment.
        until(async || bed.size() > before).await;
        life = (life * 37 + 11) % 83;
        tokio::time::sleep(Duration::from_millis(life)).await;
        drop(program);
        program = bed.program();
    }
    done.store(true, Ordering::Relaxed);
    let clients: Vec<_> = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .collect();
    assert_eq!(program.stop(), Some(0));

    let found = found(&bed);
    let (mut sent, mut kept) = (0, 0);
    for (n, (written, _)) in clients.iter().enumerate() {
        let mut brought = found[&session(n)].iter().map(|(_, numbers)| numbers);
        let (mut now, mut missing) = (brought.next(), Vec::new());
        let last = written.len() - 1;
        for (connection, numbers) in written.iter().enumerate() {
            let here = now.filter(|brought| numbers.first() == brought.first());
            let kept_here = here.map_or(&[][..], Vec::as_slice);
            assert!(
                numbers.starts_with(kept_here),
                "client {n}, connection {connection}: {kept_here:?}"
            );
            if here.is_some() {
                now = brought.next();
            }
            assert!(
                connection < last || kept_here.len() == numbers.len(),
                "client {n}: an orderly stop loses nothing"
            );
            missing.extend_from_slice(&numbers[kept_here.len()..]);
            sent += numbers.len();
            kept += kept_here.len();
        }
        assert_eq!(now, None, "client {n}: more came than was written");
        let gaps = sequence_gaps(&bed, &session(n));
        assert_eq!(
            gaps,
            runs(&missing),
            "client {n}: what is missing is told, once"
        );
    }
    assert!(kept >= kills() as usize, "{kept} of {sent} records");
    assert!(bed.ledger().iter().all(|fact| fact["kind"] != "duplicate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn orderly_restarts_under_load_lose_nothing() {
    let bed = Arc::new(Bed::new());
    let done = Arc::new(AtomicBool::new(false));
    let mut program = bed.program();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| client(Arc::clone(&bed), format!("session-{n}"), Arc::clone(&done)))
        .collect();
    for _ in 0..10 {
        let before = bed.size();
        until(async || bed.size() > before + 20_000).await;
        assert_eq!(program.stop(), Some(0));
        program = bed.program();
    }
    done.store(true, Ordering::Relaxed);
    let clients: Vec<_> = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .collect();
    assert_eq!(program.stop(), Some(0));
    let found = found(&bed);
    for (n, (written, _)) in clients.iter().enumerate() {
        let brought: Vec<i32> = found[&format!("session-{n}")]
            .iter()
            .flat_map(|(_, numbers)| numbers.clone())
            .collect();
        assert_eq!(brought, written.concat(), "client {n}");
    }
    let broken = |fact: &&serde_json::Value| fact["kind"] != "broken-frame";
    assert_eq!(bed.ledger().iter().find(broken), None);
}
