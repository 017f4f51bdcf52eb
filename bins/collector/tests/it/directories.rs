//! From made-up json-file directories to `.log` and `.json`.

use std::fs;

use crate::host::{Host, entry, lines};

const RECORD: &str = r#"<134>1 2026-06-20T14:03:07.125301+00:00 omega http - request [relay@55555 src_ip="203.0.113.4" seq="N"]"#;

fn record(n: u64) -> String {
    RECORD.replace("\"N\"", &format!("\"{n}\""))
}

#[test]
fn carries_every_line_once_through_stops_and_starts() {
    let host = Host::new("");
    let web = host.run_container("web");
    let collector = host.start();
    for n in 0..100 {
        web.print(n, &record(n));
    }
    web.print(100, "no message");
    web.print(101, "");
    host.until_lines(101);
    let lines = host.lines();
    assert_eq!(lines[7], record(7).into_bytes());
    let wrapped = String::from_utf8(lines[100].clone()).unwrap();
    assert!(
        wrapped
            .starts_with("<134>1 2026-06-20T00:00:00.000000Z web made-up - raw [logferry@32473 "),
        "{wrapped}"
    );
    assert!(wrapped.ends_with("] no message"), "{wrapped}");
    host.until("100 records", || host.records().len() == 100);
    assert_eq!(host.records()[99]["fields"]["seq"], "99");

    assert_eq!(collector.stop(), Some(0));
    web.print(102, "while nobody read");
    let _collector = host.start();
    web.print(103, "and after");
    host.until_lines(103);
    host.until("balanced books", || {
        let status = host.status();
        let books = &status["web"]["books"];
        books["read"] == 104 && books["written"] == 103 && books["dropped"]["blank"] == 1
    });
    assert_eq!(host.status()["web"]["balanced"], true);
}

#[test]
fn finds_containers_that_come_and_drains_those_that_go() {
    let host = Host::new("relist = '1h'");
    let early = host.run_container("early");
    early.print(1, "before the collector");
    let _collector = host.start();
    host.until_lines(1);

    let late = host.run_container("late");
    late.print(2, "by event");
    host.until_lines(2);

    host.daemon()
        .change(&late.id, "die", |container| container.running = false);
    host.until("late drained", || {
        host.status()["late"]["state"] == "drained"
    });
    late.print(3, "second run");
    host.daemon().change(&late.id, "start", |container| {
        container.running = true;
        container.started = 2;
    });
    host.until_lines(3);

    late.print(4, "last words");
    host.daemon().remove(&late.id);
    host.until_lines(4);
    host.until("late gone", || host.status()["late"]["state"] == "gone");
}

#[test]
fn ignores_what_is_not_chosen_and_follows_a_new_name() {
    let host = Host::new("relist = '100ms'");
    let mut other = host.container("other");
    other.labels.clear();
    other.print(1, "not for us");
    host.daemon().add(other);
    let named = host.run_container("old-name");
    let _collector = host.start();
    named.print(2, "one");
    host.until_lines(1);
    host.daemon().change(&named.id, "rename", |container| {
        container.name = "new-name".to_owned()
    });
    host.until("the new name", || host.status().contains_key("new-name"));
    named.print(3, "two");
    host.until_lines(2);
    let text = String::from_utf8(host.lines()[1].clone()).unwrap();
    assert!(text.contains(" new-name made-up - raw "), "{text}");
}

#[test]
fn chooses_by_the_names_of_the_state_file() {
    let directory = tempfile::tempdir().unwrap();
    let names = directory.path().join("decnet-state.json");
    let settings = format!("relist = '100ms'\nlabels = []\ndecnet_state = {names:?}");
    let host = Host::new(&settings);
    let mut decky = host.container("omega-docker-api");
    decky.labels.clear();
    decky.print(1, "hello");
    host.daemon().add(decky);
    let _collector = host.start();
    host.until("an answer", || {
        host.output(&["status", "--json"]).status.success()
    });
    assert!(host.status().is_empty());
    // The file comes later, and is read again.
    let state = r#"{"config":{"deckies":[{"name":"omega","services":["docker_api"]}]}}"#;
    fs::write(&names, state).unwrap();
    host.until_lines(1);
}

#[test]
fn goes_on_in_new_files_when_its_own_are_rotated_or_deleted() {
    let host = Host::new("");
    let web = host.run_container("web");
    let _collector = host.start();
    web.print(0, &record(0));
    host.until_lines(1);
    let rotated = host.path("out/decky.log.1");
    fs::rename(host.log(), &rotated).unwrap();
    fs::remove_file(host.json()).unwrap();
    web.print(1, &record(1));
    host.until("a new log", || host.lines().len() == 1);
    assert_eq!(lines(&rotated), [record(0).into_bytes()]);
    assert_eq!(host.lines(), [record(1).into_bytes()]);
    host.until("a new json", || host.records().len() == 1);
    fs::remove_dir_all(host.path("out")).unwrap();
    web.print(2, &record(2));
    host.until("a new directory", || {
        host.lines() == [record(2).into_bytes()]
    });
}

#[test]
fn outlives_the_daemon() {
    let mut host = Host::new("");
    let socket = host.path("docker.sock");
    drop(host.daemon.take());
    // No daemon at the start.
    let _collector = host.start();
    host.until("not ready", || {
        let status = host.output(&["status", "--json"]);
        String::from_utf8_lossy(&status.stdout).contains("docker")
    });
    host.daemon = Some(crate::daemon::Daemon::start(&socket));
    let web = host.run_container("web");
    web.print(0, "found");
    host.until_lines(1);
    // It goes away; files are read on.
    drop(host.daemon.take());
    web.print(1, "without a daemon");
    host.until_lines(2);
    // And comes back with more.
    host.daemon = Some(crate::daemon::Daemon::start(&socket));
    host.daemon().add(web.clone());
    let late = host.run_container("late");
    late.print(0, "new");
    web.print(2, "old");
    host.until_lines(4);
}

#[test]
fn reads_hundreds_of_directories() {
    const CONTAINERS: u64 = 300;
    let host = Host::new("");
    for c in 0..CONTAINERS {
        let container = host.container(&format!("c{c}"));
        let log: String = (0..20)
            .map(|n| entry(n, &record(c * 100 + n), "stdout"))
            .collect();
        fs::write(&container.log_path, log).unwrap();
        host.daemon().add(container);
    }
    let _collector = host.start();
    host.until_lines(usize::try_from(CONTAINERS).unwrap() * 20);
    let status = host.status();
    assert_eq!(status.len(), usize::try_from(CONTAINERS).unwrap());
    for (name, container) in status {
        assert_eq!(container["books"]["written"], 20, "{name}");
    }
}

#[test]
fn suppresses_repeated_connections_in_the_records_only() {
    let host = Host::new("");
    let web = host.run_container("web");
    let _collector = host.start();
    let line = r#"<134>1 2026-06-20T14:03:07+00:00 omega ssh - connect [relay@55555 src_ip="203.0.113.4"]"#;
    for n in 0..5 {
        web.print(n, line);
    }
    web.print(1_000_000_000, line);
    host.until_lines(6);
    host.until("two records", || host.records().len() == 2);
    host.until("counts", || {
        host.status()["web"]["books"]["records"]["repeated"] == 4
    });
}
