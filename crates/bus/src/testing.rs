//! A bus of a test's own: it takes one program in, hears what that says, and says what the test wants.

use std::{path::Path, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    time::timeout,
};

use crate::frame::{Verb, decode, encode};

/// The longest that anything is waited for.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A socket at a path, where another one may have been.
///
/// # Panics
/// The path can't be listened at.
#[must_use]
pub fn listen(path: &Path) -> UnixListener {
    let _ = std::fs::remove_file(path);
    UnixListener::bind(path).expect("a socket at the path")
}

/// The other end of a program's connection.
#[derive(Debug)]
pub struct Peer {
    /// The connection itself.
    pub stream: UnixStream,
    held: Vec<u8>,
}

impl Peer {
    /// Waits for a program of this name, and takes its greeting.
    ///
    /// # Panics
    /// It does not come, or greets otherwise.
    pub async fn accept(listener: &UnixListener, worker: &str) -> Self {
        let accepted = timeout(PATIENCE, listener.accept()).await;
        let (stream, _) = accepted.expect("a client").expect("a connection");
        let held = Vec::new();
        let mut peer = Self { stream, held };
        for greeting in [
            (Verb::Hello, worker.to_owned()),
            (Verb::Sub, format!("system.{worker}.control")),
        ] {
            assert_eq!(peer.frame().await.map(|frame| frame.0), Some(greeting));
        }
        peer
    }

    /// The next frame's verb and arguments, and its body; `None` when the program has closed.
    ///
    /// # Panics
    /// Nothing comes, or no frame, or a body that is no JSON.
    pub async fn frame(&mut self) -> Option<((Verb, String), Value)> {
        loop {
            if let Some((frame, used)) = decode(&self.held).expect("a frame") {
                let body = match frame.body {
                    [] => Value::Null,
                    body => serde_json::from_slice(body).expect("JSON"),
                };
                let head = (frame.verb, frame.args.to_owned());
                self.held.drain(..used);
                return Some((head, body));
            }
            let read = self.stream.read_buf(&mut self.held);
            if timeout(PATIENCE, read)
                .await
                .expect("octets")
                .expect("octets")
                == 0
            {
                return None;
            }
        }
    }

    /// The body of the next event on a topic.
    ///
    /// # Panics
    /// None comes before the program closes.
    pub async fn event(&mut self, topic: &str) -> Value {
        loop {
            let (head, body) = self.frame().await.expect("an event");
            if head == (Verb::Pub, topic.to_owned()) {
                return body;
            }
        }
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// The program has closed.
    pub async fn say(&mut self, verb: Verb, args: &str, body: &Value) {
        let mut octets = Vec::new();
        encode(verb, args, body.to_string().as_bytes(), &mut octets).expect("a frame");
        self.stream.write_all(&octets).await.expect("a connection");
    }

    /// Asks the program to stop, waits until it has said goodbye, and gives its heartbeat from before.
    ///
    /// # Panics
    /// It does not beat, or ends without the goodbye.
    pub async fn stop(mut self, worker: &str) -> Value {
        let health = self.event(&format!("system.{worker}.health")).await;
        let control = serde_json::json!({ "type": "control", "payload": { "action": "stop" } });
        self.say(Verb::Evt, &format!("system.{worker}.control"), &control)
            .await;
        let mut last = None;
        while let Some((head, _)) = self.frame().await {
            last = Some(head.0);
        }
        assert_eq!(last, Some(Verb::Bye));
        health
    }
}
