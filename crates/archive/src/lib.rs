//! The master's archive: what every worker sent, byte for byte, in segments that are the truth.
//!
//! A stream is one named log of a worker; an epoch is one incarnation of the file behind it; a segment is a piece of
//! an epoch, named by the offset of its first byte. Bytes are appended to as many streams as one likes and become
//! durable together, in a *commit window*: segments are synced, then the facts are ledgered, then one transaction
//! moves the index. A window either stands or is void; there is nothing in between.
//!
//! This crate decides nothing about connections, formats its bytes in no way, and refuses to run twice on one
//! directory only as far as its caller holds the lock. It does blocking file work inside `async` calls: give the
//! [`Archive`] a thread of its own.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let data = tempfile::tempdir()?;
//! # let data = data.path();
//! archive::init(data)?;
//! let mut archive = archive::Archive::open(data, archive::Options::default()).await?;
//! let stream = archive::StreamKey::plain("web-1")?;
//! let handle = archive.plain(&stream).await?;
//! archive.append(handle, b"5 hello")?;
//! let committed = archive.commit().await?;
//! assert_eq!((committed[0].from, committed[0].to), (0, 7));
//! # Ok(()) }
//! ```

mod api;
mod archive;
pub mod audit;
mod clock;
mod dir;
mod entry;
mod epoch;
mod error;
mod facts;
mod fault;
mod index;
mod name;
mod pack;
mod pieces;
mod reader;
mod recover;
mod segment;
mod told;
mod view;
mod witness;

pub use api::{Compression, Held, Origin, Print, Proof, Retained, Retention, Stand};
pub use archive::{Archive, Committed, Handle, Options};
pub use clock::Clock;
pub use error::{AppendError, CommitError, OpenError, VoidError};
pub use fault::{Fault, Step};
pub use index::IndexError;
pub use name::{ArchiveId, EpochId, Form, NameError, PLAIN_STREAM, StreamKey, archive_id, init};
pub use reader::{Chunk, ReadError, Reader};
pub use recover::{MAX_FRAME, Recovered};
pub use view::{EpochView, View, ViewError};
