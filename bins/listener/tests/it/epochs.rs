//! Merged outputs of `.log` epochs, through kill -9 of the real process: of what stands in the archive and is caught
//! up with, and of what forwarders send.

use std::collections::HashMap;
use std::path::Path;

use archive::{Archive, EpochId, Form, Options, Origin, StreamKey};
use memchr::memchr_iter;

use crate::link::epoch;
use crate::sending::Sending;
use crate::support::{Master, count, message, until};

/// What an archive holds: the text of each epoch, in the order in which they were opened.
#[derive(Default)]
struct Texts(Vec<(StreamKey, EpochId, Vec<u8>)>);

impl Texts {
    /// Appends lines to a stream's epoch, which is opened if it is not the stream's yet.
    async fn write(&mut self, data: &Path, worker: &str, stream: &str, epoch: u8, lines: usize) {
        let key = StreamKey::new(worker, stream).unwrap();
        let id = EpochId::from_bytes([epoch; 16]);
        let known = self.0.iter().position(|(k, e, _)| (k, *e) == (&key, id));
        let at = known.unwrap_or_else(|| {
            self.0.push((key.clone(), id, Vec::new()));
            self.0.len() - 1
        });
        let text = &mut self.0[at].2;
        let start = text.len();
        let first = count(text);
        for n in first..first + lines {
            text.extend_from_slice(format!("{} {worker} {stream} {epoch} ", message(n)).as_bytes());
            // Octets that are special to somebody, but not to us.
            text.extend_from_slice([&b"\r"[..], b"\0\x1b", b"", b"\xff"][n % 4]);
            text.extend_from_slice(if n % 17 == 0 { b"\n\n" } else { b"\n" });
        }
        let options = Options {
            segment_max_bytes: 300_000,
            ..Options::default()
        };
        let mut archive = Archive::open(data, options).await.unwrap();
        let origin = Origin::default();
        let handle = archive
            .open_epoch(&key, id, Form::Log, 0, origin)
            .await
            .unwrap();
        // Windows end wherever they like.
        for window in text[start..].chunks(77_777) {
            for piece in window.chunks(9_999) {
                archive.append(handle, piece).unwrap();
            }
            archive.commit().await.unwrap();
        }
        archive.close().await.unwrap();
    }

    /// Records that some of a stream's epoch will never come; in its text [`HOLE`]s stand for that.
    async fn gap(&mut self, data: &Path, worker: &str, stream: &str, epoch: u8, len: usize) {
        let key = StreamKey::new(worker, stream).unwrap();
        let id = EpochId::from_bytes([epoch; 16]);
        let known = self.0.iter_mut().find(|(k, e, _)| *k == key && *e == id);
        let (.., text) = known.unwrap();
        let mut archive = Archive::open(data, Options::default()).await.unwrap();
        let handle = archive
            .open_epoch(&key, id, Form::Log, 0, Origin::default())
            .await
            .unwrap();
        text.extend(std::iter::repeat_n(HOLE, len));
        archive.gap(handle, text.len() as u64, "lag-cap").unwrap();
        archive.commit().await.unwrap();
        archive.close().await.unwrap();
    }

    /// Says that nothing follows in a stream's epoch.
    async fn seal(&self, data: &Path, worker: &str, stream: &str, epoch: u8) {
        let key = StreamKey::new(worker, stream).unwrap();
        let [id, next] = [epoch, epoch + 1].map(|n| EpochId::from_bytes([n; 16]));
        let mut archive = Archive::open(data, Options::default()).await.unwrap();
        let handle = archive
            .open_epoch(&key, id, Form::Log, 0, Origin::default())
            .await
            .unwrap();
        archive.roll(handle, next, "gone", None).unwrap();
        archive.seal(handle).unwrap();
        archive.commit().await.unwrap();
        archive.close().await.unwrap();
    }

    fn lines(&self) -> usize {
        self.0.iter().map(|(_, _, text)| count(text)).sum()
    }

    /// Takes the merged `.log` apart by what its lines say, and compares it with the epochs.
    fn check(&self, master: &Master) {
        let log = master.merged_log();
        let mut merged = HashMap::<Vec<u8>, Vec<u8>>::new();
        let mut last = Vec::new();
        for line in log.split_inclusive(|&b| b == b'\n') {
            // An empty line belongs to the line before.
            if line != b"\n" {
                let tags = line.rsplitn(5, |&b| b == b' ').collect::<Vec<_>>();
                last = [tags[3], tags[2], tags[1]].join(&b' ');
            }
            merged
                .entry(last.clone())
                .or_default()
                .extend_from_slice(line);
        }
        assert_eq!(merged.len(), self.0.len());
        for (key, epoch, text) in &self.0 {
            let number = u8::from_str_radix(&epoch.to_string()[..2], 16).unwrap();
            let name = format!("{} {} {number}", key.worker(), key.stream());
            assert!(merged[name.as_bytes()] == held(text), "{name}");
        }
        let texts: HashMap<_, _> = self
            .0
            .iter()
            .map(|(key, epoch, text)| ((key.worker(), key.stream(), epoch.to_string()), text))
            .collect();
        let mut seen = HashMap::<_, u64>::new();
        for record in master.merged_json() {
            let text = |name: &str| record[name].as_str().unwrap().to_owned();
            let (worker, stream, epoch) = (
                text("source_worker"),
                text("source_stream"),
                text("source_epoch"),
            );
            let offset = record["source_offset"].as_u64().unwrap();
            let before = seen.insert((worker.clone(), stream.clone(), epoch.clone()), offset);
            assert!(
                before.is_none_or(|before| before < offset),
                "in order, and once"
            );
            let line = &texts[&(&*worker, &*stream, epoch)][offset as usize..];
            let line = &line[..memchr_iter(b'\n', line).next().unwrap()];
            assert_eq!(text("raw_line"), String::from_utf8_lossy(line));
        }
        let records: usize = texts
            .values()
            .map(|text| {
                held(text)
                    .split(|&b| b == b'\n')
                    .filter(|line| !line.is_empty())
                    .count()
            })
            .sum();
        assert_eq!(master.merged_json().len(), records);
    }
}

/// What the archive has of a text.
fn held(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|&b| b != HOLE).collect()
}

/// Stands for an octet that never came.
const HOLE: u8 = 1;

#[tokio::test]
async fn a_killed_listener_catches_up_with_the_archive_and_merges_each_line_once() {
    let mut master = Master::init();
    let data = master.data();
    let mut texts = Texts::default();
    for round in 0..6usize {
        if round == 3 {
            // An index that is gone is made again, and nothing is merged again.
            for file in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(data.join(format!("index.sqlite{file}")));
            }
        }
        for (worker, stream) in [("web-1", "decky"), ("web-1", "audit"), ("db", "decky")] {
            // A new epoch every other round, and late lines for the one before.
            let epoch = 10 + (round / 2) as u8;
            texts.write(&data, worker, stream, epoch, 1500).await;
            texts.gap(&data, worker, stream, epoch, 100 + round).await;
            if round % 2 == 0 && round > 0 {
                texts.write(&data, worker, stream, epoch - 1, 300).await;
                texts.seal(&data, worker, stream, epoch - 1).await;
            }
        }
        let all = texts.lines();
        let enough = count(&master.merged_log()) + (round * 1777) % 3000 + 1;
        master.start().await;
        until("some of it is merged", async || {
            (count(&master.merged_log()) >= enough.min(all)).then_some(())
        })
        .await;
        master.kill();
    }
    master.start().await;
    master.merged(texts.lines()).await;
    master.stop();
    texts.check(&master);
    // Of the epochs that are sealed nothing is kept.
    let places = offsets::Store::open(data.join("merged/places.sqlite"))
        .await
        .unwrap();
    let mut kept: Vec<_> = places
        .list("merged/")
        .await
        .unwrap()
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    kept.sort();
    let open = EpochId::from_bytes([12; 16]);
    let expected =
        ["db/decky", "web-1/audit", "web-1/decky"].map(|stream| format!("merged/{stream}/{open}"));
    assert_eq!(kept, expected);
}

#[tokio::test]
async fn epochs_of_a_stream_are_merged_in_their_order_and_parts_of_lines_wait() {
    let mut master = Master::init();
    let data = master.data();
    let key = StreamKey::new("web-1", "decky").unwrap();
    let mut archive = Archive::open(&data, Options::default()).await.unwrap();
    // Identifiers say nothing of the order.
    let ids = ["99", "11", "55", "00"].map(|text| EpochId::parse(&text.repeat(16)).unwrap());
    for (n, id) in ids.into_iter().enumerate() {
        let origin = Origin::default();
        let handle = archive
            .open_epoch(&key, id, Form::Log, 0, origin)
            .await
            .unwrap();
        let text = format!("{n} first\n{n} second\n{n} unfinished");
        archive.append(handle, text.as_bytes()).unwrap();
        archive.commit().await.unwrap();
    }
    archive.close().await.unwrap();
    let expected: String = (0..4).map(|n| format!("{n} first\n{n} second\n")).collect();
    master.start().await;
    master.merged(8).await;
    master.stop();
    assert_eq!(String::from_utf8(master.merged_log()).unwrap(), expected);
    // The rest of one line, and more.
    let mut archive = Archive::open(&data, Options::default()).await.unwrap();
    let origin = Origin::default();
    let handle = archive
        .open_epoch(&key, ids[1], Form::Log, 0, origin)
        .await
        .unwrap();
    archive.append(handle, b" no more\nlate\n").unwrap();
    archive.commit().await.unwrap();
    archive.close().await.unwrap();
    master.start().await;
    master.merged(10).await;
    master.stop();
    let expected = format!("{expected}1 unfinished no more\nlate\n");
    assert_eq!(String::from_utf8(master.merged_log()).unwrap(), expected);
}

/// A worker's file: lines that say whose they are, among them empty ones and one that takes several frames.
fn file(worker: &str, lines: usize, long: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for n in 0..lines {
        text.extend_from_slice(format!("{} {worker}", message(n)).as_bytes());
        if n == lines / 2 {
            text.extend(std::iter::repeat_n(b'x', long));
            text.extend_from_slice(format!(" {worker}").as_bytes());
        }
        text.extend_from_slice(if n % 100 == 0 { b"\n\n" } else { b"\n" });
    }
    text
}

#[tokio::test]
async fn a_killed_listener_merges_once_what_is_sent_again() {
    let mut master = Master::with(
        "commit = { max_delay = \"5ms\", max_bytes = \"256KiB\" }\n[segment]\nmax_bytes = \"1MiB\"\n",
    );
    let names = ["web-1", "web-2"];
    let identities = names.map(|name| master.enroll(name));
    let mut sending =
        names.map(|name| Sending::new("decky", epoch(1), file(name, 25_000, 3 << 20)));
    let total: usize = sending.iter().map(|sending| sending.bytes.len()).sum();
    for round in 1..6 {
        master.start().await;
        let before = count(&master.merged_log());
        let [one, two] = &mut sending;
        // Whoever is cut off goes on in the next round.
        let _ = tokio::join!(
            one.send(&master, &identities[0]),
            two.send(&master, &identities[1]),
            async {
                until("enough is merged", async || {
                    let merged = count(&master.merged_log()) - before;
                    (merged > round * 1_111 || master.merged_log().len() >= total).then_some(())
                })
                .await;
                master.signal(rustix::process::Signal::KILL);
            }
        );
        master.kill();
    }
    master.start().await;
    for (sending, identity) in sending.iter_mut().zip(&identities) {
        let why = sending.send(&master, identity).await.unwrap();
        assert_eq!(why, delivery::sender::Why::Finished);
    }
    until("everything is merged", async || {
        (master.merged_log().len() >= total).then_some(())
    })
    .await;
    master.stop();
    let log = master.merged_log();
    let mut merged = HashMap::<&[u8], Vec<u8>>::new();
    let mut last: &[u8] = b"";
    for line in log.split_inclusive(|&b| b == b'\n') {
        let text = &line[..line.len() - 1];
        if !text.is_empty() {
            last = text.rsplit(|&b| b == b' ').next().unwrap();
        }
        merged.entry(last).or_default().extend_from_slice(line);
    }
    for (sending, name) in sending.iter().zip(names) {
        // An empty line may stand behind a line of the other one.
        let mut lines = merged[name.as_bytes()].clone();
        lines.dedup_by(|a, b| (*a, *b) == (b'\n', b'\n'));
        let mut expected = sending.bytes.clone();
        expected.dedup_by(|a, b| (*a, *b) == (b'\n', b'\n'));
        assert!(lines == expected, "{name}");
        assert!(master.stream(name, "decky", epoch(1)) == sending.bytes);
    }
    assert_eq!(log.len(), total);
    // One line is too long for a record.
    assert_eq!(master.merged_json().len(), 2 * 25_000 - 2);
}

#[tokio::test]
async fn a_line_over_any_limit_comes_in_marked_parts_of_its_own() {
    let mut master = Master::started().await;
    let identity = master.enroll("web-1");
    let long = 9 << 20;
    let bytes = file("web-1", 100, long);
    let mut sending = Sending::new("decky", epoch(1), bytes.clone());
    sending.send(&master, &identity).await.unwrap();
    until("everything is merged", async || {
        (master.merged_log().len() > bytes.len()).then_some(())
    })
    .await;
    master.stop();
    let log = master.merged_log();
    let lines: Vec<_> = log.split(|&b| b == b'\n').collect();
    let marked: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with(b"<134>1 - web-1 decky - raw [logferry@32473 "))
        .collect();
    assert_eq!(marked.len(), 2);
    // Put together again, the file is the source.
    let mut whole = Vec::new();
    for line in &lines {
        if marked.contains(&line) {
            assert_eq!(whole.pop(), Some(b'\n'));
            let text = line.windows(2).position(|pair| pair == b"] ").unwrap() + 2;
            whole.extend_from_slice(&line[text..]);
        } else {
            whole.extend_from_slice(line);
        }
        whole.push(b'\n');
    }
    whole.pop();
    assert!(whole == bytes);
}

#[tokio::test]
async fn a_stream_that_cannot_be_read_holds_up_no_other() {
    let mut master = Master::init();
    let data = master.data();
    let mut texts = Texts::default();
    for worker in ["db", "web-1", "zoo"] {
        texts.write(&data, worker, "decky", 10, 3000).await;
    }
    let id = EpochId::from_bytes([10; 16]);
    let closed = data.join(format!("archive/web-1/decky/{id}/{:020}.log", 0));
    std::fs::rename(&closed, master.path("away")).unwrap();
    std::fs::create_dir(&closed).unwrap();
    master.start().await;
    // Empty lines included.
    let each = texts.lines() / 3;
    master.merged(2 * each).await;
    assert!(master.metric("merged_failures_total").await > 0);
    assert_eq!(count(&master.merged_log()), 2 * each);
    std::fs::remove_dir(&closed).unwrap();
    std::fs::rename(master.path("away"), &closed).unwrap();
    master.merged(3 * each).await;
    master.stop();
    texts.check(&master);
}

#[tokio::test]
async fn a_line_that_is_being_cut_goes_on_after_a_restart() {
    let mut master = Master::init();
    let key = StreamKey::new("web-1", "decky").unwrap();
    let id = EpochId::from_bytes([1; 16]);
    let data = master.data();
    let append = async |bytes: &[u8]| {
        let mut archive = Archive::open(&data, Options::default()).await.unwrap();
        let handle = archive
            .open_epoch(&key, id, Form::Log, 0, Origin::default())
            .await
            .unwrap();
        for window in bytes.chunks(4 << 20) {
            archive.append(handle, window).unwrap();
            archive.commit().await.unwrap();
        }
        archive.close().await.unwrap();
    };
    let part = 4 << 20;
    append(&[&b"before\n"[..], &vec![b'x'; 2 * part + 5]].concat()).await;
    master.start().await;
    master.merged(3).await;
    master.stop();
    append(b"y\nafter\n").await;
    master.start().await;
    master.merged(5).await;
    master.stop();
    let log = String::from_utf8(master.merged_log()).unwrap();
    let mark = |part: &str| {
        format!(
            "<134>1 - web-1 decky - raw [logferry@32473 source_stream=\"decky\" source_epoch=\"{id}\" line=\"7\" \
             part={part}] "
        )
    };
    let x = "x".repeat(part);
    let (second, last) = (mark("\"2\""), mark("\"3\" last=\"1\""));
    let expected = format!("before\n{x}\n{second}{x}\n{last}xxxxxy\nafter\n");
    assert!(log == expected);
}
