//! Whole, in order, once.

use docker_demux::Stream;

use super::daemon::{Daemon, Fault, Got, Running, stamp};
use crate::source::{
    Cause, Cursor,
    api::{ApiError, doubts::STALL},
};

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("line {n}")).collect()
}

fn write(daemon: &mut Daemon, range: std::ops::Range<usize>) {
    numbers(range).iter().for_each(|text| daemon.out(text));
}

#[tokio::test]
async fn reads_what_is_there_and_what_comes_and_ends() {
    let mut daemon = Daemon::start(false, "json-file");
    write(&mut daemon, 0..5000);
    let mut reader = daemon.reader(&Cursor::default());
    let mut got = Got::default();
    reader.until(&mut got, 5000).await;
    write(&mut daemon, 5000..5003);
    reader.until(&mut got, 5003).await;
    let half = stamp(daemon.clock + 1);
    daemon.piece(Stream::Stdout, &half, vec![b'x'; 16384]);
    daemon.stop();
    reader.rest(&mut got).await.unwrap();
    let mut expected = numbers(0..5003);
    expected.push(format!("{}…16384", "x".repeat(20)));
    assert_eq!(got.lines, expected);
    assert!(got.ended);
    assert_eq!(got.gaps, []);
}

#[tokio::test]
async fn an_empty_log_and_a_removed_container_end() {
    let daemon = Daemon::start(false, "json-file");
    daemon.stop();
    let mut got = Got::default();
    daemon
        .reader(&Cursor::default())
        .rest(&mut got)
        .await
        .unwrap();
    assert!(got.ended && got.lines.is_empty());
}

/// What makes it hard: equal lines, long ones, over-long ones, two streams, equal stamps, a clock that steps back.
fn history(daemon: &mut Daemon) {
    let long = "x".repeat(40_000);
    for n in 0..40 {
        daemon.out("same");
        daemon.out(if n % 10 == 3 { &long } else { "a" });
        if !daemon.container.tty {
            daemon.line(Stream::Stderr, "same");
        }
        if n == 20 {
            // Not onto the same stamps: equal lines of equal stamps are only told apart when they follow each other.
            daemon.clock -= 15_500;
        }
    }
    // Podman knows seconds only.
    for _ in 0..20 {
        daemon.stamped(Stream::Stdout, "2026-11-21T01:00:00Z", "same");
    }
    if !daemon.container.tty {
        // A long line of one stream, and another in between.
        let at = "2026-11-21T02:00:00.000000001Z";
        daemon.piece(Stream::Stdout, at, vec![b'y'; 16384]);
        daemon.stamped(Stream::Stderr, "2026-11-21T02:00:00.000000002Z", "between");
        daemon.piece(Stream::Stdout, at, b"end\n".to_vec());
    }
}

#[tokio::test]
async fn a_reader_killed_after_each_batch_gives_the_same() {
    for (tty, driver) in [(false, "json-file"), (false, "local"), (true, "json-file")] {
        let mut daemon = Daemon::start(tty, driver);
        history(&mut daemon);
        daemon.stop();
        let mut all = Got::default();
        daemon
            .reader(&Cursor::default())
            .rest(&mut all)
            .await
            .unwrap();
        let count = if tty { 100 } else { 142 };
        assert_eq!(all.lines.len(), count, "{tty} {driver}");

        // The same container, writing while readers come and go.
        let mut live = Daemon::start(tty, driver);
        history(&mut live);
        let entries = std::mem::take(&mut live.state.lock().unwrap().entries);
        let mut got = Got::default();
        let mut fed = 0;
        while fed < entries.len() {
            let mut reader = live.reader(&got.cursor);
            let more = (fed + 1 + fed % 5).min(entries.len());
            let before = got.lines.len();
            live.state
                .lock()
                .unwrap()
                .entries
                .extend_from_slice(&entries[fed..more]);
            live.stir();
            fed = more;
            // Long enough to have given something, if there was a line to give.
            if expected_lines(&live).await > before {
                reader.until(&mut got, before + 1).await;
            }
            reader.task.abort();
        }
        live.stop();
        live.reader(&got.cursor.clone())
            .rest(&mut got)
            .await
            .unwrap();
        assert_eq!(got.lines, all.lines, "{tty} {driver}");
        assert_eq!(got.gaps, []);
    }
}

/// Counts the lines that a fresh reader would give now.
async fn expected_lines(daemon: &Daemon) -> usize {
    let copy = Daemon::start(daemon.container.tty, &daemon.container.log_driver);
    copy.state.lock().unwrap().entries = daemon.state.lock().unwrap().entries.clone();
    copy.stop();
    let mut got = Got::default();
    copy.reader(&Cursor::default())
        .rest(&mut got)
        .await
        .unwrap();
    // The last one may be given only because the copy has ended.
    got.lines.len() - 1
}

#[tokio::test]
async fn goes_on_over_a_long_absence() {
    let mut daemon = Daemon::start(false, "json-file");
    write(&mut daemon, 0..10);
    let mut reader = daemon.reader(&Cursor::default());
    let mut got = Got::default();
    reader.until(&mut got, 10).await;
    reader.task.abort();
    write(&mut daemon, 10..20_000);
    let mut reader = daemon.reader(&got.cursor);
    reader.until(&mut got, 20_000).await;
    assert_eq!((got.lines, got.gaps.len()), (numbers(0..20_000), 0));
    reader.task.abort();
}

#[tokio::test]
async fn lines_that_rotation_ate_are_a_gap() {
    let mut daemon = Daemon::start(false, "json-file");
    write(&mut daemon, 0..10);
    let mut reader = daemon.reader(&Cursor::default());
    let mut got = Got::default();
    reader.until(&mut got, 10).await;
    reader.task.abort();
    write(&mut daemon, 10..3000);
    daemon.state.lock().unwrap().oldest = 2000;
    daemon.stop();
    daemon
        .reader(&got.cursor.clone())
        .rest(&mut got)
        .await
        .unwrap();
    assert_eq!(got.lines, [numbers(0..10), numbers(2000..3000)].concat());
    assert_eq!(got.gaps.len(), 1);
    let gap = got.gaps[0];
    assert_eq!((gap.cause, gap.bytes), (Cause::RotatedAway, None));
    assert_eq!(gap.to_ns.unwrap() - gap.from_ns.unwrap(), 1991 * 1000);
}

#[tokio::test]
async fn a_follower_that_skips_or_repeats_is_not_believed() {
    for fault in [Fault::Skips(10_000), Fault::Repeats(1000)] {
        let mut daemon = Daemon::start(false, "json-file");
        write(&mut daemon, 0..10);
        let mut reader = daemon.reader(&Cursor::default());
        let mut got = Got::default();
        reader.until(&mut got, 10).await;
        daemon.followed().await;
        write(&mut daemon, 10..11);
        reader.until(&mut got, 11).await;
        daemon.fault(fault);
        // A burst, larger than what a follower may give without a pause.
        let padding = "p".repeat(40);
        let texts: Vec<String> = (0..20_000).map(|n| format!("{n} {padding}")).collect();
        for text in &texts {
            daemon.out(text);
        }
        reader.until(&mut got, 11 + texts.len()).await;
        assert!(got.lines[11..] == texts, "{fault:?}");
        assert_eq!(got.gaps, []);
        reader.task.abort();
    }
}

/// A reader at the live edge behind eleven lines.
async fn following(daemon: &mut Daemon, got: &mut Got) -> Running {
    write(daemon, 0..10);
    let mut reader = daemon.reader(&Cursor::default());
    reader.until(got, 10).await;
    daemon.followed().await;
    write(daemon, 10..11);
    reader.until(got, 11).await;
    reader
}

#[tokio::test]
async fn what_a_follower_skips_during_a_stall_is_read() {
    let mut daemon = Daemon::start(false, "json-file");
    let mut got = Got::default();
    let mut reader = following(&mut daemon, &mut got).await;
    // Nobody takes these for a while: the stall.
    write(&mut daemon, 11..12);
    tokio::time::sleep(STALL).await;
    write(&mut daemon, 12..13);
    tokio::time::sleep(2 * STALL).await;
    daemon.fault(Fault::Skips(0));
    write(&mut daemon, 13..2000);
    reader.until(&mut got, 2000).await;
    assert!(got.lines == numbers(0..2000));
    assert_eq!(got.gaps, []);
    reader.task.abort();
}

#[tokio::test]
async fn a_line_that_a_follower_skips_the_rest_of_is_not_given() {
    let mut daemon = Daemon::start(false, "json-file");
    let mut got = Got::default();
    let mut reader = following(&mut daemon, &mut got).await;
    daemon.clock += 1000;
    let long = stamp(daemon.clock);
    daemon.piece(Stream::Stdout, &long, vec![b'x'; 16384]);
    daemon.line(Stream::Stderr, "between");
    reader.until(&mut got, 12).await;
    daemon.fault(Fault::Skips(0));
    daemon.piece(Stream::Stdout, &long, b"end\n".to_vec());
    write(&mut daemon, 0..1500);
    reader.until(&mut got, 1513).await;
    assert_eq!(
        got.lines[11..13],
        ["!between".to_owned(), format!("{}…16387", "x".repeat(20))]
    );
    assert!(got.lines[13..] == numbers(0..1500));
    assert_eq!(got.gaps, []);
    reader.task.abort();
}

#[tokio::test]
async fn a_clock_that_steps_back_under_a_follower_costs_nothing() {
    let mut daemon = Daemon::start(false, "json-file");
    daemon.clock = 1_000_000;
    let mut reader = daemon.reader(&Cursor::default());
    let mut got = Got::default();
    for step in 0..5 {
        write(&mut daemon, step * 10..step * 10 + 10);
        reader.until(&mut got, step * 10 + 10).await;
        daemon.clock -= 100_000;
    }
    daemon.stop();
    reader.rest(&mut got).await.unwrap();
    assert_eq!((got.lines, got.gaps.len()), (numbers(0..50), 0));
}

#[tokio::test]
async fn says_what_is_wrong() {
    let mut daemon = Daemon::start(false, "json-file");
    daemon.container.id = "4567".into();
    let error = daemon
        .reader(&Cursor::default())
        .rest(&mut Got::default())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "docker api answers 404: No such container"
    );

    let mut daemon = Daemon::start(false, "json-file");
    write(&mut daemon, 0..10);
    daemon.fault(Fault::Cuts(5));
    let mut got = Got::default();
    let error = daemon
        .reader(&Cursor::default())
        .rest(&mut got)
        .await
        .unwrap_err();
    assert!(matches!(error, ApiError::Io(_)), "{error:?}");
    daemon.fault(Fault::None);
    daemon.stop();
    daemon
        .reader(&got.cursor.clone())
        .rest(&mut got)
        .await
        .unwrap();
    assert_eq!(got.lines, numbers(0..10));

    let (sender, _) = tokio::sync::mpsc::channel(1);
    let endpoint = crate::source::api::Endpoint::Unix("/nonexistent/docker.sock".into());
    let container = std::sync::Arc::new(crate::source::Container::default());
    let none = crate::source::api::run(
        &endpoint,
        container,
        None,
        sender,
        crate::source::Pool::new(1),
    )
    .await;
    assert!(matches!(none, Err(ApiError::Io(_))), "{none:?}");
}

#[tokio::test]
async fn a_stream_that_ends_under_a_running_container_is_an_error() {
    let mut daemon = Daemon::start(false, "json-file");
    write(&mut daemon, 0..3);
    let mut reader = daemon.reader(&Cursor::default());
    let mut got = Got::default();
    reader.until(&mut got, 3).await;
    daemon.end_streams();
    let error = reader.rest(&mut got).await.unwrap_err();
    assert!(matches!(error, ApiError::Stream(_)), "{error:?}");
    assert!(!got.ended);
}
