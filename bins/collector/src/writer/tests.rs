//! What goes into a batch beside the lines.

use std::{io, sync::Arc, time::Duration};

use docker_demux::{Line, Stream};
use offsets::Change;
use tokio::sync::mpsc;

use super::{Work, Writer};
use crate::{
    checkpoint::Checkpoint,
    config::{Commit, Rendering},
    gap::Notice,
    render::{Output, Renderer},
    roster::Roster,
    source::{Batch, Cause, Container, Cursor, Event, Gap, Pool, Taken},
};

fn writer(roster: Arc<Roster>) -> Writer {
    let rendering = Rendering {
        stderr: false,
        wrap: true,
        window: Duration::ZERO,
        events: Vec::new(),
        drop_services: Vec::new(),
        max_keys: 1,
        tracer: None,
    };
    Writer::new(Renderer::new(&rendering), roster)
}

fn container(id: &str) -> Arc<Container> {
    Arc::new(Container {
        id: id.to_owned(),
        name: format!("name-{id}"),
        ..Container::default()
    })
}

fn batch(id: &str, stamp: i64, lines: usize) -> Batch {
    let mut lease = Pool::new(1).try_take().unwrap();
    for _ in 0..lines {
        let start = lease.bytes.len();
        lease.bytes.extend_from_slice(b"line");
        let line = Line {
            start,
            end: start + 4,
            time_ns: stamp,
            stream: Stream::Stdout,
            part: None,
            terminated: true,
        };
        lease.index.push(line);
    }
    let taken = Taken {
        stamp,
        count: 1,
        hash: 0,
        next_part: None,
    };
    Batch {
        container: container(id),
        lines: lease,
        cursor: Cursor {
            stdout: Some(taken),
            ..Cursor::default()
        },
        gaps: Vec::new(),
        corrupt: 0,
        end: false,
    }
}

/// Keys that the batch puts, with checkpoints read back.
fn puts(work: &Work) -> Vec<(String, Option<Checkpoint>)> {
    let put = |change: &Change| match change {
        Change::Put { key, value } => (key.clone(), serde_json::from_slice(value).ok()),
        Change::Delete { key } => panic!("{key} deleted"),
    };
    work.changes.iter().map(put).collect()
}

#[test]
fn puts_one_checkpoint_per_container_behind_its_last_line() {
    let mut writer = writer(Arc::default());
    for (id, stamp, lines) in [("a", 1, 2), ("b", 2, 1), ("a", 3, 1)] {
        writer.apply(Event::Batch(batch(id, stamp, lines)));
    }
    let work = writer.take(Output::default());
    assert_eq!(work.output.log.split(|byte| *byte == b'\n').count(), 5);
    let puts = puts(&work);
    assert_eq!(puts.len(), 2);
    let checkpoint = puts[0].1.clone().unwrap();
    assert_eq!(
        (puts[0].0.as_str(), checkpoint.books.written),
        ("container/a", 3)
    );
    assert_eq!(checkpoint.cursor.unwrap().stdout.unwrap().stamp, 3);
    // The next batch speaks of nobody, but counts on.
    assert!(writer.take(Output::default()).changes.is_empty());
    writer.apply(Event::Batch(batch("a", 4, 1)));
    let work = writer.take(Output::default());
    assert_eq!(work.books[0].1.books.written, 4);
}

#[test]
fn announces_gaps_with_the_lines_behind_them() {
    let mut writer = writer(Arc::default());
    let gap = Gap {
        stream: None,
        from_ns: Some(1),
        to_ns: None,
        bytes: Some(9),
        lines: None,
        cause: Cause::RotatedAway,
    };
    for _ in 0..2 {
        let mut batch = batch("a", 5, 1);
        batch.gaps = vec![gap];
        writer.apply(Event::Batch(batch));
    }
    writer.missed(Notice {
        id: "z".to_owned(),
        ..Notice::default()
    });
    let work = writer.take(Output::default());
    let keys: Vec<_> = work
        .gaps
        .iter()
        .map(|(key, gap)| (key.as_str(), gap.number))
        .collect();
    let numbered = |id, n| format!("gap/{id}/{n:020}");
    assert_eq!(
        keys,
        [
            (&*numbered("a", 1), 1),
            (&*numbered("a", 2), 2),
            (&*numbered("z", 1), 1)
        ]
    );
    let announced = puts(&work)
        .into_iter()
        .filter(|(key, _)| key.starts_with("gap/"))
        .count();
    assert_eq!(announced, 3);
    assert_eq!(work.gaps[0].1.fact().len, Some(9));
}

#[test]
fn reports_an_end_with_the_batch_and_goes_on_from_durable_books() {
    let roster = Arc::new(Roster::default());
    let mut writer = writer(roster.clone());
    let mut last = batch("a", 7, 1);
    last.end = true;
    writer.apply(Event::Batch(last));
    let failed = Event::Failed {
        container: container("b"),
        error: io::Error::other("gone"),
    };
    writer.apply(failed);
    let work = writer.take(Output::default());
    assert_eq!(
        work.finished[0]
            .cursor
            .as_ref()
            .unwrap()
            .stdout
            .unwrap()
            .stamp,
        7
    );
    // A reader that handed out nothing has no cursor to tell.
    assert_eq!(
        (
            work.finished[1].cursor.clone(),
            work.finished[1].error.as_deref()
        ),
        (None, Some("gone"))
    );
    for (id, checkpoint) in &work.books {
        roster.durable(id, &checkpoint.books);
    }
    writer.apply(Event::Batch(batch("a", 8, 1)));
    assert_eq!(writer.take(Output::default()).books[0].1.books.written, 2);
}

#[tokio::test]
async fn hands_over_by_size_while_the_batch_before_is_on_its_way() {
    let (events, received) = mpsc::channel(4);
    let (_missed, no_reader) = mpsc::channel(1);
    let (full, mut filled) = mpsc::channel(1);
    let (empty, emptied) = mpsc::channel(2);
    let commit = Commit {
        max_delay: Duration::from_secs(3600),
        max_bytes: 100,
    };
    let pulse = service::status::Health::new().pulse("writer");
    let run =
        tokio::spawn(writer(Arc::default()).run(commit, received, no_reader, full, emptied, pulse));
    empty.send(Output::default()).await.unwrap();
    events.send(Event::Batch(batch("a", 1, 3))).await.unwrap();
    assert_eq!(filled.recv().await.unwrap().books[0].1.books.written, 3);
    // No output came back: the next batch is rendered and waits, and then nothing more is taken.
    events.send(Event::Batch(batch("a", 2, 3))).await.unwrap();
    for stamp in 3..7 {
        events
            .send(Event::Batch(batch("a", stamp, 3)))
            .await
            .unwrap();
    }
    assert!(events.try_send(Event::Batch(batch("a", 7, 3))).is_err());
    assert!(filled.try_recv().is_err());
    empty.send(Output::default()).await.unwrap();
    assert_eq!(filled.recv().await.unwrap().books[0].1.books.written, 6);
    // Closed: what was taken is handed over.
    drop(events);
    let mut written = 6;
    for _ in 0..4 {
        empty.send(Output::default()).await.unwrap();
        written += 3;
        assert_eq!(
            filled.recv().await.unwrap().books[0].1.books.written,
            written
        );
    }
    assert!(filled.recv().await.is_none());
    run.await.unwrap();
}
