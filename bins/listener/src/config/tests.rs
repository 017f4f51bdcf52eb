//! Defaults, environment, and every problem at once.

use service::testing::{key, uncommented};

use super::*;

fn check(text: &str, environment: &Environment) -> Result<Config, Problems> {
    let (raw, source) = service::config::parse("listener.toml".as_ref(), text)?;
    Config::check(raw, &source, environment)
}

fn nothing() -> Environment {
    Environment::of([])
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let config = check("", &nothing()).unwrap();
    assert_eq!((config.host.as_str(), config.port), ("0.0.0.0", 6514));
    assert_eq!(config.data, Path::new("/var/lib/logferry"));
    assert_eq!(config.trust, Trust::Registry);
    assert_eq!(config.max_frame, 1 << 20);
    assert_eq!(
        (config.commit_delay, config.commit_bytes),
        (Duration::from_millis(50), 4 << 20)
    );
    assert_eq!(
        (config.segment_bytes, config.segment_age.as_secs()),
        (256 << 20, 86400)
    );
    assert_eq!((config.merged_log, config.merged_json), (None, None));
    assert_eq!(
        (config.retention, config.compress),
        (Retention::default(), false)
    );
    assert_eq!(
        (config.limits.connections, config.limits.handshake.as_secs()),
        (1024, 10)
    );
}

#[test]
fn the_sample_of_the_documentation_is_understood() {
    let config = check(
        r#"
        listen   = "127.0.0.1:0"
        data     = "/d"
        trust    = "ca"
        siblings = ["00112233445566778899aabbccddeeff"]
        max_frame = "64KiB"
        commit   = { max_delay = "20ms", max_bytes = "1MiB" }
        [merged]
        log  = "/var/log/logferry/master.log"
        json = "/var/log/logferry/master.json"
        [retention]
        max_age = "30d"
        max_bytes = "10GiB"
        [segment]
        max_bytes = "16MiB"
        max_age = "1h"
        compress = true
        [limits]
        connections = 10
        rate = "1MiB"
        [status]
        listen = "127.0.0.1:9514"
        "#,
        &nothing(),
    );
    let config = config.unwrap();
    assert_eq!(config.siblings.len(), 1);
    assert!(config.compress);
    let retention = Retention {
        max_age: Some(Duration::from_secs(30 * 86400)),
        max_bytes: Some(10 << 30),
    };
    assert_eq!(config.retention, retention);
    assert_eq!(
        config.merged_json.unwrap(),
        Path::new("/var/log/logferry/master.json")
    );
    assert_eq!(config.limits.rate, 1 << 20);
}

#[test]
fn the_installed_samples_are_fine_also_with_everything_in_them_uncommented() {
    for sample in ["etc/logferry/listener.toml", "decnet/listener.toml"] {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
        let text = std::fs::read_to_string(deploy.join(sample)).unwrap();
        for text in [uncommented(&text), text] {
            check(&text, &nothing()).unwrap_or_else(|e| panic!("{sample}: {e}"));
        }
    }
}

#[test]
fn the_sample_names_every_key() {
    let text = uncommented(include_str!(
        "../../../../deploy/etc/logferry/listener.toml"
    ));
    let keys: Vec<_> = text.lines().filter_map(key).collect();
    for name in [
        "listen",
        "data",
        "trust",
        "siblings",
        "max_frame",
        "commit",
        "log",
        "json",
        "max_age",
        "max_bytes",
        "compress",
        "connections",
        "connections_per_worker",
        "handshakes",
        "handshake",
        "frame",
        "idle",
        "drain",
        "rate",
    ] {
        assert!(keys.contains(&name), "{name}");
    }
}

#[test]
fn decnet_names_beat_the_file() {
    let environment = Environment::of([
        ("DECNET_LISTENER_HOST", "127.0.0.2"),
        ("DECNET_SWARM_SYSLOG_PORT", "7514"),
    ]);
    let config = check("listen = \"0.0.0.0:1\"", &environment).unwrap();
    assert_eq!((config.host.as_str(), config.port), ("127.0.0.2", 7514));
    let environment = Environment::of([("DECNET_SWARM_SYSLOG_PORT", "many")]);
    let problems = check("", &environment).unwrap_err().to_string();
    assert!(problems.contains("DECNET_SWARM_SYSLOG_PORT"), "{problems}");
}

#[test]
fn names_every_problem_with_its_line_and_key() {
    let text = r#"listen = "nowhere"
trust = "anyone"
siblings = ["x"]
max_frame = 10
commit = { max_delay = "1h", max_bytes = 1 }
[merged]
log = "/a"
json = "/a"
[retention]
max_age = 0
max_bytes = "1KiB"
[limits]
connections = 0
frame = 0
"#;
    let problems = check(text, &nothing()).unwrap_err();
    let found: Vec<_> = problems
        .0
        .iter()
        .map(|p| (p.line, p.key.as_str()))
        .collect();
    let expected = [
        (1, "listen"),
        (2, "trust"),
        (3, "siblings.0"),
        (4, "max_frame"),
        (5, "commit.max_bytes"),
        (5, "commit.max_delay"),
        (8, "merged.json"),
        (10, "retention.max_age"),
        (11, "retention.max_bytes"),
        (13, "limits.connections"),
        (14, "limits.frame"),
    ];
    assert_eq!(found, expected, "{problems}");
}

#[test]
fn an_unknown_key_is_a_problem() {
    let problems = check("[merged]\nlogs = \"/a\"", &nothing())
        .unwrap_err()
        .to_string();
    assert!(problems.contains("merged.logs"), "{problems}");
}

#[test]
fn reads_addresses() {
    assert_eq!(address("[::1]:5"), Ok(("::1".to_owned(), 5)));
    assert_eq!(
        address("master.example:6514"),
        Ok(("master.example".to_owned(), 6514))
    );
    for text in ["", ":", ":5", "::1:5", "[::1:5", "a:", "a:b", "a:70000"] {
        assert!(address(text).is_err(), "{text}");
    }
}
