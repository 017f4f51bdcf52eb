//! An acknowledged connection's place in the queue.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use delivery::ConnectionId;
use tokio::sync::{Semaphore, mpsc};

use super::{Closed, Intake, Item, Mailbox, Said};
use crate::workers::Worker;

/// What waits for room.
pub(crate) type Sending = Pin<Box<dyn Future<Output = Result<(), Closed>> + Send>>;

/// The place of one acknowledged connection. However the connection ends, the archive's owner hears of it last: the
/// room for that is taken at the beginning.
#[derive(Debug)]
pub(crate) struct Seat {
    connection: ConnectionId,
    intake: Intake,
    own: Arc<Semaphore>,
    mailbox: Arc<Mailbox>,
    last: Option<mpsc::OwnedPermit<Item>>,
}

impl Intake {
    /// A place for a new connection; `full`: another one of its worker has to make room.
    pub(crate) async fn enter(&self, worker: &Arc<Worker>, full: bool) -> Result<Seat, Closed> {
        let last = self.items.clone().reserve_owned().await;
        let seat = Seat {
            connection: self.next_connection(),
            intake: self.clone(),
            own: Intake::share(),
            mailbox: Arc::default(),
            last: Some(last.map_err(|_| Closed)?),
        };
        let enter = Said::Enter {
            worker: Arc::clone(worker),
            full,
            mailbox: Arc::clone(&seat.mailbox),
        };
        let enter = Item::Said(seat.connection, enter);
        self.items.send(enter).await.map_err(|_| Closed)?;
        Ok(seat)
    }
}

impl Seat {
    /// Where answers arrive.
    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Queues something at once, or gives what waits until there is room; nothing else may be sent before that is
    /// done.
    pub(crate) fn send(&self, said: Said) -> Result<Option<Sending>, Closed> {
        let len = said.len();
        let room = match len {
            0 => None,
            len => match self.intake.room_now(&self.own, len) {
                Some(room) => Some(room),
                None => return Ok(Some(self.wait(said))),
            },
        };
        match self.intake.items.try_reserve() {
            Ok(place) => {
                place.send(Item::Said(self.connection, with_room(said, room)));
                Ok(None)
            }
            Err(mpsc::error::TrySendError::Full(())) => {
                drop(room);
                Ok(Some(self.wait(said)))
            }
            Err(mpsc::error::TrySendError::Closed(())) => Err(Closed),
        }
    }

    fn wait(&self, said: Said) -> Sending {
        let (intake, own, connection) =
            (self.intake.clone(), Arc::clone(&self.own), self.connection);
        Box::pin(async move {
            let room = match said.len() {
                0 => None,
                len => Some(intake.room(&own, len).await?),
            };
            let item = Item::Said(connection, with_room(said, room));
            intake.items.send(item).await.map_err(|_| Closed)
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(place) = self.last.take() {
            place.send(Item::Said(self.connection, Said::Over));
        }
    }
}

fn with_room(said: Said, held: Option<super::Room>) -> Said {
    match said {
        Said::Lines { from, bytes, .. } => Said::Lines {
            from,
            bytes,
            room: held,
        },
        other => other,
    }
}
