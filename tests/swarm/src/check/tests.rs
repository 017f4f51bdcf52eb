//! The checker must be able to say no.

use super::*;

fn lines(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|w| w.as_bytes().to_vec()).collect()
}

fn source(name: &str, words: &[&str]) -> Source {
    Source {
        name: name.to_owned(),
        lines: lines(words),
        stamps: Vec::new(),
    }
}

fn sources() -> Vec<Source> {
    vec![source("a", &["a1", "a2", "a2"]), source("b", &["b1"])]
}

#[test]
fn accepts_any_interleaving() {
    assert!(interleaving(&lines(&["a1", "b1", "a2", "a2"]), &sources()).is_exact());
    assert!(interleaving(&lines(&["a1", "a2", "a2", "b1"]), &sources()).is_exact());
}

#[test]
fn counts_lost_repeated_and_foreign_lines() {
    assert_eq!(
        interleaving(&lines(&["a2", "b1", "a2"]), &sources()).lost,
        1
    );
    assert_eq!(
        interleaving(&lines(&["a1", "b1", "a2"]), &sources()).lost,
        1
    );
    assert_eq!(
        interleaving(&lines(&["a1", "a1", "b1", "a2", "a2"]), &sources()).repeated,
        1
    );
    assert_eq!(
        interleaving(&lines(&["x", "a1", "b1", "a2", "a2"]), &sources()).foreign,
        1
    );
}

#[test]
fn takes_the_wrapping_off() {
    let line = b"<134>1 2026-01-02T03:04:05.000006Z a img - raw [logferry@32473 container=\"a\" id=\"0\" stream=\"stdout\"] a1";
    assert_eq!(unwrap_line(line), (Some(&b"a"[..]), &b"a1"[..]));
    let native = b"<134>1 - a x - raw [other@1 container=\"a\"] a1";
    assert_eq!(unwrap_line(native), (None, &native[..]));
}

#[test]
fn a_line_that_a_kill_cut_off_is_not_joined_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("c-json.log");
    let entry = |text: &str, second: u32| {
        let time = format!("2026-01-02T03:04:{second:02}.000006Z");
        format!(
            "{}\n",
            serde_json::json!({"log": text, "stream": "stdout", "time": time})
        )
    };
    let all = [
        entry("one of two ", 1),
        entry("pieces\n", 1),
        entry("\n", 2),
        entry("cut o", 3),
        entry("after the start\n", 4),
        entry("cut off aga", 5),
    ];
    std::fs::write(&log, all.concat()).unwrap();
    let found = container_lines("c", &log, "stdout", false).unwrap();
    assert_eq!(
        found.lines,
        lines(&[
            "one of two pieces",
            "cut o",
            "after the start",
            "cut off aga"
        ])
    );
    assert_eq!(found.stamps[2], "2026-01-02 03:04:04");
}
