//! Durable checkpoints on SQLite, the *planned append* by which a program writes a file that others
//! read exactly once, and the hash-chained ledger of facts beside it. An edge crate.
//!
//! It does not read sources, parse lines or watch files: whole LF-ended lines and the cursors that
//! become true with them come in, and nothing that stands in a target file is ever cut or rewritten.
//! It takes no lock: its user holds the exclusive lock on the directory (crate `service`).
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use offsets::{Appender, Change, Limits, Store};
//!
//! let store = Store::open("/var/lib/logferry/collector/offsets.sqlite").await?;
//! let targets = ["/var/log/logferry/decky.log".into(), "/var/log/logferry/decky.json".into()];
//! let (mut appender, recovered) =
//!     Appender::open(store, "/var/lib/logferry/collector/redo", &targets, Limits::default()).await?;
//! assert!(recovered.is_empty(), "a crash before this start left a batch to finish");
//! let cursor = Change::Put { key: "cursor/abc".into(), value: b"42".to_vec() };
//! appender.append(vec![b"a line\n".to_vec(), b"{}\n".to_vec()], vec![cursor]).await?;
//! # Ok(()) }
//! ```

mod store;

mod appender;

mod ledger;

pub use appender::{AppendError, Appended, Appender, Counters, Limits, Recovered, UNCERTAIN};
pub use ledger::{
    Entries, Fact, LINE_BYTES, Ledger, LedgerEnd, LedgerError, OpenedLedger, REPEAT_WINDOW,
    TAIL_BYTES, Torn, Verified,
};
pub use store::{Change, Store, StoreError};
