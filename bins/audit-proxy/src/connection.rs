//! One connection: cuts what comes into frames and hands them on.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use audit_codec::{FrameError, HEADER, MAX_PAYLOAD, decode_frame};
use bytes::{Bytes, BytesMut};
use rfc5424::Timestamp;
use rustix::net::Shutdown;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use crate::event::{Broken, Client, Event, raised};

/// Reads until the client closes, breaks the framing, stalls inside a frame, or `stop`. Returns when everything
/// that came is handed on.
///
/// At `stop` the receiving side is shut: the client's next write fails, and it keeps what it did not send. What it
/// had written by then still lies in the socket, and is read to the end. So an orderly stop loses nothing.
pub(crate) async fn serve(
    mut stream: UnixStream,
    client: Arc<Client>,
    events: mpsc::Sender<Event>,
    frame_timeout: Duration,
    mut stop: watch::Receiver<bool>,
) {
    let mut buf = BytesMut::new();
    let (mut octets, mut shut) = (0u64, false);
    // When the frame at the front of `buf` began.
    let mut began: Option<Instant> = None;
    let why = loop {
        buf.reserve(READ);
        let late = began.map_or_else(Instant::now, |began| began + frame_timeout);
        let read = tokio::select! {
            biased;
            // First, since a busy client always has something to read.
            () = raised(&mut stop), if !shut => {
                shut = true;
                if let Err(error) = rustix::net::shutdown(&stream, Shutdown::Read) {
                    debug!(%error, "connection can't be shut");
                    break None;
                }
                continue;
            }
            read = stream.read_buf(&mut buf) => read,
            () = sleep_until(late), if began.is_some() => break Some(Broken::Timeout),
        };
        match read {
            Ok(0) => break (!buf.is_empty()).then_some(Broken::Truncated),
            Ok(more) => octets += more as u64,
            Err(error) => {
                debug!(%error, "connection lost");
                break (!buf.is_empty()).then_some(Broken::Truncated);
            }
        }
        let held = buf.len();
        match hand_on(&mut buf, &client, &events).await {
            Handed::On => {}
            Handed::Broken(why) => break Some(why),
            Handed::Nowhere => return,
        }
        if buf.is_empty() {
            began = None;
        } else if began.is_none() || buf.len() < held {
            began = Some(Instant::now());
        }
    };
    let event = match why {
        // A timeout or refusal of ours is no cut of the client's.
        Some(why) => Event::Broken { client, why },
        None if octets == 0 && !shut => Event::Empty { client },
        None => return,
    };
    // Nobody listens any more when the program gives up.
    let _ = events.send(event).await;
}

enum Handed {
    On,
    Broken(Broken),
    /// Nobody takes events any more.
    Nowhere,
}

/// Takes the whole frames out of `buf` and hands each on, waiting for room: that is the back-pressure.
async fn hand_on(buf: &mut BytesMut, client: &Arc<Client>, events: &mpsc::Sender<Event>) -> Handed {
    let arrival = now();
    loop {
        let (tag, consumed) = match decode_frame(buf) {
            Ok(Some((frame, consumed))) => (frame.tag, consumed),
            Ok(None) => return Handed::On,
            Err(FrameError::UnknownTag(_)) => return Handed::Broken(Broken::Tag),
            Err(_) => return Handed::Broken(Broken::Size),
        };
        let mut frame = buf.split_to(consumed);
        let payload = keep(frame.split_off(HEADER));
        let event = Event::Frame {
            client: Arc::clone(client),
            tag,
            payload,
            arrival,
        };
        if events.send(event).await.is_err() {
            return Handed::Nowhere;
        }
    }
}

/// A small frame is copied, so that it does not hold the whole buffer in memory while it waits.
fn keep(payload: BytesMut) -> Bytes {
    if payload.len() < READ / 4 {
        Bytes::copy_from_slice(&payload)
    } else {
        payload.freeze()
    }
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => Timestamp::new(
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            since.subsec_nanos(),
        ),
        Err(_) => Timestamp::default(),
    }
}

/// Room for a read: half of the largest frame. A buffer never holds more than one frame and this.
const READ: usize = (HEADER + MAX_PAYLOAD) / 2;
