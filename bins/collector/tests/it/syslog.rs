//! The loopback syslog source: the real program, real sockets, and other people's senders.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    process::Command,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    bus::metric,
    host::{Collector, Host},
};

const RECORD: &str =
    "<134>1 2026-06-20T14:03:07Z omega http - request [relay@55555 src_ip=\"203.0.113.4\"";
const LEGACY: &str = "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8";

/// A host whose collector hears nothing but syslog.
struct Ears {
    host: Host,
    collector: Collector,
    udp: SocketAddr,
    tcp: SocketAddr,
}

impl Ears {
    fn start(settings: &str) -> Ears {
        Ears::on(Ears::host(settings))
    }

    fn host(settings: &str) -> Host {
        let host = Host::bare("");
        let unix = host.path("syslog.sock");
        host.configure(&format!(
            "docker = 'off'\n[syslog]\nudp = '127.0.0.1:0'\ntcp = '127.0.0.1:0'\nunix = {unix:?}\n{settings}"
        ));
        host
    }

    fn on(host: Host) -> Ears {
        let collector = host.start();
        let mut page = Value::Null;
        host.until("listening", || {
            page = host.page();
            page["syslog"]["tcp"].is_string()
        });
        let address = |key: &str| page["syslog"][key].as_str().unwrap().parse().unwrap();
        Ears {
            udp: address("udp"),
            tcp: address("tcp"),
            host,
            collector,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.tcp).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    fn unix(&self) -> UnixDatagram {
        let socket = UnixDatagram::unbound().unwrap();
        socket.connect(self.host.path("syslog.sock")).unwrap();
        socket
    }

    fn send_udp(&self, message: &[u8]) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(message, self.udp).unwrap();
    }

    fn texts(&self) -> Vec<String> {
        let lines = self.host.lines();
        lines
            .into_iter()
            .map(|line| String::from_utf8(line).unwrap())
            .collect()
    }

    /// What stands behind the header of the wrapped lines.
    fn unwrapped(&self) -> Vec<String> {
        let rest = |line: &String| line.split_once("] ").unwrap().1.to_owned();
        self.texts().iter().map(rest).collect()
    }

    fn gaps(&self) -> Vec<Value> {
        let output = self.host.output(&["gaps", "--json"]);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Books of one transport.
    fn books(&self, transport: &str) -> Value {
        let page = self.host.page();
        let entries = page["containers"].as_array().unwrap();
        let entry = entries
            .iter()
            .find(|entry| entry["id"] == format!("syslog-{transport}"));
        assert_eq!(entry.unwrap()["balanced"], true);
        entry.unwrap()["books"].clone()
    }
}

#[test]
fn takes_messages_as_containers_lines() {
    let ears = Ears::start("mode = '0622'");
    let mode = fs::metadata(ears.host.path("syslog.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o622);
    ears.send_udp(format!("{RECORD}]").as_bytes());
    ears.host.until_lines(1);
    ears.unix().send(LEGACY.as_bytes()).unwrap();
    ears.host.until_lines(2);
    ears.connect().write_all(b"<13>\xff\xfe\r\n").unwrap();
    ears.host.until("3 lines", || ears.host.lines().len() == 3);

    let lines = ears.host.lines();
    assert_eq!(lines[0], format!("{RECORD}]").into_bytes());
    let head = |transport: &str| {
        format!(
            " _syslog syslog - raw [logferry@32473 container=\"_syslog\" id=\"000000000000\" stream=\"{transport}\"] "
        )
    };
    let (stamp, rest) = lines[1].split_at(34);
    assert!(stamp.starts_with(b"<134>1 20") && stamp.ends_with(b"Z"));
    assert_eq!(rest, (head("unix") + LEGACY).into_bytes());
    assert_eq!(
        lines[2][34..],
        [head("tcp").as_bytes(), b"<13>\xff\xfe\r"].concat()
    );

    let records = ears.host.records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["attacker_ip"], "203.0.113.4");
    assert_eq!(records[0]["container"], "_syslog");
    assert_eq!(records[0]["stream"], "udp");
    for transport in ["udp", "tcp", "unix"] {
        assert_eq!(ears.books(transport)["written"], 1, "{transport}");
    }
    // Nothing of Docker is asked for, and a stop finds everything done.
    assert_eq!(ears.host.output(&["containers"]).status.code(), Some(0));
    assert_eq!(ears.collector.stop(), Some(0));
    assert!(ears.host.output(&["gaps"]).stdout.is_empty());
}

#[test]
fn both_framings_on_a_connection_cut_anywhere() {
    let ears = Ears::start("");
    let wire = b"<1>one\n8 <2>a\nb c12 <3>1 - - - -<4>two\n<5>rest";
    let expected = ["<1>one", "<2>a#012b c", "<3>1 - - - -", "<4>two", "<5>rest"];
    for at in 0..=wire.len() {
        let mut stream = ears.connect();
        let (first, second) = wire.split_at(at);
        stream.write_all(first).unwrap();
        stream.write_all(second).unwrap();
        drop(stream);
        ears.host.until_lines((at + 1) * expected.len());
    }
    let lines = ears.unwrapped();
    assert!(
        lines.chunks(expected.len()).all(|chunk| chunk == expected),
        "{lines:?}"
    );
    // One octet at a time.
    let mut stream = ears.connect();
    for octet in wire {
        stream.write_all(&[*octet]).unwrap();
    }
    drop(stream);
    ears.host.until_lines((wire.len() + 2) * expected.len());
    assert_eq!(
        ears.unwrapped()[(wire.len() + 1) * expected.len()..],
        expected
    );
}

#[test]
fn what_breaks_the_framing_costs_its_sender_alone() {
    let ears = Ears::start("");
    let mut good = ears.connect();
    good.write_all(b"<1>before\n").unwrap();
    let bad: [&[u8]; 6] = [
        b"<9>kept\n0 x",
        b"<9>kept\n01 x",
        b"<9>kept\n5x",
        b"<9>kept\n1048577 x",
        b"<9>kept\n99999999999999999999 x",
        b"<9>kept\n2026-06-20 text that begins with a digit\n",
    ];
    for wire in bad {
        let mut stream = ears.connect();
        stream.write_all(wire).unwrap();
        // The collector closes; nothing is ever answered.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
    let mut half = ears.connect();
    half.write_all(b"20 <9>half").unwrap();
    drop(half);
    good.write_all(b"6 <1>end").unwrap();
    ears.host.until_lines(2 + bad.len());
    let lines = ears.unwrapped();
    assert_eq!(
        lines.iter().filter(|line| *line == "<9>kept").count(),
        bad.len()
    );
    assert_eq!(
        lines.iter().filter(|line| line.starts_with("<1>")).count(),
        2
    );
    drop(good);
    let Ears {
        host, collector, ..
    } = ears;
    assert_eq!(collector.stop(), Some(0));
    let output = host.output(&["gaps", "--json"]);
    let gaps = String::from_utf8(output.stdout).unwrap();
    let count = |cause: &str| -> u64 {
        let lines = gaps
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mine = lines.filter(|gap| gap["cause"] == cause);
        mine.map(|gap| gap["lines"].as_u64().unwrap()).sum()
    };
    assert_eq!((count("malformed"), count("incomplete")), (6, 1), "{gaps}");
}

#[test]
fn what_is_too_long_is_cut_and_kept_or_counted() {
    let ears = Ears::start("max_message = '1KiB'");
    let long = "x".repeat(2500);
    ears.connect()
        .write_all(format!("<1>{long}\n<1>short\n").as_bytes())
        .unwrap();
    ears.host.until_lines(4);
    let lines = ears.texts();
    let parts: Vec<_> = lines[..3]
        .iter()
        .map(|line| line.split_once("] ").unwrap())
        .collect();
    assert_eq!(
        parts.iter().map(|(_, octets)| *octets).collect::<String>(),
        format!("<1>{long}")
    );
    for (n, (head, _)) in parts.iter().enumerate() {
        assert!(head.contains(&format!("part=\"{}\"", n + 1)), "{head}");
        assert_eq!(head.contains("last=\"1\""), n == 2, "{head}");
    }
    let sender = ears.unix();
    sender.send(&vec![b'y'; 70_000]).unwrap();
    ears.host.until_lines(5);
    assert_eq!(ears.unwrapped()[4], "y".repeat(64 << 10));
    ears.host.until("a gap", || !ears.gaps().is_empty());
    let gap = &ears.gaps()[0];
    assert_eq!(gap["cause"], "truncated");
    assert_eq!(
        (&gap["bytes"], &gap["lines"]),
        (&Value::from(70_000 - (64 << 10)), &Value::from(1))
    );
}

#[test]
fn a_silent_connection_is_closed_and_its_line_kept() {
    let ears = Ears::start("idle = '1s'");
    let mut stream = ears.connect();
    stream.write_all(b"<1>whole\n<1>without an end").unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    ears.host.until_lines(2);
    assert_eq!(ears.unwrapped(), ["<1>whole", "<1>without an end"]);
}

#[test]
fn many_connections_keep_each_its_order() {
    const CONNECTIONS: usize = 16;
    const LINES: usize = 1000;
    let ears = Ears::start("connections = 12");
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|sender| {
            let address = ears.tcp;
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                for n in 0..LINES {
                    let message = format!("<1>{sender} {n}");
                    let framed = if n % 2 == 0 {
                        format!("{message}\n")
                    } else {
                        format!("{} {message}", message.len())
                    };
                    stream.write_all(framed.as_bytes()).unwrap();
                }
            })
        })
        .collect();
    for sender in senders {
        sender.join().unwrap();
    }
    ears.host.until_lines(CONNECTIONS * LINES);
    let mut next = [0; CONNECTIONS];
    for line in ears.unwrapped() {
        let (sender, n) = line[3..].split_once(' ').unwrap();
        let sender: usize = sender.parse().unwrap();
        assert_eq!(n.parse(), Ok(next[sender]), "{line}");
        next[sender] += 1;
    }
    assert_eq!(ears.books("tcp")["written"], (CONNECTIONS * LINES) as u64);
}

#[test]
fn a_stop_takes_in_what_was_sent() {
    const LINES: usize = 400;
    let ears = Ears::start("");
    // It sleeps: everything waits in the kernel, connections too.
    ears.collector.signal(Signal::STOP);
    let mut streams: Vec<_> = (0..10).map(|_| ears.connect()).collect();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let unix = ears.unix();
    let long = "x".repeat(300);
    unix.set_nonblocking(true).unwrap();
    let mut local = 0;
    for n in 0..LINES {
        let stream = &mut streams[n % 10];
        let message = format!("<1>tcp {n} {long}\n");
        stream.write_all(message.as_bytes()).unwrap();
        sender
            .send_to(format!("<1>udp {n}").as_bytes(), ears.udp)
            .unwrap();
        // As many as the queue holds (net.unix.max_dgram_qlen).
        local += usize::from(unix.send(format!("<1>unix {n}").as_bytes()).is_ok());
    }
    let Ears {
        host, collector, ..
    } = ears;
    assert_eq!(collector.stop_asleep(), Some(0));
    assert!(local > 0);
    let lines = host.lines();
    assert_eq!(lines.len(), 2 * LINES + local);
    // Started again, it writes nothing twice and takes the place of its dead socket.
    let again = Ears::on(host);
    again.unix().send(b"<1>more").unwrap();
    again.host.until_lines(lines.len() + 1);
    assert_eq!(again.collector.stop(), Some(0));
}

#[test]
fn a_kill_repeats_nothing_and_the_books_stand() {
    const LINES: u64 = 500;
    let mut ears = Ears::start("");
    for round in 0..8 {
        let mut stream = ears.connect();
        for n in round * LINES..(round + 1) * LINES {
            stream.write_all(format!("<1>{n}\n").as_bytes()).unwrap();
        }
        // At any moment between the first line and the last.
        let some =
            |line: &Vec<u8>| line.ends_with(format!(">{}", round * LINES + round).as_bytes());
        ears.host
            .until("some lines", || ears.host.lines().iter().any(some));
        let Ears {
            host, collector, ..
        } = ears;
        collector.kill();
        ears = Ears::on(host);
    }
    ears.connect().write_all(b"<1>999999\n").unwrap();
    ears.host.until("the last line", || {
        ears.unwrapped()
            .last()
            .is_some_and(|line| line == "<1>999999")
    });
    let lines = ears.unwrapped();
    let numbers: Vec<u64> = lines
        .iter()
        .map(|line| line[3..].parse().unwrap())
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[0] < pair[1]),
        "{numbers:?}"
    );
    assert_eq!(ears.books("tcp")["written"], lines.len() as u64);
}

#[test]
fn a_full_disk_makes_connections_wait() {
    let host = Ears::host("");
    let out = host.path("out");
    fs::create_dir(&out).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "none"])
        .arg(&out)
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return service::testing::skip(
            "syslog::a_full_disk_makes_connections_wait",
            "the right to mount a tmpfs (run as root)",
        );
    }
    let _mount = Mount(out.clone());
    let ears = Ears::on(host);
    let mut stream = ears.connect();
    stream
        .set_write_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let line = format!("<134>1 - - - - - - {}\n", "x".repeat(980));
    // Until nothing more goes into the socket: far more than the disk holds.
    let mut sent = 0;
    while let Ok(len) = stream.write(&line.as_bytes()[sent % line.len()..]) {
        sent += len;
        assert!(sent < 256 << 20, "nobody is held up");
    }
    assert!(ears.host.lines().len() * line.len() < 256 << 10);
    let more = Command::new("mount")
        .args(["-o", "remount,size=512m"])
        .arg(&out)
        .status();
    assert!(more.unwrap().success());
    ears.host
        .until("all of it", || ears.host.lines().len() == sent / line.len());
    drop(stream);
    assert_eq!(ears.collector.stop(), Some(0));
}

/// A file system that goes when its test is over.
struct Mount(std::path::PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn what_the_kernel_drops_is_counted() {
    const SENT: u64 = 20_000;
    let ears = Ears::start("");
    ears.collector.signal(Signal::STOP);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let message = vec![b'z'; 1000];
    for _ in 0..SENT {
        sender.send_to(&message, ears.udp).unwrap();
    }
    ears.collector.signal(Signal::CONT);
    let lost = || -> u64 {
        let gaps = ears.gaps();
        let mine = gaps.iter().filter(|gap| gap["cause"] == "overflow");
        mine.map(|gap| gap["lines"].as_u64().unwrap()).sum()
    };
    ears.host
        .until("all that was sent is written or counted", || {
            ears.host.lines().len() as u64 + lost() == SENT
        });
    assert!(lost() > 0 && !ears.host.lines().is_empty());
}

#[test]
fn records_are_deduplicated_as_containers_are() {
    let ears = Ears::start("");
    let connect = RECORD.replace(" request ", " connect ") + "]";
    let mut stream = ears.connect();
    for _ in 0..5 {
        stream.write_all(format!("{connect}\n").as_bytes()).unwrap();
    }
    ears.host.until_lines(5);
    let books = ears.books("tcp");
    let Ears {
        host, collector, ..
    } = ears;
    assert_eq!(collector.stop(), Some(0));
    assert_eq!(host.records().len(), 1);
    assert_eq!(books["records"]["repeated"], 4);
}

#[test]
fn who_is_not_on_loopback_is_refused() {
    let host = Host::bare("docker = 'off'\n[syslog]\ntcp = '0.0.0.0:5514'\nudp = '[::]:5514'");
    for command in ["check", "run"] {
        let output = host.output(&[command]);
        assert_eq!(output.status.code(), Some(78));
        let said = String::from_utf8(output.stderr).unwrap();
        for key in ["syslog.tcp", "syslog.udp"] {
            assert!(said.contains(&format!(": {key}: ")), "{said}");
        }
        assert!(said.contains("can be reached from other hosts"), "{said}");
    }
    // An address of this host that others know, if it has one: found by asking for a way out, which sends nothing.
    let probe = UdpSocket::bind("0.0.0.0:0").unwrap();
    let ours = probe
        .connect("192.0.2.1:9")
        .and_then(|()| probe.local_addr())
        .map(|at| at.ip());
    let Some(ours) = ours
        .ok()
        .filter(|ip: &IpAddr| !ip.is_loopback() && !ip.is_unspecified())
    else {
        return service::testing::skip(
            "syslog::who_is_not_on_loopback_is_refused",
            "no network interface",
        );
    };
    let ears = Ears::start("");
    let udp = UdpSocket::bind((ours, 0)).unwrap();
    udp.send_to(b"<1>from elsewhere", ears.udp).unwrap();
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    )
    .unwrap();
    rustix::net::bind(&socket, &SocketAddr::new(ours, 0)).unwrap();
    rustix::net::connect(&socket, &ears.tcp).unwrap();
    let mut stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let ended = stream.read(&mut [0; 1]);
    assert!(
        matches!(ended, Ok(0))
            || ended.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset)
    );
    // What comes behind it shows that it was passed over.
    ears.send_udp(b"<1>from here");
    ears.host.until_lines(1);
    assert_eq!(ears.unwrapped(), ["<1>from here"]);
}

#[test]
fn takes_what_logger_sends() {
    if !Command::new("logger")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return service::testing::skip(
            "syslog::takes_what_logger_sends",
            "logger (package bsdutils)",
        );
    }
    let ears = Ears::start("");
    let socket = ears.host.path("syslog.sock").display().to_string();
    let (udp, tcp) = (ears.udp.port().to_string(), ears.tcp.port().to_string());
    let udp = ["--server", "127.0.0.1", "--port", &udp, "--udp"];
    let tcp = ["--server", "127.0.0.1", "--port", &tcp, "--tcp"];
    let counted = [
        "--server",
        "127.0.0.1",
        "--port",
        tcp[3],
        "--tcp",
        "--octet-count",
    ];
    let local = ["--socket", &socket, "--socket-errors=on"];
    let ways: [&[&str]; 4] = [&udp, &tcp, &counted, &local];
    let (mut count, mut native) = (0, 0);
    for way in ways {
        for format in ["--rfc5424", "--rfc3164"] {
            // In the local form util-linux writes no host name; the socket does not care.
            let message = format!("message {count} \u{e9}");
            let status = Command::new("logger")
                .args(way)
                .arg(format)
                .arg(&message)
                .status()
                .unwrap();
            assert!(status.success(), "{way:?} {format}");
            count += 1;
            ears.host.until_lines(count);
            let line = ears.texts().pop().unwrap();
            assert!(line.ends_with(&message), "{line}");
            let is_native = !line.contains(" raw [logferry@32473 ");
            assert_eq!(is_native, format == "--rfc5424", "{way:?}: {line}");
            native += usize::from(is_native);
        }
    }
    assert_eq!((count, native), (8, 4));
}

#[test]
fn what_a_stop_can_not_write_is_counted() {
    let ears = Ears::start("");
    ears.send_udp(b"<1>written");
    ears.host
        .until("the first", || ears.host.lines().len() == 1);
    // Nothing can be written, and nothing announced.
    fs::remove_file(ears.host.path("out/decky.log")).unwrap();
    fs::create_dir(ears.host.path("out/decky.log")).unwrap();
    let mut stream = ears.connect();
    for _ in 0..7 {
        ears.send_udp(b"<1>u");
        stream.write_all(b"<1>t\n").unwrap();
    }
    ears.host.until("all of it received", || {
        let received = |transport| metric(&ears.host, "syslog_messages_total", transport);
        (received("udp"), received("tcp")) == (8, 7)
    });
    assert_eq!(ears.collector.stop(), Some(1));
    fs::remove_dir(ears.host.path("out/decky.log")).unwrap();
    let output = ears.host.output(&["gaps", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let mut told: Vec<(String, u64)> = Vec::new();
    for line in text.lines() {
        let gap: Value = serde_json::from_str(line).unwrap();
        assert_eq!(gap["cause"], "unsaved", "{gap}");
        let of = gap["epoch"].as_str().unwrap().to_owned();
        told.push((of, gap["lines"].as_u64().unwrap()));
    }
    assert_eq!(
        told,
        [("syslog-udp".to_owned(), 7), ("syslog-tcp".to_owned(), 7)]
    );
}
