//! Traces: what an OpenTelemetry receiver gets, and what the `.json` says of it.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    sync::{Arc, Mutex},
};

use prost::Message;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::host::{Host, append, entry};

/// What the test wants of OTLP's `ExportTraceServiceRequest`.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<Resource>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<Scope>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(fixed64, tag = "7")]
    start: u64,
    #[prost(fixed64, tag = "8")]
    end: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Pair>,
    #[prost(message, repeated, tag = "13")]
    links: Vec<Link>,
}

#[derive(Clone, PartialEq, Message)]
struct Link {
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Text>,
}

#[derive(Clone, PartialEq, Message)]
struct Text {
    #[prost(string, tag = "1")]
    text: String,
}

impl Span {
    fn traceparent(&self) -> String {
        let hex = |octets: &[u8]| {
            octets
                .iter()
                .map(|o| format!("{o:02x}"))
                .collect::<String>()
        };
        format!("00-{}-{}-01", hex(&self.trace_id), hex(&self.span_id))
    }

    fn attributes(&self) -> BTreeMap<&str, &str> {
        self.attributes
            .iter()
            .map(|pair| {
                (
                    pair.key.as_str(),
                    pair.value.as_ref().map_or("", |v| v.text.as_str()),
                )
            })
            .collect()
    }
}

/// A receiver of spans; its thread ends with the process.
struct Receiver {
    at: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Receiver {
    fn start(tls: Option<Arc<ServerConfig>>) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let taken = spans.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let new = match &tls {
                    None => answer(stream),
                    Some(config) => {
                        let connection = ServerConnection::new(config.clone()).unwrap();
                        answer(StreamOwned::new(connection, stream))
                    }
                };
                taken.lock().unwrap().extend(new);
            }
        });
        Receiver { at, spans }
    }

    fn named(&self, name: &str) -> Vec<Span> {
        let spans = self.spans.lock().unwrap();
        spans
            .iter()
            .filter(|span| span.name == name)
            .cloned()
            .collect()
    }
}

/// Takes one request and answers it.
fn answer(mut stream: impl Read + Write) -> Vec<Span> {
    let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
    let head = loop {
        let len = stream.read(&mut chunk).unwrap();
        request.extend_from_slice(&chunk[..len]);
        if let Some(at) = request.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        assert_ne!(len, 0, "no request");
    };
    let text = String::from_utf8(request[..head].to_vec())
        .unwrap()
        .to_lowercase();
    assert!(text.starts_with("post /v1/traces http/1.1\r\n"), "{text}");
    assert!(
        text.contains("content-type: application/x-protobuf\r\n"),
        "{text}"
    );
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.unwrap().parse().unwrap();
    let mut body = request.split_off(head);
    while body.len() < length {
        let len = stream.read(&mut chunk).unwrap();
        body.extend_from_slice(&chunk[..len]);
    }
    let answer =
        "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(answer.as_bytes()).unwrap();
    let scopes = Request::decode(&body[..])
        .unwrap()
        .resources
        .into_iter()
        .flat_map(|r| r.scopes);
    scopes.flat_map(|scope| scope.spans).collect()
}

fn record(n: u64) -> String {
    format!(
        "<134>1 2026-06-20T14:03:07Z omega http - request [relay@55555 src_ip=\"203.0.113.4\" n=\"{n}\"]"
    )
}

#[test]
fn a_traced_record_has_its_spans_context() {
    const LINES: usize = 40;
    let receiver = Receiver::start(None);
    let host = Host::new(&format!(
        "[otlp]\nendpoint = 'http://{}'\nsample = 1.0",
        receiver.at
    ));
    let container = host.run_container("web");
    let collector = host.start();
    for n in 0..LINES as u64 {
        container.print(n, &record(n));
    }
    container.print(LINES as u64, "no record, no span");
    host.until_lines(LINES + 1);
    host.until("spans of all records", || {
        receiver.named("collector.event").len() == LINES
    });
    assert_eq!(collector.stop(), Some(0));
    let streams = receiver.named("collector.stream_container");
    assert_eq!(streams.len(), 1);
    assert_eq!(streams[0].attributes()["container.name"], "web");

    let mut events = receiver.named("collector.event");
    events.sort_by_key(Span::traceparent);
    let mut records = host.records();
    records.sort_by_key(|record| record["_trace"]["traceparent"].to_string());
    for (span, record) in events.iter().zip(&records) {
        assert_eq!(
            record["_trace"],
            serde_json::json!({"traceparent": span.traceparent()})
        );
        let attributes = span.attributes();
        assert_eq!(attributes.len(), 4);
        for key in ["decky", "service", "event_type", "attacker_ip"] {
            assert_eq!(record[key], attributes[key], "{record}");
        }
        assert!(span.start >= streams[0].start && span.end > span.start);
        assert_eq!(span.links[0].span_id, streams[0].span_id);
    }
    events.dedup_by_key(|span| span.trace_id.clone());
    assert_eq!((events.len(), records.len()), (LINES, LINES));
}

#[test]
fn a_crash_changes_no_context() {
    const LINES: u64 = 3000;
    // Nobody is there to take spans.
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let host = Host::new(&format!(
        "commit = {{ max_bytes = '64KiB' }}\n[otlp]\nendpoint = 'http://{closed}'\nsample = 0.5"
    ));
    let container = host.container("web");
    let text: String = (0..LINES)
        .map(|n| entry(n * 1000, &record(n), "stdout"))
        .collect();
    append(&container.log_path, text.as_bytes());
    host.daemon().add(container.clone());
    // Killed at the first sign of work, and again and again on the way.
    for killed_at in [1, 1000, 2000] {
        let collector = host.start();
        host.until("work", || host.lines().len() >= killed_at);
        collector.kill();
    }
    let collector = host.start();
    host.until("running", || host.output(&["status"]).status.success());
    host.until_lines(LINES as usize);
    assert_eq!(collector.stop(), Some(0));
    let crashed = fs::read(host.json()).unwrap();
    let traced = host
        .records()
        .iter()
        .filter(|record| !record["_trace"].is_null())
        .count();
    assert!((1000..2000).contains(&traced), "{traced}");

    // From the beginning, in peace.
    fs::remove_dir_all(host.path("out")).unwrap();
    fs::remove_dir_all(host.path("state")).unwrap();
    let collector = host.start();
    host.until("running", || host.output(&["status"]).status.success());
    host.until_lines(LINES as usize);
    assert_eq!(collector.stop(), Some(0));
    assert!(crashed == fs::read(host.json()).unwrap());
}

#[test]
fn a_receiver_that_never_answers_holds_nobody_up() {
    const LINES: u64 = 20_000;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap();
    let host = Host::new(&format!("[otlp]\nendpoint = 'http://{at}'\nsample = 1.0"));
    let container = host.run_container("web");
    let collector = host.start();
    let text: String = (0..LINES)
        .map(|n| entry(n * 1000, &record(n), "stdout"))
        .collect();
    append(&container.log_path, text.as_bytes());
    host.until_lines(LINES as usize);
    let dropped = || {
        let mut status = UnixStream::connect(host.path("state/status.sock")).unwrap();
        status
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        status.read_to_string(&mut text).unwrap();
        let name = "logferry_collector_otlp_spans_dropped_total{reason=\"queue_full\"} ";
        let found = text.lines().find_map(|line| line.strip_prefix(name));
        found.map_or(0, |count| count.parse::<u64>().unwrap())
    };
    // All but what waits and what is being sent.
    host.until("dropped spans are counted", || {
        dropped() >= LINES - 8192 - 2 * 512
    });
    assert_eq!(collector.stop(), Some(0));
    assert_eq!(host.records().len() as u64, LINES);
    drop(silent);
}

#[test]
fn spans_go_over_tls_to_whom_the_authority_knows() {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let private = rustls_pki_types::PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private.into())
        .unwrap();
    let receiver = Receiver::start(Some(Arc::new(config)));
    let host = Host::new("");
    let ca = host.path("ca.pem");
    fs::write(&ca, key.cert.pem()).unwrap();
    let socket = host.path("docker.sock");
    host.configure(&format!(
        "docker = \"unix://{}\"\n[otlp]\nendpoint = 'https://localhost:{}'\nsample = 1.0\nca = {ca:?}",
        socket.display(),
        receiver.at.port()
    ));
    let container = host.run_container("web");
    let _collector = host.start();
    container.print(1, &record(1));
    host.until("a span over TLS", || {
        receiver.named("collector.event").len() == 1
    });
}

/// A receiver that talks no HTTP breaks nothing.
#[test]
fn an_odd_answer_is_a_failure_like_others() {
    let odd = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = odd.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in odd.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            let _ = stream.write_all(b"\xff\x00 what?\r\n\r\n");
        }
    });
    let host = Host::new(&format!("[otlp]\nendpoint = 'http://{at}'\nsample = 1.0"));
    let container = host.run_container("web");
    let collector = host.start();
    container.print(1, &record(1));
    host.until_lines(1);
    host.until("a failure is told", || {
        let said = fs::read_to_string(host.path("stderr")).unwrap_or_default();
        said.contains("can't send spans")
    });
    assert_eq!(collector.stop(), Some(0));
}
