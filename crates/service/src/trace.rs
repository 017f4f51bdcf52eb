//! Log lines of our own, on stderr.
//!
//! `RUST_LOG` sets the level (default `info`), `LOGFERRY_LOG=json` the form. Under systemd's journal, which stamps
//! lines itself, there is no time stamp and each line carries its priority (sd-daemon(3)).

use std::fmt;
use std::io::IsTerminal as _;
use std::os::unix::fs::MetadataExt as _;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The variable that asks for JSON lines.
const FORM: &str = "LOGFERRY_LOG";

/// Sets up logging; the first call counts, later ones change nothing. A bad `RUST_LOG` is reported and `info` used.
pub fn init_tracing() {
    let (filter, bad) = match std::env::var("RUST_LOG") {
        Ok(text) if !text.trim().is_empty() => match EnvFilter::try_new(&text) {
            Ok(filter) => (filter, None),
            Err(error) => (EnvFilter::new("info"), Some(error)),
        },
        _ => (EnvFilter::new("info"), None),
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // An error means that a subscriber is there already: the first call counts.
    let _ = if std::env::var_os(FORM).is_some_and(|form| form == "json") {
        lines.json().flatten_event(true).try_init()
    } else if under_journal() {
        let format = tracing_subscriber::fmt::format().without_time();
        lines
            .with_ansi(false)
            .event_format(Journal(format.with_level(false)))
            .try_init()
    } else {
        lines.with_target(false).try_init()
    };
    if let Some(error) = bad {
        tracing::warn!(%error, "RUST_LOG is not understood, using info");
    }
}

/// Whether stderr is the journal's: `JOURNAL_STREAM` is `device:inode` of the stream it gave us (systemd.exec(5)).
fn under_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else {
        return false;
    };
    let stderr = std::fs::metadata("/proc/self/fd/2");
    stderr.is_ok_and(|found| stream == format!("{}:{}", found.dev(), found.ino()))
}

/// Puts the priority before the line, as the journal reads it.
struct Journal(Format<Full, ()>);

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => "<3>",
            Level::WARN => "<4>",
            Level::INFO => "<6>",
            _ => "<7>",
        };
        writer.write_str(priority)?;
        self.0.format_event(context, writer, event)
    }
}
