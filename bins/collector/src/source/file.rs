//! The `file` reader: the json-file driver's own files, for all containers on one thread.

use std::{io, sync::Arc};

use tokio::sync::mpsc;

use super::{Container, Cursor, Event, Pool};

/// What the reader is told.
#[derive(Debug)]
pub enum Command {
    /// Read this container from the cursor on, or from the oldest entry there is. For a container that is being read
    /// it takes back an `Ended`, and the cursor is ignored. After an `Ended`, wait for the batch with `end` before
    /// attaching again, and use that batch's cursor.
    Attach {
        /// The container.
        container: Arc<Container>,
        /// Where to go on.
        cursor: Option<Cursor>,
    },
    /// The container has stopped: read what is left, hand out its last line even without LF, then send `end`.
    Ended {
        /// The container's id.
        id: String,
    },
    /// Let go of the container at once; nothing more is sent for it.
    Detach {
        /// The container's id.
        id: String,
    },
}

/// What the reader is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether stderr is read too.
    pub stderr: bool,
}

/// Tells whether the `file` reader can serve a container: a json-file log whose path can be opened.
///
/// # Errors
///
/// Says what stands in the way.
pub fn probe(container: &Container) -> io::Result<()> {
    let _ = container;
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// Reads the containers it is told of until `commands` is closed or `events` has no receiver.
///
/// Reads block on the disk: run it on a thread of its own (a current-thread runtime with time enabled).
pub async fn run(
    options: Options,
    mut commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    pool: Pool,
) {
    let _ = (options, &events, &pool);
    while commands.recv().await.is_some() {}
}
