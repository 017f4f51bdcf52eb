//! The command line: exit codes, and one clear error each.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::SystemTime;

use crate::bed::{Bed, lines, until};
use crate::receiver::Receiver;

fn program(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry-forwarder"));
    for name in [
        "DECNET_SWARM_MASTER_HOST",
        "DECNET_SWARM_SYSLOG_PORT",
        "DECNET_AGENT_DIR",
        "DECNET_INGEST_LOG_FILE",
    ] {
        command.env_remove(name);
    }
    command
        .args(args)
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn check(config: &Path, code: i32, words: &[&str]) {
    check_in(config, &[], code, words);
}

fn check_in(config: &Path, environment: &[(&str, &str)], code: i32, words: &[&str]) {
    let output = program(
        &["check", "--config", config.to_str().unwrap()],
        environment,
    );
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn says_what_is_wrong_all_at_once() {
    let bed = Bed::new().await;
    let good = bed.config_file(&[6514], "");
    check(&good, 0, &[]);

    let text = fs::read_to_string(&good).unwrap();
    let with = |from: &str, to: &str| {
        let path = bed.dir.path().join("bad.toml");
        fs::write(&path, text.replace(from, to)).unwrap();
        path
    };
    let key = |key: &str| {
        format!(
            "bad.toml:{}",
            text.lines().position(|line| line.starts_with(key)).unwrap() + 1
        )
    };

    check(
        &with("masters", "master"),
        78,
        &["bad.toml:1", "master", "masters"],
    );
    check(
        &with("127.0.0.1:6514", "nowhere:x"),
        78,
        &["bad.toml:1", "nowhere:x"],
    );
    check(
        &with("\"decky\"", "\"syslog\""),
        78,
        &[&key("name"), "reserved"],
    );
    check(&with("\"decky\"", "\"../x\""), 78, &[&key("name"), "../x"]);
    check(
        &with("masters", "delivery = \"acknowledged\"\nmasters"),
        0,
        &[],
    );
    check(
        &with("masters", "delivery = \"carrier pigeon\"\nmasters"),
        78,
        &["carrier pigeon"],
    );
    check(
        &with("masters", "verify_master = \"no\"\nmasters"),
        78,
        &["verify_master"],
    );
    let state = format!("{:?}", bed.state());
    let file = bed.dir.path().join("forwarder.toml").join("state");
    check(
        &with(&state, &format!("{file:?}")),
        78,
        &["state", "forwarder.toml/state"],
    );
    let log = format!("{:?}", bed.log());
    check(&with(&log, "\"/\""), 78, &[&key("path")]);
    let two = with("masters", "max_lag = 1\nmasters");
    fs::write(
        &two,
        fs::read_to_string(&two)
            .unwrap()
            .replace("\"decky\"", "\"De\""),
    )
    .unwrap();
    check(&two, 78, &["max_lag_bytes"]);
    check(
        Path::new("/nonexistent/f.toml"),
        78,
        &["/nonexistent/f.toml"],
    );

    fs::remove_file(bed.identity().join("worker.crt")).unwrap();
    check(&good, 78, &["identity", "worker.crt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn decnets_environment_beats_the_file() {
    let bed = Bed::new().await;
    let good = bed.config_file(&[6514], "");
    check_in(
        &good,
        &[("DECNET_SWARM_SYSLOG_PORT", "many")],
        78,
        &["environment", "DECNET_SWARM_SYSLOG_PORT", "many"],
    );
    check_in(
        &good,
        &[("DECNET_AGENT_DIR", "/nonexistent")],
        78,
        &["identity", "/nonexistent"],
    );
    let text = fs::read_to_string(&good).unwrap();
    let bare = text
        .lines()
        .filter(|line| !line.starts_with("masters"))
        .collect::<Vec<_>>()
        .join("\n");
    fs::write(&good, bare).unwrap();
    check(&good, 78, &["masters", "DECNET_SWARM_MASTER_HOST"]);
    check_in(
        &good,
        &[("DECNET_SWARM_MASTER_HOST", "master.example")],
        0,
        &[],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_state_is_refused() {
    let bed = Bed::new().await;
    let config = bed.config_file(&[1], "");
    let _lock = service::lock(&bed.state()).unwrap();
    let output = program(&["run", "--config", config.to_str().unwrap()], &[]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains(bed.state().to_str().unwrap()) && text.contains("in use"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_named_with_its_date() {
    let long_ago = SystemTime::now() - 3 * pki::LEAF_LIFETIME;
    let bed = Bed::at(long_ago).await;
    let config = bed.config_file(&[1], "");
    check(&config, 78, &["identity", "worker.crt", "expired on 20"]);
    let config = config.to_str().unwrap();
    let output = program(&["offsets", "--config", config], &[]);
    assert_eq!(output.status.code(), Some(0), "asking is still possible");
}

#[test]
fn what_is_not_built_says_so() {
    let output = program(&["join", "token", "--identity", "/nonexistent"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not built"));
    assert_eq!(program(&["run"], &[]).status.code(), Some(2));
    assert_eq!(
        program(&["completions", "bash"], &[]).status.code(),
        Some(0)
    );
    assert_eq!(program(&["--version"], &[]).status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_shows_stream_and_lag_running_or_not() {
    let bed = Bed::new().await;
    let receiver = Receiver::start(&bed).await;
    let config = bed.config_file(&[receiver.port], "");
    let size = lines(0..10).len();
    bed.append(&lines(0..10));
    let ask = || {
        let output = program(
            &["offsets", "--config", config.to_str().unwrap(), "--json"],
            &[],
        );
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), 1);
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let fresh = ask();
    assert_eq!(
        (&fresh["stream"], &fresh["offset"], &fresh["lag"]),
        (&"decky".into(), &0.into(), &size.into())
    );

    let forwarder = bed.start(&[receiver.port]);
    forwarder.delivered(size as u64).await;
    let running = ask();
    assert_eq!(
        (&running["offset"], &running["size"], &running["lag"]),
        (&size.into(), &size.into(), &0.into())
    );
    assert_eq!(running["acknowledged"], serde_json::Value::Null);
    assert_eq!(running["epoch"].as_str().unwrap().len(), 32);
    forwarder.stop().await;
    bed.append(&lines(10..11));
    let stopped = ask();
    let more = lines(10..11).len();
    assert_eq!(
        (&stopped["epoch"], &stopped["offset"], &stopped["lag"]),
        (&running["epoch"], &size.into(), &more.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn begins_where_decnets_forwarder_stopped() {
    use sqlx::Connection as _;
    let bed = Bed::new().await;
    let receiver = Receiver::start(&bed).await;
    let db = bed.dir.path().join("forwarder.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&db)
        .create_if_missing(true);
    let mut connection = sqlx::SqliteConnection::connect_with(&options)
        .await
        .unwrap();
    sqlx::query("CREATE TABLE forwarder_offset (key TEXT PRIMARY KEY, offset INTEGER NOT NULL)")
        .execute(&mut connection)
        .await
        .unwrap();
    // In mid-line, as DECNET's lag cap leaves it.
    let offset = lines(0..5).len() as i64 + 3;
    sqlx::query("INSERT INTO forwarder_offset VALUES ('default', ?)")
        .bind(offset)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();

    bed.append(&lines(0..10));
    let start = |port| {
        let config = bed.config_file(&[port], "");
        let text = fs::read_to_string(&config).unwrap() + &format!("import_offset = {db:?}\n");
        fs::write(&config, text).unwrap();
        let environment = service::config::Environment::of([]);
        let (config, _) = forwarder::Config::load(&config, &environment).unwrap();
        bed.launch(config, crate::bed::limits())
    };
    // Nobody is there at first, and something is stored all the same.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let forwarder = start(port);
    until(async || forwarder.stream().await.is_some()).await;
    until(async || {
        let metrics = forwarder.metrics().await;
        let stored = metrics.lines().find(|line| line.contains("commits_total{"));
        stored.is_some_and(|line| !line.ends_with(" 0"))
    })
    .await;
    forwarder.stop().await;
    let forwarder = start(receiver.port);
    receiver.has(4).await;
    forwarder.stop().await;
    let expected: Vec<_> = (6..10).map(crate::bed::line).collect();
    assert!(receiver.messages() == expected, "from the next line on");
    let ledger = bed.ledger();
    assert_eq!(ledger[0]["cause"], "imported");
    assert_eq!(ledger[0]["len"], lines(0..6).len());
}
