//! The lines of well-behaved services.

use crate::{
    event::{Emission, Event, Stamp, ipv4, ipv6},
    random::Random,
};

/// A line of any kind but the hostile ones.
pub(crate) fn emission(name: &str, seq: u64, random: &mut Random) -> Emission {
    let kind = KINDS[random.below(KINDS.len() as u64) as usize];
    kind(name, seq, random)
}

/// The line of which [`Profile::Identical`](crate::Profile::Identical) is made.
pub(crate) fn same(name: &str) -> Emission {
    Event::bare(name, 0, "ssh", "connection")
        .msg(format!("{name} from 203.0.113.44 port 42772"))
        .with_ip("203.0.113.44")
        .emission()
}

type Kind = fn(&str, u64, &mut Random) -> Emission;

const KINDS: &[Kind] = &[
    password,
    password,
    request,
    request,
    fingerprint,
    redis,
    ftp,
    bracketed,
    mqtt,
    command,
    rewrapped,
    prose,
    startup,
    trailing_text,
    two_elements,
    ahead_of_utc,
    manifest,
];

/// A password that is made of what has to be escaped.
fn password(name: &str, seq: u64, random: &mut Random) -> Emission {
    let secret = format!(
        "{}{}",
        random.pick(&["p\"a\\s]s", "hunter2", "]\"]", "\\\\", "q=\"1\"", "a b"]),
        random.word(3)
    );
    Event::new(name, seq, "auth-helper", "auth_attempt")
        .field("username", "root")
        .field("principal", "root")
        .field("secret_printable", secret)
        .address("src_ip", &ipv4(random))
        .emission()
}

fn request(name: &str, seq: u64, random: &mut Random) -> Emission {
    let agent = format!("curl/8.{}.0", random.below(20));
    let headers = format!(r#"{{"Host": "10.0.0.5", "User-Agent": "{agent}", "Accept": ["*/*"]}}"#);
    let body = format!("log=admin&pwd={}", random.word(9));
    Event::new(name, seq, "http", "request")
        .field("method", "POST")
        .field("path", "/wp-login.php")
        .address("remote_addr", &ipv4(random))
        .field("headers", headers)
        .field("body", body)
        .emission()
}

/// An address with a port.
fn fingerprint(name: &str, seq: u64, random: &mut Random) -> Emission {
    let ip = ipv4(random);
    let port = (1024 + random.below(60_000)).to_string();
    let mut event = Event::new(name, seq, "https", "http_request_fingerprint")
        .field("remote_addr", format!("{ip}:{port}"))
        .field("headers_ordered", r#"["host", "user-agent", "accept"]"#)
        .field("cookie", "")
        .with_ip(&ip);
    let bytes = event.bytes();
    event = event.field("remote_port", port);
    Emission::one(bytes, event.expected())
}

fn redis(name: &str, seq: u64, random: &mut Random) -> Emission {
    let args = format!("['SET', 'dir', '/var/spool/{}']", random.word(4));
    Event::new(name, seq, "redis", "command")
        .address("src", &ipv4(random))
        .field("args", args)
        .emission()
}

fn ftp(name: &str, seq: u64, random: &mut Random) -> Emission {
    let ip = ipv6(random);
    Event::new(name, seq, "ftp", "connection")
        .address("src_ip", &ip)
        .field("src_port", "50122")
        .emission()
}

/// IPv6 in brackets, with a port.
fn bracketed(name: &str, seq: u64, random: &mut Random) -> Emission {
    let ip = ipv6(random);
    let event = Event::new(name, seq, "smtp", "connect")
        .field("remote_addr", format!("[{ip}]:4433"))
        .with_ip(&ip);
    let bytes = event.bytes();
    Emission::one(bytes, event.field("remote_port", "4433").expected())
}

fn mqtt(name: &str, seq: u64, random: &mut Random) -> Emission {
    let payload = format!("température={}°C ✓ 𝄞", random.below(90));
    Event::new(name, seq, "mqtt", "publish")
        .address("src", &ipv4(random))
        .field("topic", "site/água")
        .field("payload", payload)
        .emission()
}

/// What a shell's hook sends: no MSGID, and two spaces before the text.
fn command(name: &str, seq: u64, random: &mut Random) -> Emission {
    let ip = ipv4(random);
    let msg = format!("CMD uid=0 user=root src={ip} pwd=/root cmd=echo {name} seq={seq}");
    let mut event = Event::bare(name, seq, "bash", "-").with_ip(&ip);
    event.pri = 14;
    let bytes = event.clone().msg(format!(" {msg}")).bytes();
    event.msgid = "command".to_owned();
    Emission::one(bytes, event.msg(msg).expected())
}

/// The same through a relay that puts a message into a message.
fn rewrapped(name: &str, seq: u64, random: &mut Random) -> Emission {
    let ip = ipv4(random);
    let msg = format!("CMD uid=0 user=root src={ip} pwd=/tmp cmd=ls seq={seq} {name}");
    let inner = format!(
        "{} {name} bash - command [timeQuality tzKnown=\"1\" isSynced=\"1\"] {msg}",
        Stamp::of(seq + 1).text
    );
    let mut event = Event::bare("SRV-DELTA-77", seq, "1", "-").with_ip(&ip);
    event.pri = 14;
    let bytes = event.clone().msg(format!(" {inner}")).bytes();
    name.clone_into(&mut event.host);
    event.app = "bash".to_owned();
    event.msgid = "command".to_owned();
    Emission::one(bytes, event.msg(msg).expected())
}

fn prose(name: &str, seq: u64, random: &mut Random) -> Emission {
    let ip = ipv4(random);
    let mut event = Event::bare(name, seq, "sshd", "-").with_ip(&ip);
    event.pri = 38;
    event.procid = (100 + random.below(30_000)).to_string();
    event
        .msg(format!(
            "Failed password for root from {ip} port 42772 ssh2 seq={seq} {name}"
        ))
        .emission()
}

fn startup(name: &str, seq: u64, _random: &mut Random) -> Emission {
    Event::bare(name, seq, "smtp", "startup")
        .msg(format!("SMTP server starting as {name} seq={seq}"))
        .emission()
}

fn trailing_text(name: &str, seq: u64, random: &mut Random) -> Emission {
    let mut event =
        Event::new(name, seq, "rdp", "tls_handshake_failed").address("src_ip", &ipv4(random));
    event.pri = 132;
    event
        .msg("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)")
        .emission()
}

/// Another element before the one that counts.
fn two_elements(name: &str, seq: u64, random: &mut Random) -> Emission {
    let event = Event::new(name, seq, "dns", "query")
        .address("client_ip", &ipv4(random))
        .field("qname", "a]b\".example");
    let text = event.bytes();
    let at = text.iter().position(|octet| *octet == b'[').unwrap_or(0);
    let bytes = [
        &text[..at],
        b"[meta sequenceId=\"7\" language=\"en\"]",
        &text[at..],
    ]
    .concat();
    Emission::one(bytes, event.expected())
}

fn ahead_of_utc(name: &str, seq: u64, random: &mut Random) -> Emission {
    let mut event = Event::new(name, seq, "vnc", "auth_attempt").address("src", &ipv4(random));
    event.stamp = Stamp::at_offset(seq, 1 + random.below(5));
    event.emission()
}

/// Some KiB of JSON in one value.
fn manifest(name: &str, seq: u64, random: &mut Random) -> Emission {
    let entries = 1 + random.below(60);
    let files: Vec<String> = (0..entries)
        .map(|n| {
            format!(
                r#"{{"name": "{}", "size": {n}, "sha": "{}"}}"#,
                random.word(8),
                random.word(16)
            )
        })
        .collect();
    Event::new(name, seq, "smtp", "message_stored")
        .address("src_ip", &ipv4(random))
        .field("attachments_json", format!("[{}]", files.join(", ")))
        .emission()
}

impl Event {
    /// The address that the record must show, found elsewhere than in a parameter of its own.
    pub(crate) fn with_ip(mut self, ip: &str) -> Self {
        ip.clone_into(&mut self.ip);
        self
    }
}
