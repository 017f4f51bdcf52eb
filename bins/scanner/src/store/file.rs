//! How the scanner opens its databases: one writer each, durable with every transaction, and any number who only look.

use std::path::Path;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

/// For the one that writes; the file is made if it is not there.
pub(crate) fn written(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        .optimize_on_close(false, None)
        .disable_statement_logging()
}

/// For one that looks, also while the other writes.
pub(crate) fn looked_at(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY)
        .disable_statement_logging()
}

/// How long a statement waits for another process that holds the file: a checkpoint, a backup.
const BUSY: Duration = Duration::from_secs(5);
