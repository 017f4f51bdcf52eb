//! What is written: lines that are a function of their writer and number, so that the end can be compared with the
//! beginning without having kept it.

/// Who writes, and into what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Voice {
    /// Its name, which stands in every line that is not blank.
    pub(super) name: String,
    /// Whether a container writes (text, some of it dropped by the collector), or a program into a file of its own
    /// (any octets, blank lines too).
    pub(super) container: bool,
    seed: u64,
}

/// A line in the making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// Without LF.
    pub(super) bytes: Vec<u8>,
    /// Whether it went to stderr, which nobody collects.
    pub(super) stderr: bool,
    /// Whether DECNET's rules make a record of it.
    pub(super) record: bool,
}

impl Voice {
    pub(super) fn new(name: &str, container: bool, seed: u64) -> Voice {
        Voice {
            name: name.to_owned(),
            container,
            seed,
        }
    }

    /// Line `n`: mostly the same line over and over, one in four with its number in it.
    pub(super) fn line(&self, n: u64) -> Said {
        let name = &self.name;
        let dice = mix(self.seed, n);
        let head = format!(
            "<134>1 2026-06-20T14:03:07Z {name} ssh - auth_attempt [relay@55555 src_ip=\"203.0.113.4\""
        );
        let (text, record) = match dice % 1000 {
            0..700 => (format!("{head} user=\"root\"]"), true),
            700..900 => (format!("{head} n=\"{n}\"] attempt"), true),
            900..960 => (format!("{name} says n=\"{n}\" and no more"), false),
            960..970 => (
                format!("{name} caf\u{e9} \u{2713} n=\"{n}\" \t tail  "),
                false,
            ),
            970..990 => (String::new(), false),
            990..999 => (format!("{name} noise n=\"{n}\""), false),
            _ => {
                let length = 1_000 + mix(dice, n) % 60_000;
                let body = "0123456789abcdef".repeat(length as usize / 16);
                (format!("{head} n=\"{n}\" body=\"{body}\"]"), true)
            }
        };
        let mut bytes = text.into_bytes();
        let noise = (990..999).contains(&(dice % 1000));
        if noise && !self.container {
            bytes.extend((0..=255).filter(|octet| *octet != b'\n'));
        }
        Said {
            bytes,
            stderr: noise && self.container,
            record,
        }
    }

    /// Whether line `n` goes into the `.log`.
    pub(super) fn kept(&self, said: &Said) -> bool {
        !self.container || (!said.stderr && !said.bytes.is_empty())
    }
}

/// The number in a line, if it has one.
pub(super) fn number(line: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(line, b"n=\"")? + 3;
    let rest = &line[at..line.len().min(at + 21)];
    let end = memchr::memchr(b'"', rest)?;
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
}

/// A well-spread function of two numbers (splitmix64's finish).
pub(super) fn mix(a: u64, b: u64) -> u64 {
    let mut x = a ^ b.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
