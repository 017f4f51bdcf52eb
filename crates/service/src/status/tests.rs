//! Pages, limits and the socket file of the status endpoint.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::{BindError, Health, Listen, Server, Telemetry, exposition, query, render};

fn start(listen: &Listen, telemetry: Telemetry) -> JoinHandle<()> {
    let server = Server::bind(listen).expect("the endpoint opens");
    tokio::spawn(server.run(Arc::new(telemetry), || json!({"lines": 5})))
}

fn telemetry() -> Telemetry {
    Telemetry::new("collector", "1.2.3")
}

async fn get(listen: &Listen, page: &str) -> (u16, String) {
    let (status, body) = query(listen, page).await.expect("an answer");
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

mod listen {
    use super::super::{Listen, ListenError};

    #[test]
    fn only_loopback_and_files() {
        let check = |text: &str| text.parse::<Listen>();
        assert_eq!(check("/run/x.sock"), Ok(Listen::Unix("/run/x.sock".into())));
        assert_eq!(check("unix:/run/x"), Ok(Listen::Unix("/run/x".into())));
        assert_eq!(check("unix:///run/x"), Ok(Listen::Unix("/run/x".into())));
        for text in [
            "127.0.0.1:9514",
            "127.9.9.9:1",
            "[::1]:9514",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(matches!(check(text), Ok(Listen::Loopback(_))), "{text}");
        }
        for text in [
            "0.0.0.0:9514",
            "[::]:1",
            "10.0.0.1:1",
            "[::ffff:10.0.0.1]:1",
        ] {
            assert!(
                matches!(check(text), Err(ListenError::NotLoopback(_))),
                "{text}"
            );
        }
        for text in ["localhost:9514", "9514", "", "x.sock"] {
            assert!(
                matches!(check(text), Err(ListenError::NotAnAddress(_))),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn serves_its_pages_on_a_socket_and_on_loopback() {
    let dir = tempfile::tempdir().expect("a directory");
    let unix = Listen::Unix(dir.path().join("status.sock"));
    let server = Server::bind(&"127.0.0.1:0".parse().expect("an address")).expect("a port");
    let tcp = Listen::Loopback(server.local_addr().expect("its port"));
    tokio::spawn(server.run(Arc::new(telemetry()), || json!({"lines": 5})));
    start(&unix, telemetry());
    for listen in [unix, tcp] {
        let (code, text) = get(&listen, "/status").await;
        let status: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(code, 200);
        assert_eq!(status["program"], "collector");
        assert_eq!(status["version"], "1.2.3");
        assert_eq!(status["pid"], std::process::id());
        assert_eq!(status["lines"], 5, "the program's own part");
        assert_eq!(get(&listen, "/nothing").await.0, 404);
        assert_eq!(get(&listen, "/livez").await, (200, "ok\n".to_owned()));
    }
}

#[tokio::test]
async fn ready_when_every_component_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let listen = Listen::Unix(dir.path().join("s"));
    let telemetry = telemetry();
    let health = telemetry.health();
    let (docker, disk) = (health.component("docker"), health.component("disk"));
    start(&listen, telemetry);
    disk.ok();
    docker.failed("connection refused");
    let expected = (503, "docker: connection refused\n".to_owned());
    assert_eq!(get(&listen, "/readyz").await, expected);
    let (_, text) = get(&listen, "/status").await;
    let status: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(status["ready"], false);
    assert_eq!(status["components"]["docker"], "connection refused");
    assert_eq!(status["components"]["disk"], "ok");
    docker.ok();
    assert_eq!(get(&listen, "/readyz").await.0, 200);
}

#[tokio::test]
async fn alive_while_every_loop_goes_round() {
    let dir = tempfile::tempdir().expect("a directory");
    let listen = Listen::Unix(dir.path().join("s"));
    let mut telemetry = telemetry();
    telemetry.health = Health::with_watchdog(Some(Duration::ZERO));
    let pulse = telemetry.health().pulse("work");
    start(&listen, telemetry);
    let (code, text) = get(&listen, "/livez").await;
    assert_eq!((code, text.as_str()), (503, "work: silent for 0 s\n"));
    drop(pulse);
    assert_eq!(
        get(&listen, "/livez").await.0,
        200,
        "a loop that is over is not missed"
    );
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s");
    let mut telemetry = telemetry();
    let lines = Family::<[(&str, String); 1], Counter>::default();
    lines
        .get_or_create(&[("container", "a\"b\\c\nd".to_owned())])
        .inc_by(7);
    telemetry.registry.register("lines", "Lines read", lines);
    let times = Histogram::new([0.1, 1.0]);
    times.observe(0.5);
    telemetry
        .registry
        .register("commit_seconds", "Time of a commit", times);
    start(&Listen::Unix(path.clone()), telemetry);
    let mut stream = UnixStream::connect(&path).await.expect("connected");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    let (head, text) = answer.split_once("\r\n\r\n").expect("head and body");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
        "{head}"
    );
    for line in [
        "# HELP logferry_collector_lines_total Lines read\n# TYPE logferry_collector_lines_total counter\n",
        "logferry_collector_lines_total{container=\"a\\\"b\\\\c\\nd\"} 7\n",
        "# TYPE logferry_collector_build_info gauge\nlogferry_collector_build_info{version=\"1.2.3\"} 1\n",
        "# TYPE logferry_collector_commit_seconds histogram\n",
        "logferry_collector_commit_seconds_bucket{le=\"+Inf\"} 1\n",
        "logferry_collector_commit_seconds_count 1\n",
        "# TYPE logferry_collector_process_cpu_seconds_total counter\nlogferry_collector_process_cpu_seconds_total ",
    ] {
        assert!(text.contains(line), "{line} in:\n{text}");
    }
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse::<u64>().ok())
            .expect("a value")
    };
    assert!(value("logferry_collector_process_resident_memory_bytes ") > 1 << 20);
    assert!(value("logferry_collector_process_open_fds ") > 3);
    assert!(!text.contains("# EOF") && !text.contains("# UNIT") && text.ends_with('\n'));
}

#[test]
fn open_metrics_becomes_prometheus_text() {
    let check = |open: &str, expected: &str| assert_eq!(exposition::to_0_0_4(open), expected);
    check(
        "# HELP a_seconds Time.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total 1\n# EOF\n",
        "# HELP a_seconds_total Time\n# TYPE a_seconds_total counter\na_seconds_total 1\n",
    );
    check(
        "# HELP b What.\n# TYPE b info\nb_info{v=\"1\"} 1\n",
        "# HELP b_info What\n# TYPE b_info gauge\nb_info{v=\"1\"} 1\n",
    );
    check(
        "# HELP c Any.\n# TYPE c unknown\nc 1\n",
        "# HELP c Any\n# TYPE c untyped\nc 1\n",
    );
}

#[tokio::test]
async fn bad_requests_cost_their_sender_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s");
    let listen = Listen::Unix(path.clone());
    start(&listen, telemetry());
    let answer = async |request: Vec<u8>| {
        let mut stream = UnixStream::connect(&path).await.expect("connected");
        // The server may hang up before it has read everything.
        let _ = stream.write_all(&request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer).into_owned();
        text.lines().next().unwrap_or_default().to_owned()
    };
    let huge = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    assert!(!answer(huge.into_bytes()).await.contains("200"));
    assert!(
        answer(b"POST /status HTTP/1.1\r\nhost: x\r\n\r\n".to_vec())
            .await
            .contains("405")
    );
    assert!(
        !answer(b"\x16\x03\x01\0\xff\xff".to_vec())
            .await
            .contains("200")
    );
    assert_eq!(get(&listen, "/livez").await.0, 200);
}

#[tokio::test]
async fn silent_connections_end_and_hold_up_nobody() {
    let mut server = Server::bind(&"127.0.0.1:0".parse().expect("an address")).expect("a port");
    server.head_time = Duration::from_millis(100);
    let addr = server.local_addr().expect("its port");
    tokio::spawn(server.run(Arc::new(telemetry()), || json!({})));
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(
            tokio::net::TcpStream::connect(addr)
                .await
                .expect("connected"),
        );
    }
    // More are open than are served at a time: each is let go when its head does not come.
    for stream in &mut silent {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
    }
    assert_eq!(get(&Listen::Loopback(addr), "/livez").await.0, 200);
}

#[tokio::test]
async fn the_socket_is_private_and_goes_with_its_server() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("status.sock");
    let server = Server::bind(&Listen::Unix(path.clone())).expect("bound");
    let found = path.metadata().expect("it is there");
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    let names = std::fs::read_dir(dir.path()).expect("read").count();
    assert_eq!(names, 1, "nothing else is left");
    drop(server);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_nothing_else_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("status.sock");
    let listen = Listen::Unix(path.clone());
    // Bound and dropped without removal, as after kill -9.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    assert!(
        path.symlink_metadata()
            .expect("stale")
            .file_type()
            .is_socket()
    );
    let server = Server::bind(&listen).expect("the stale one is replaced");
    let error = Server::bind(&listen).expect_err("this one answers");
    assert!(matches!(error, BindError::InUse(_)), "{error}");
    drop(server);
    std::fs::write(&path, "precious").expect("written");
    let error = Server::bind(&listen).expect_err("a file is in the way");
    assert!(matches!(error, BindError::NotASocket(_)), "{error}");
    assert_eq!(std::fs::read(&path).expect("read"), b"precious");
}

#[tokio::test]
async fn long_paths_work() {
    let dir = tempfile::tempdir().expect("a directory");
    let deep = dir.path().join("d".repeat(120)).join("e".repeat(120));
    std::fs::create_dir_all(&deep).expect("made");
    let listen = Listen::Unix(deep.join("status.sock"));
    start(&listen, telemetry());
    assert_eq!(get(&listen, "/livez").await.0, 200);
}

#[tokio::test]
async fn a_program_that_does_not_run_is_said_to() {
    let dir = tempfile::tempdir().expect("a directory");
    let listen = Listen::Unix(dir.path().join("status.sock"));
    let error = query(&listen, "/status").await.expect_err("nobody");
    let text = error.to_string();
    assert!(
        text.contains("does not run") && text.contains("status.sock"),
        "{text}"
    );
}

#[test]
fn defaults_to_a_socket_in_the_state_directory() {
    let config: super::Config = serde_json::from_value(json!({})).expect("empty");
    let listen = config.listen(Path::new("/var/lib/x"));
    assert_eq!(listen.to_string(), "/var/lib/x/status.sock");
}

#[test]
fn status_is_readable() {
    let status = json!({
        "program": "forwarder",
        "ready": true,
        "none": null,
        "masters": ["a:1", "b:2"],
        "streams": [{"name": "decky", "offset": 10}, {"name": "x\u{1b}[2J", "offset": 5, "error": "gone"}],
        "components": {"master": "ok"},
    });
    let text = render::human(&status);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.contains(&"masters  a:1, b:2"), "{text}");
    assert!(lines.contains(&"none     -"), "{text}");
    assert!(lines.contains(&"streams:"), "{text}");
    let rows: Vec<Vec<&str>> = lines
        .iter()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert!(rows.contains(&vec!["decky", "10"]), "{text}");
    assert!(
        rows.iter()
            .any(|row| row.contains(&"x\\u{1b}[2J") && row.contains(&"gone")),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "a terminal obeys nothing of it");
}

#[test]
fn beats_are_due_within_the_watchdogs_time() {
    let health = Health::with_watchdog(Some(Duration::from_secs(8)));
    assert_eq!(health.period(), Duration::from_secs(2));
    let health = Health::with_watchdog(None);
    assert_eq!(health.period(), Duration::from_secs(10));
    let began = Instant::now();
    health.pulse("x").beat();
    assert!(
        health.stalled().is_empty() && health.uptime() <= began.elapsed() + Duration::from_secs(60)
    );
}

mod own_pages {
    use std::pin::Pin;

    use super::super::{Access, Answer, Asked, GuardedConfig, Routes, query_as};
    use super::*;

    #[derive(Debug)]
    struct Echo;

    impl Routes for Echo {
        fn pages(&self) -> &'static str {
            " /echo"
        }

        fn answer(
            &self,
            asked: Asked,
        ) -> Pin<Box<dyn Future<Output = Option<Answer>> + Send + '_>> {
            Box::pin(async move {
                let segments = asked.segments()?;
                if segments.first().map(String::as_str) != Some("echo") {
                    return None;
                }
                let body = json!({"path": segments, "a": asked.parameter("a"), "len": asked.body.len(), "post": asked.post});
                Some(Answer { code: 200, body })
            })
        }
    }

    fn access(dir: &Path) -> Access {
        let token = dir.join("token");
        std::fs::write(&token, "secret-secret-secret\n").expect("written");
        let file = dir.join("x.toml");
        let text = format!("[status]\ntoken_file = {token:?}\n");
        #[derive(serde::Deserialize)]
        struct Raw {
            status: GuardedConfig,
        }
        let (raw, source) = crate::config::parse::<Raw>(&file, &text).expect("a configuration");
        raw.status.access(&source).expect("a token")
    }

    #[tokio::test]
    async fn are_served_beside_the_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let listen = Listen::Unix(dir.path().join("status.sock"));
        // A socket file has its mode: the token is for ports.
        let server = Server::bind(&listen)
            .expect("bound")
            .with_access(access(dir.path()));
        let server = server.with_routes(Arc::new(Echo));
        tokio::spawn(server.run(Arc::new(telemetry()), || json!({"lines": 5})));
        let (code, text) = get(&listen, "/echo/a%2Fb%20c?x=1&a=b+%C3%A9").await;
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((code, &answer["path"]), (200, &json!(["echo", "a/b c"])));
        assert_eq!(answer["a"], "b é");
        let (code, text) = get(&listen, "/none").await;
        assert_eq!(
            (code, text.trim()),
            (404, "pages: /metrics /livez /readyz /status /echo")
        );
        let posted = |path: &str, len: usize| {
            format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len}\r\n\r\n{}",
                "x".repeat(len)
            )
        };
        let answer = raw(&listen, &posted("/echo", 100_000)).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("\"len\":100000"),
            "{answer}"
        );
        let answer = raw(&listen, &posted("/status", 1)).await;
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
        let long = format!(
            "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
            5 << 20
        );
        let answer = raw(&listen, &long).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    }

    async fn raw(listen: &Listen, request: &str) -> String {
        let Listen::Unix(path) = listen else {
            panic!("a path")
        };
        let mut stream = UnixStream::connect(path).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn on_a_port_want_the_token() {
        let dir = tempfile::tempdir().expect("a directory");
        let access = access(dir.path());
        let server = Server::bind(&"127.0.0.1:0".parse().expect("an address")).expect("a port");
        let listen = Listen::Loopback(server.local_addr().expect("its port"));
        let server = server
            .with_access(access.clone())
            .with_routes(Arc::new(Echo));
        tokio::spawn(server.run(Arc::new(telemetry()), || json!({})));
        for page in ["/status", "/metrics", "/echo", "/none"] {
            assert_eq!(get(&listen, page).await.0, 401, "{page}");
        }
        for page in ["/livez", "/readyz"] {
            assert_eq!(get(&listen, page).await.0, 200, "{page}");
        }
        for page in ["/status", "/metrics", "/echo"] {
            let (code, _) = query_as(&listen, &access, page).await.expect("an answer");
            assert_eq!(code, 200, "{page}");
        }
    }
}
