//! DECNET's offset: one row of a small SQLite file, read once (facts: table `forwarder_offset`, key `default`).

use std::path::Path;

use anyhow::Context as _;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, Row as _, SqliteConnection};

/// The offset that DECNET's forwarder stored; nothing if it stored none.
///
/// # Errors
/// The file is there and can't be read.
pub(crate) async fn offset(path: &Path) -> anyhow::Result<Option<u64>> {
    if !path.exists() {
        return Ok(None);
    }
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    // Its directory may be read-only for us, in which SQLite can't make its shared-memory file.
    let connected = match SqliteConnection::connect_with(&options).await {
        Ok(connection) => Ok(connection),
        Err(_) => SqliteConnection::connect_with(&options.immutable(true)).await,
    };
    let mut connection = connected.with_context(|| format!("open {}", path.display()))?;
    let row = sqlx::query("SELECT offset FROM forwarder_offset WHERE key = 'default'")
        .fetch_optional(&mut connection)
        .await
        .with_context(|| format!("read {}", path.display()))?;
    let Some(row) = row else {
        return Ok(None);
    };
    let offset: i64 = row
        .try_get(0)
        .with_context(|| format!("read {}", path.display()))?;
    let offset =
        u64::try_from(offset).with_context(|| format!("{}: offset {offset}", path.display()))?;
    Ok(Some(offset))
}
