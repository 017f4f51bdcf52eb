//! The newest file that holds the session, and what attackers may have put in the way.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::{MAX_SHARDS, Missing, Place, WINDOW, find};

const SID: &str = "0d4bb7a2-9c1e-4f0a-8d3e-5a0d4c1b2e77";

struct Stage {
    root: tempfile::TempDir,
}

impl Stage {
    fn new() -> Stage {
        let stage = Stage {
            root: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(stage.directory()).unwrap();
        stage
    }

    fn directory(&self) -> PathBuf {
        self.root.path().join("omega/ssh/transcripts")
    }

    fn shard(&self, day: usize) -> PathBuf {
        self.directory()
            .join(format!("sessions-2026-06-{day:02}.jsonl"))
    }

    fn find(&self) -> Result<PathBuf, Missing> {
        find(self.root.path(), &place())
    }
}

fn place() -> Place {
    Place::new("omega", "ssh", SID).unwrap()
}

fn line() -> String {
    format!("{{\"sid\":\"{SID}\",\"t\":0}}\n")
}

#[test]
fn finds_the_newest() {
    let stage = Stage::new();
    assert!(matches!(stage.find(), Err(Missing::NotFound)));
    fs::write(stage.shard(18), line()).unwrap();
    fs::write(stage.shard(19), line()).unwrap();
    fs::write(stage.shard(20), "{\"sid\":\"another\"}\n").unwrap();
    // Later by name, but no transcripts.
    for name in [
        "sessions-2026-06-21.jsonl.gz",
        "sessions-9999-99-9x.jsonl",
        "sessions-.jsonl",
        "x",
    ] {
        fs::write(stage.directory().join(name), line()).unwrap();
    }
    assert_eq!(stage.find().unwrap(), stage.shard(19));
}

#[test]
fn looks_no_further_than_a_week() {
    let stage = Stage::new();
    fs::write(stage.shard(1), line()).unwrap();
    for day in 2..=MAX_SHARDS {
        fs::write(stage.shard(day), "").unwrap();
    }
    assert_eq!(stage.find().unwrap(), stage.shard(1));
    fs::write(stage.shard(MAX_SHARDS + 1), "").unwrap();
    assert!(matches!(stage.find(), Err(Missing::NotFound)));
}

#[test]
fn finds_it_wherever_it_stands() {
    let stage = Stage::new();
    let long = "x".repeat(2 * WINDOW + 100);
    for before in [0, 1, 70, WINDOW - 60, WINDOW - 20, WINDOW, WINDOW + 30] {
        for after in [0, 1, WINDOW - 30, WINDOW] {
            let text = format!("{}{}{}", &long[..before], line(), &long[..after]);
            fs::write(stage.shard(1), text).unwrap();
            assert_eq!(stage.find().unwrap(), stage.shard(1), "{before} {after}");
        }
    }
}

#[test]
fn follows_no_link_below_the_root() {
    let elsewhere = Stage::new();
    fs::write(elsewhere.shard(1), line()).unwrap();
    // Of the root itself, it does.
    let link = elsewhere.root.path().join("link");
    symlink(elsewhere.root.path(), &link).unwrap();
    assert!(find(&link, &place()).is_ok());

    let stage = Stage::new();
    symlink(elsewhere.shard(1), stage.shard(1)).unwrap();
    assert!(matches!(stage.find(), Err(Missing::Io(path, _)) if path == stage.shard(1)));
    for part in ["omega/ssh/transcripts", "omega/ssh", "omega"] {
        let directory = stage.root.path().join(part);
        let _ = fs::remove_dir_all(&directory);
        symlink(elsewhere.root.path().join(part), &directory).unwrap();
        assert!(
            matches!(stage.find(), Err(Missing::Io(path, _)) if path == directory),
            "{part}"
        );
        fs::remove_file(&directory).unwrap();
    }
}

#[test]
fn waits_for_no_pipe() {
    let stage = Stage::new();
    let pipe = stage.shard(2);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    fs::create_dir(stage.shard(3)).unwrap();
    fs::write(stage.shard(1), line()).unwrap();
    assert_eq!(stage.find().unwrap(), stage.shard(1));
}

#[test]
fn refuses_names_that_lead_elsewhere() {
    let long = "x".repeat(64);
    for (decky, service, sid, what) in [
        ("", "ssh", SID, "decky"),
        ("..", "ssh", SID, "decky"),
        ("a/b", "ssh", SID, "decky"),
        ("-a", "ssh", SID, "decky"),
        ("Omega", "ssh", SID, "decky"),
        (&long, "ssh", SID, "decky"),
        ("omega", "sessrec", SID, "service"),
        ("omega", "../ssh", SID, "service"),
        ("omega", "ssh", "", "session"),
        ("omega", "ssh", &SID[1..], "session"),
        (
            "omega",
            "ssh",
            "0d4bb7a2-9c1e-4f0a-8d3e-5a0d4c1b2e7\"",
            "session",
        ),
    ] {
        let result = Place::new(decky, service, sid);
        assert!(
            matches!(&result, Err(Missing::Name(_, found)) if *found == what),
            "{result:?}"
        );
    }
    assert!(Place::new(&long[1..], "telnet", &SID.to_uppercase()).is_ok());
    let shown = Place::new("a\u{1b}[2J", "ssh", SID)
        .unwrap_err()
        .to_string();
    assert!(!shown.contains('\u{1b}'), "{shown}");
    assert!(find(Path::new("/nowhere"), &place()).is_err());
}
