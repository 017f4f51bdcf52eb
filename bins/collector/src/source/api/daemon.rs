//! What the reader asks the daemon about its container: a part of the log, and whether it still runs.

use std::{io, path::PathBuf, time::Duration};

use tokio::time::timeout;

use super::http::{self, Answer};

/// Where the Docker daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `unix:///var/run/docker.sock`
    Unix(PathBuf),
    /// `tcp://127.0.0.1:2375`, without TLS: `HOST:PORT`
    Tcp(String),
}

/// Why following a container stopped before its output ended. Attach again from the cursor of the last batch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The daemon could not be reached or the stream was cut.
    #[error("docker api: {0}")]
    Io(#[from] io::Error),
    /// The daemon answered with another status than 200.
    #[error("docker api answers {status}: {message}")]
    Status {
        /// HTTP status.
        status: u16,
        /// What the daemon said, at most 512 octets.
        message: String,
    },
    /// The stream was not what the API promises.
    #[error("docker log stream: {0}")]
    Stream(String),
    /// Nobody receives batches any more.
    #[error("the collector is stopping")]
    Closed,
}

/// The daemon, asked about one container.
pub(super) struct Daemon<'a> {
    pub(super) endpoint: &'a Endpoint,
    /// Of the container.
    pub(super) id: String,
}

impl Daemon<'_> {
    /// The newest `tail` entries of the log, or all; with `follow` also what comes later.
    pub(super) async fn logs(&self, follow: bool, tail: Option<u64>) -> Result<Answer, ApiError> {
        let tail = tail.map_or("all".to_owned(), |tail| tail.to_string());
        // Both streams always: `tail` counts the entries of both.
        let path = format!(
            "/containers/{}/logs?follow={}&stdout=1&stderr=1&timestamps=1&tail={tail}",
            self.id,
            u8::from(follow)
        );
        // Podman sends no head before there is output to follow.
        http::get(self.endpoint, &path, (!follow).then_some(STALLED)).await
    }

    /// Whether the container runs on after its stream has ended. Docker closes the log first and notes the end then.
    pub(super) async fn runs_on(&self) -> Result<bool, ApiError> {
        for _ in 0..LOOKS {
            if !self.runs().await? {
                return Ok(false);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(true)
    }

    /// Whether the container runs; one that is not there does not.
    pub(super) async fn runs(&self) -> Result<bool, ApiError> {
        let path = format!("/containers/{}/json", self.id);
        let mut answer = match http::get(self.endpoint, &path, Some(STALLED)).await {
            Ok(answer) => answer,
            Err(ApiError::Status { status: 404, .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "inspecting took too long");
        let text = timeout(STALLED, answer.whole(MAX_INSPECT))
            .await
            .map_err(late)??;
        let inspect: serde_json::Value = serde_json::from_slice(&text)
            .map_err(|error| ApiError::Stream(format!("inspect: {error}")))?;
        Ok(inspect["State"]["Running"].as_bool().unwrap_or(true))
    }
}

/// A snapshot without any octet for this long is broken off.
pub(super) const STALLED: Duration = Duration::from_secs(60);

/// How often, and how far apart, a container is looked at whose stream has ended.
const LOOKS: u32 = 20;
const LOOK: Duration = Duration::from_millis(50);

/// Octets of an inspect answer.
const MAX_INSPECT: usize = 4 << 20;
