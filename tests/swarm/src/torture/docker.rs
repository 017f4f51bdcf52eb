//! Containers without Docker: log files as its json-file driver writes and rotates them, and the four answers of a
//! daemon that lead a collector to them. Real containers would be started a thousand times too slowly; the tests with
//! real ones are the others of this crate.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use serde_json::{Value, json};

/// The label that the collector looks for.
pub(super) const LABEL: &str = "logferry.torture=true";
/// Docker cuts a line into pieces of so many octets.
const PIECE: usize = 16 * 1024;

/// A container's log.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    rotate_at: u64,
    stamp: u64,
    batch: Vec<u8>,
}

impl Log {
    /// The log of container `id` below `dir`, rotated whenever it has `rotate_at` octets; nothing is ever deleted.
    pub(super) fn create(dir: &Path, id: &str, rotate_at: u64) -> anyhow::Result<Log> {
        let path = log_path(dir, id);
        fs::create_dir_all(path.parent().context("no parent")?)?;
        let file = open(&path)?;
        Ok(Log {
            path,
            file,
            size: 0,
            rotate_at,
            stamp: 0,
            batch: Vec::new(),
        })
    }

    /// Takes a line; it is written by [`Log::flush`].
    pub(super) fn print(&mut self, line: &[u8], stderr: bool) -> anyhow::Result<()> {
        let text = std::str::from_utf8(line).context("a container's line is text")?;
        let stream = if stderr { "stderr" } else { "stdout" };
        let mut rest = text;
        // All pieces of a line have one stamp.
        let stamp = self.stamp();
        loop {
            // All long lines are ASCII, so a cut tears no character.
            let piece = &rest[..rest.len().min(PIECE)];
            rest = &rest[piece.len()..];
            let end = if rest.is_empty() { "\\n" } else { "" };
            let quoted = Value::from(piece).to_string();
            let quoted = &quoted[..quoted.len() - 1];
            writeln!(
                self.batch,
                "{{\"log\":{quoted}{end}\",\"stream\":\"{stream}\",\"time\":\"{stamp}\"}}"
            )?;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// Writes what was taken, and rotates the file when it is full.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        self.file.write_all(&self.batch)?;
        self.size += self.batch.len() as u64;
        self.batch.clear();
        if self.size >= self.rotate_at {
            self.rotate()?;
        }
        Ok(())
    }

    /// As Docker does: every number up by one, the live file becomes number 1.
    fn rotate(&mut self) -> anyhow::Result<()> {
        let numbered = |n: u32| PathBuf::from(format!("{}.{n}", self.path.display()));
        let last = (1..).find(|n| !numbered(*n).exists()).unwrap_or(1);
        for n in (1..last).rev() {
            fs::rename(numbered(n), numbered(n + 1))?;
        }
        fs::rename(&self.path, numbered(1))?;
        self.file = open(&self.path)?;
        self.size = 0;
        Ok(())
    }

    /// Now, but later than any stamp before.
    fn stamp(&mut self) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_nanos() as u64);
        self.stamp = now.max(self.stamp + 1);
        let (seconds, nanos) = (self.stamp / 1_000_000_000, self.stamp % 1_000_000_000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{nanos:09}Z",
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    }
}

fn open(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.with_context(|| format!("open {}", path.display()))
}

fn log_path(dir: &Path, id: &str) -> PathBuf {
    dir.join(id).join(format!("{id}-json.log"))
}

/// The date of a day since 1970, by walking the years: there are few.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [
        31,
        28 + u64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

/// A 64-digit id.
pub(super) fn id(number: usize) -> String {
    format!("{:064x}", number + 0xf00)
}

/// The daemon's side of the socket; ends with the process.
#[derive(Debug)]
pub(super) struct Daemon {
    /// Kept open, since a stream of events that ends makes a collector ask everything again.
    _listeners: Arc<Mutex<Vec<UnixStream>>>,
}

impl Daemon {
    /// Answers on `socket` about containers of these names, whose logs are below `dir`.
    pub(super) fn start(socket: &Path, dir: &Path, names: &[String]) -> anyhow::Result<Daemon> {
        let listener =
            UnixListener::bind(socket).with_context(|| format!("bind {}", socket.display()))?;
        let containers: Arc<Vec<(String, String, PathBuf)>> = Arc::new(
            names
                .iter()
                .enumerate()
                .map(|(n, name)| (id(n), name.clone(), log_path(dir, &id(n))))
                .collect(),
        );
        let listeners = Arc::<Mutex<Vec<UnixStream>>>::default();
        let kept = Arc::clone(&listeners);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (containers, kept) = (Arc::clone(&containers), Arc::clone(&kept));
                std::thread::spawn(move || answer(stream, &containers, &kept));
            }
        });
        Ok(Daemon {
            _listeners: listeners,
        })
    }
}

fn answer(
    mut stream: UnixStream,
    containers: &[(String, String, PathBuf)],
    kept: &Mutex<Vec<UnixStream>>,
) {
    let Ok(copy) = stream.try_clone() else { return };
    let mut lines = BufReader::new(copy).lines();
    let Some(Ok(request)) = lines.next() else {
        return;
    };
    while lines
        .next()
        .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
    {}
    let target = request.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    // `/v1.41/containers/json` and `/containers/json` are the same question.
    let path = path
        .strip_prefix("/v1.")
        .map_or(path, |rest| &rest[rest.find('/').unwrap_or(0)..]);
    if path == "/events" {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        if stream.write_all(head.as_bytes()).is_ok() {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            // Those of collectors that were killed are not worth keeping.
            let old = kept.len().saturating_sub(8);
            kept.drain(..old);
            kept.push(stream);
        }
        return;
    }
    let asked = path
        .strip_prefix("/containers/")
        .and_then(|rest| rest.strip_suffix("/json"));
    let found = containers
        .iter()
        .find(|(id, ..)| Some(id.as_str()) == asked);
    let (status, body) = match (path, found) {
        ("/version", _) => (
            "200 OK",
            json!({"ApiVersion": "1.41", "Version": "0", "MinAPIVersion": "1.12"}),
        ),
        ("/containers/json", _) => ("200 OK", containers.iter().map(listed).collect()),
        (_, Some(container)) => ("200 OK", inspected(container)),
        _ => ("404 Not Found", json!({"message": "no such container"})),
    };
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // A collector that was killed reads no answer.
    let _ = stream.write_all((head + &body).as_bytes());
}

fn listed((id, name, _): &(String, String, PathBuf)) -> Value {
    json!({
        "Id": id,
        "Names": [format!("/{name}")],
        "Image": "torture",
        "Labels": {"logferry.torture": "true"},
        "State": "running",
    })
}

fn inspected((id, name, path): &(String, String, PathBuf)) -> Value {
    json!({
        "Id": id,
        "Name": format!("/{name}"),
        "LogPath": path,
        "Config": {"Image": "torture", "Labels": {"logferry.torture": "true"}, "Tty": false},
        "State": {"Running": true, "StartedAt": "2026-06-20T00:00:00Z"},
        "HostConfig": {"LogConfig": {"Type": "json-file", "Config": {}}},
    })
}
