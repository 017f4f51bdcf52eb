//! On a real daemon. Containers carry a label of their own test, which chooses them, and are removed
//! with everything else at the end, also of a test that fails.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::host::{Collector, Host};

const IMAGE: &str = "logferry-test-printer";
const SKIP: &str = "no Docker daemon answers; install and start docker.io";

/// A test's containers.
struct Docker {
    label: String,
}

fn docker(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("docker").args(arguments).output();
    match output {
        Ok(output) => {
            let text = if output.status.success() {
                output.stdout
            } else {
                output.stderr
            };
            (
                output.status.success(),
                String::from_utf8_lossy(&text).trim().to_owned(),
            )
        }
        Err(error) => (false, error.to_string()),
    }
}

fn must(arguments: &[&str]) -> String {
    let (ok, said) = docker(arguments);
    assert!(ok, "docker {arguments:?}: {said}");
    said
}

/// Builds the image once per run of the tests.
fn image() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/printer.rs");
        let built = Command::new("rustc")
            .args([
                "--edition=2024",
                "-O",
                "-C",
                "target-feature=+crt-static",
                source,
                "-o",
            ])
            .arg(directory.path().join("printer"))
            .status();
        assert!(built.unwrap().success(), "rustc builds the printer");
        let tar = Command::new("tar")
            .arg("-C")
            .arg(directory.path())
            .args(["-c", "printer"])
            .output();
        let mut import = Command::new("docker")
            .args([
                "import",
                "--change",
                "ENTRYPOINT [\"/printer\"]",
                "-",
                IMAGE,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        import
            .stdin
            .take()
            .unwrap()
            .write_all(&tar.unwrap().stdout)
            .unwrap();
        assert!(import.wait().unwrap().success(), "docker imports the image");
    });
}

impl Docker {
    /// `None`, counted and loud, where there is no daemon.
    fn new(test: &str) -> Option<Docker> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !docker(&["version"]).0 {
            service::testing::skip(test, SKIP);
            return None;
        }
        image();
        let label = format!(
            "{}.{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        Some(Docker { label })
    }

    /// A host that collects this test's containers only.
    fn host(&self, settings: &str) -> Host {
        Host::bare(&format!(
            "labels = [\"logferry.test={}\"]\n{settings}",
            self.label
        ))
    }

    fn name(&self, name: &str) -> String {
        format!("logferry-{}-{name}", self.label)
    }

    fn run(&self, name: &str, options: &[&str], print: &[&str]) -> String {
        let (name, label) = (self.name(name), format!("logferry.test={}", self.label));
        let mut arguments = vec![
            "run",
            "-d",
            "--network",
            "none",
            "--name",
            &name,
            "--label",
            &label,
        ];
        arguments.extend_from_slice(options);
        arguments.push(IMAGE);
        arguments.extend_from_slice(print);
        must(&arguments)
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let filter = format!("label=logferry.test={}", self.label);
        let (_, ids) = docker(&["ps", "-aq", "--filter", &filter]);
        let mut arguments = vec!["rm", "-f"];
        arguments.extend(ids.lines());
        if arguments.len() > 2 {
            docker(&arguments);
        }
    }
}

/// The lines without the header of wrapped ones.
fn unwrapped(host: &Host) -> Vec<Vec<u8>> {
    let text = |line: Vec<u8>| match line.windows(3).position(|at| at == b"\"] ") {
        Some(at) if line.windows(14).any(|at| at == b"logferry@32473") => line[at + 3..].to_vec(),
        _ => line,
    };
    host.lines().into_iter().map(text).collect()
}

const RECORD: &str = r#"<134>1 2026-06-20T14:03:07+00:00 omega http - request [relay@55555 src_ip="203.0.113.4" path="/a\]b"]"#;

/// What every reader must carry the same way.
fn carries_what_docker_stored(test: &str, settings: &str, options: &[&str], raw_octets: bool) {
    let Some(docker) = Docker::new(test) else {
        return;
    };
    let host = docker.host(settings);
    let _collector = host.start();
    let record = format!("out:{RECORD}");
    let print = [
        &record,
        "out:",
        "out: blanks ",
        "hex:613a0d3a0d0a",
        "hex:ff00fe0a",
        "long:16384",
        "long:40000",
        "err:not wanted",
        "many:2000:n",
        "bare:no end",
    ];
    docker.run("a", options, &print);
    host.until_lines(2007);
    let lines = unwrapped(&host);
    assert_eq!(lines[0], RECORD.as_bytes());
    assert_eq!(lines[1], b" blanks ");
    assert_eq!(lines[2], b"a:\r:\r");
    let odd: &[u8] = if raw_octets {
        b"\xff\0\xfe"
    } else {
        "\u{fffd}\0\u{fffd}".as_bytes()
    };
    assert_eq!(lines[3], odd);
    assert_eq!((lines[4].len(), lines[5].len()), (16384, 40000));
    assert_eq!(lines[6], b"n0");
    assert_eq!(lines[2005], b"n1999");
    assert_eq!(lines[2006], b"no end");
    host.until("the record", || host.records().len() == 1);
    assert_eq!(host.records()[0]["fields"]["path"], "/a]b");
    host.until("books", || {
        host.status().values().any(|container| {
            let dropped = &container["books"]["dropped"];
            (&dropped["blank"], &dropped["stderr"]) == (&1.into(), &1.into())
        })
    });
    assert!(host.status().values().all(|c| c["balanced"] == true));
}

#[test]
fn reads_the_json_file_drivers_files() {
    let settings = "read = 'file'";
    carries_what_docker_stored("reads_the_json_file_drivers_files", settings, &[], false);
}

#[test]
fn reads_the_json_file_driver_through_the_api() {
    let settings = "read = 'api'";
    carries_what_docker_stored(
        "reads_the_json_file_driver_through_the_api",
        settings,
        &[],
        false,
    );
}

#[test]
fn reads_the_local_driver() {
    let options = ["--log-driver", "local"];
    carries_what_docker_stored("reads_the_local_driver", "", &options, true);
}

#[test]
fn reads_stderr_when_asked() {
    let Some(docker) = Docker::new("reads_stderr_when_asked") else {
        return;
    };
    for (name, read) in [("f", "file"), ("a", "api")] {
        let host = docker.host(&format!("read = '{read}'\nstderr = true"));
        let _collector = host.start();
        let id = docker.run(name, &[], &["out:one", "sleep:20", "err:two"]);
        host.until_lines(2);
        let second = String::from_utf8(host.lines()[1].clone()).unwrap();
        assert!(
            second.starts_with("<131>1 ") && second.ends_with(r#"stream="stderr"] two"#),
            "{second}"
        );
        must(&["rm", "-f", &id]);
    }
}

#[test]
fn reads_a_terminal() {
    let Some(docker) = Docker::new("reads_a_terminal") else {
        return;
    };
    for (name, read) in [("f", "file"), ("a", "api")] {
        let host = docker.host(&format!("read = '{read}'"));
        let _collector = host.start();
        let id = docker.run(
            name,
            &["-t"],
            &[
                "out:one",
                "hex:0102030405060708090a",
                "long:20000",
                "out:four",
            ],
        );
        host.until_lines(4);
        let lines = unwrapped(&host);
        assert_eq!(lines[0], b"one");
        assert_eq!(lines[1], [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(
            (lines[2].len(), &lines[3][..]),
            (20000, &b"four"[..]),
            "{read}"
        );
        must(&["rm", "-f", &id]);
    }
}

/// A container that is stopped and started, its collector killed and stopped in between.
fn survives(test: &str, settings: &str, options: &[&str]) {
    let Some(docker) = Docker::new(test) else {
        return;
    };
    let host = docker.host(settings);
    let collector = host.start();
    let id = docker.run(
        "a",
        options,
        &["pace:300:n", "out:same", "out:same", "bare:open"],
    );
    host.until("half", || host.lines().len() > 150);
    collector.kill();
    let collector = host.start();
    host.until_lines(303);
    // A second run while nobody reads.
    assert_eq!(Collector::stop(collector), Some(0));
    must(&["start", &id]);
    must(&["wait", &id]);
    let collector = host.start();
    host.until_lines(606);
    // A third under its eyes, killed in the middle.
    must(&["start", &id]);
    host.until("half of the third", || host.lines().len() > 700);
    collector.kill();
    let _collector = host.start();
    host.until_lines(909);
    let mut expected: Vec<Vec<u8>> = (0..300).map(|n| format!("n{n}").into_bytes()).collect();
    expected.extend([b"same".to_vec(), b"same".to_vec(), b"open".to_vec()]);
    let lines = unwrapped(&host);
    for (run, lines) in lines.chunks(303).enumerate() {
        assert_eq!(lines, expected, "run {run}");
    }
    host.until("books", || {
        let books = host
            .status()
            .into_values()
            .next()
            .map(|container| container["books"].clone());
        books.is_some_and(|books| books["read"] == 909 && books["written"] == 909)
    });
}

#[test]
fn survives_stops_and_kills_with_files() {
    survives("survives_stops_and_kills_with_files", "read = 'file'", &[]);
}

#[test]
fn survives_stops_and_kills_with_the_api() {
    survives(
        "survives_stops_and_kills_with_the_api",
        "read = 'api'",
        &["--log-driver", "local"],
    );
}

#[test]
fn collects_many_containers_at_once_also_short_lived_ones() {
    const CONTAINERS: usize = 25;
    let Some(docker) = Docker::new("collects_many_containers_at_once_also_short_lived_ones") else {
        return;
    };
    let host = docker.host("");
    let collector = host.start();
    host.until("connected", || host.output(&["status"]).status.success());
    for c in 0..CONTAINERS {
        docker.run(&format!("c{c}"), &[], &["many:200:n"]);
    }
    host.until_lines(CONTAINERS * 200);
    host.until("all drained", || {
        let status = host.status();
        status.len() == CONTAINERS && status.values().all(|c| c["state"] == "drained")
    });
    // Nothing is read twice by the next process.
    assert_eq!(collector.stop(), Some(0));
    let _collector = host.start();
    docker.run("last", &[], &["out:last"]);
    host.until_lines(CONTAINERS * 200 + 1);
}

#[test]
fn says_once_what_it_can_not_collect() {
    let Some(docker) = Docker::new("says_once_what_it_can_not_collect") else {
        return;
    };
    let host = docker.host("relist = '200ms'");
    let _collector = host.start();
    docker.run("none", &["--log-driver", "none"], &["wait"]);
    docker.run("some", &[], &["out:x", "wait"]);
    host.until_lines(1);
    host.until("shown", || {
        host.status().values().any(|c| c["reader"] == "none")
    });
    let said = std::fs::read_to_string(host.path("stderr")).unwrap();
    assert_eq!(
        said.matches("container can't be collected").count(),
        1,
        "{said}"
    );
    let output = host.output(&["containers"]);
    let listed = String::from_utf8(output.stdout).unwrap();
    assert!(listed.contains("unreadable: log driver none"), "{listed}");
}
