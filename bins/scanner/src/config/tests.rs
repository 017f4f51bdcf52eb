//! What a configuration may say, and what is said against it.

use std::fs;
use std::path::Path;

use service::config::Environment;

use super::{Config, Input};

fn problems(dir: &Path, text: &str) -> String {
    let file = dir.join("scanner.toml");
    fs::write(&file, text).unwrap();
    match Config::read(&file, &Environment::of([])) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn tells_an_archive_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("scanner.toml");
    let check = |input: &str, expected: Input| {
        fs::write(&file, format!("input = {input:?}\n")).unwrap();
        let (config, _) = Config::read(&file, &Environment::of([])).unwrap();
        assert_eq!(config.input, expected);
    };
    let data = "/srv/x".into();
    check("/srv/x/archive", Input::Archive { data });
    let path = "/srv/x/decky.log".into();
    check("/srv/x/decky.log", Input::File { path });
}

#[test]
fn names_line_and_key_of_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().display();
    for (text, expected) in [
        (format!("input = \"{input}\"\n"), "scanner.toml:1: input: "),
        (
            "max_matched = \"2MiB\"\n".into(),
            "scanner.toml:1: max_matched: 2.0 MiB",
        ),
        (
            "\nrate = { burst = 0 }\n".into(),
            "scanner.toml:2: rate.burst: 0",
        ),
        (
            "[rate]\nrefill = 0\n".into(),
            "scanner.toml:2: rate.refill: 0s",
        ),
        (
            "[retention]\nmax_age = \"1s\"\n".into(),
            "scanner.toml:2: retention.max_age: 1s",
        ),
        (
            "[retention]\nmax_events = 0\n".into(),
            "scanner.toml:2: retention.max_events: 0",
        ),
        ("start = \"middle\"\n".into(), "scanner.toml:1: start: "),
        ("strat = \"end\"\n".into(), "scanner.toml:1: strat: "),
        (
            "[status]\nlisten = \"127.0.0.1:9514\"\n".into(),
            "scanner.toml:2: status.listen: ",
        ),
        (
            "[status]\ntoken_file = \"/none\"\n".into(),
            "scanner.toml:2: status.token_file: /none can't be read",
        ),
    ] {
        let found = problems(dir.path(), &text);
        assert!(found.contains(expected), "{text}{found}");
    }
}

#[test]
fn a_port_is_served_with_a_token_that_is_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    let text = format!("[status]\nlisten = \"127.0.0.1:9514\"\ntoken_file = {token:?}\n");
    fs::write(&token, "too-short\n").unwrap();
    let found = problems(dir.path(), &text);
    assert!(
        found.contains("holds no token") && !found.contains("too-short"),
        "{found}"
    );
    fs::write(&token, "0123456789abcdef\n").unwrap();
    assert_eq!(problems(dir.path(), &text), "");
    let (config, _) = Config::read(&dir.path().join("scanner.toml"), &Environment::of([])).unwrap();
    assert!(!config.access.is_open());
    assert!(!format!("{config:?}").contains("0123456789"));
}

#[test]
fn the_installed_sample_is_right_also_with_everything_in_it_uncommented() {
    let sample = include_str!("../../../../deploy/etc/logferry/scanner.toml");
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    fs::write(&token, "0123456789abcdef").unwrap();
    let whole = service::testing::uncommented(sample);
    let whole = whole.replace("/etc/logferry/scanner.token", token.to_str().unwrap());
    for text in [sample, &whole] {
        assert_eq!(problems(dir.path(), text), "");
    }
}
