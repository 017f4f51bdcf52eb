//! Commands and exit codes.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use crate::host::Host;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn checks_and_names_every_problem() {
    let host = Host::bare("");
    let output = host.output(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));

    host.configure("dokcer = 'x'\nread = 'files'");
    for command in ["check", "run"] {
        let output = host.output(&[command]);
        assert_eq!(output.status.code(), Some(78));
        let said = text(&output.stderr);
        assert!(
            said.contains("collector.toml:3: dokcer") && said.contains("docker"),
            "{said}"
        );
        assert!(said.contains("collector.toml:4: read"), "{said}");
    }

    std::fs::write(host.path("state"), "in the way").unwrap();
    host.configure("");
    let output = host.output(&["check"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(
        text(&output.stderr).contains(": state: "),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn refuses_a_second_process_on_the_same_state() {
    let host = Host::new("");
    let _collector = host.start();
    host.until("running", || host.output(&["status"]).status.success());
    let second = host.output(&["run"]);
    assert_eq!(second.status.code(), Some(1));
    let said = text(&second.stderr);
    assert!(said.contains("state") && said.contains("in use"), "{said}");
}

#[test]
fn lists_what_would_be_collected_and_why() {
    let host = Host::new("");
    host.run_container("web");
    let mut base = host.container("base");
    base.labels
        .insert("decnet.topology.role".to_owned(), "base".to_owned());
    host.daemon().add(base);
    let mut none = host.container("silent");
    none.driver = "none".to_owned();
    host.daemon().add(none);
    let output = host.output(&["containers"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    let line = |name: &str| {
        said.lines()
            .find(|line| line.contains(&format!("\t{name}\t")))
            .unwrap()
            .to_owned()
    };
    assert!(
        line("web").starts_with("collect\t") && line("web").contains("\tfile /"),
        "{said}"
    );
    assert!(line("base").starts_with("skip\t"), "{said}");
    assert!(line("silent").contains("unreadable"), "{said}");
}

#[test]
fn fails_without_a_daemon_or_a_program_to_ask() {
    let mut host = Host::new("");
    drop(host.daemon.take());
    assert_eq!(host.output(&["containers"]).status.code(), Some(1));
    assert_eq!(host.output(&["status"]).status.code(), Some(1));
    let gaps = host.output(&["gaps", "--json"]);
    assert_eq!((gaps.status.code(), gaps.stdout.len()), (Some(0), 0));
}

#[test]
fn parses_stdin() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_logferry-collector"))
        .args(["parse", "--now", "2026-06-20T14:03:07Z"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"<1>1 - h a - m -\n\nx\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stdout);
    assert!(
        said.starts_with(r#"{"timestamp":"2026-06-20 14:03:07","decky":"h""#),
        "{said}"
    );
    assert!(said.ends_with("\nnull\nnull\n"), "{said}");
}

#[test]
fn knows_its_usage() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_logferry-collector"))
            .args(arguments)
            .output();
        output.unwrap().status.code()
    };
    assert_eq!(run(&["--version"]), Some(0));
    assert_eq!(run(&["completions", "bash"]), Some(0));
    assert_eq!(run(&["colect"]), Some(2));
    assert_eq!(run(&["run"]), Some(2));
}
