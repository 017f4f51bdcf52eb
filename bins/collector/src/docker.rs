//! The Docker daemon as the collector sees it: one listing, one inspection, one stream of events.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    path::PathBuf,
    time::SystemTime,
};

use bollard::{
    API_DEFAULT_VERSION,
    models::{ContainerInspectResponse, ContainerSummary, EventMessage},
    query_parameters::{
        EventsOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    },
};
use futures_util::{Stream, StreamExt};

use crate::{
    select::{Facts, Summary},
    source::api::Endpoint,
};

/// Why an endpoint is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The scheme is none of those spoken here.
    #[error("must begin with unix:// or tcp://")]
    Scheme,
    /// A socket path that is not absolute.
    #[error("names no absolute socket path")]
    Path,
    /// No `HOST:PORT`.
    #[error("is not HOST:PORT")]
    Address,
    /// Plain text would leave the host.
    #[error("is not a loopback address, and the daemon's TCP port is plain text")]
    NotLoopback,
}

/// A connection to a daemon whose version was agreed upon.
#[derive(Clone, Debug)]
pub struct Docker {
    client: bollard::Docker,
}

/// What the daemon says of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspected {
    /// It is there.
    Found(Facts),
    /// It is not.
    Gone,
    /// The daemon can't tell, or tells it in a form that is not understood.
    Refused(String),
}

/// Something that happened to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The container's full id.
    pub id: String,
    /// What happened.
    pub kind: EventKind,
    /// Labels and facts in one map, either of which may shadow the other: good for a guess when
    /// the container is already gone.
    pub attributes: BTreeMap<String, String>,
}

/// The kinds of events that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was made or started, or its name changed: look at it.
    Changed,
    /// Its process ended; its log is complete until the next start.
    Died,
    /// It was removed, and its log with it.
    Destroyed,
}

/// Reads `unix:///path`, `tcp://127.0.0.1:2375` or `http://localhost:2375`.
///
/// # Errors
/// Anything else; an address that is not loopback.
pub fn endpoint(text: &str) -> Result<Endpoint, EndpointError> {
    if let Some(path) = text.strip_prefix("unix://") {
        let path = PathBuf::from(path);
        return if path.is_absolute() {
            Ok(Endpoint::Unix(path))
        } else {
            Err(EndpointError::Path)
        };
    }
    let address = text
        .strip_prefix("tcp://")
        .or_else(|| text.strip_prefix("http://"));
    let address = address.ok_or(EndpointError::Scheme)?.trim_end_matches('/');
    let (host, port) = address.rsplit_once(':').ok_or(EndpointError::Address)?;
    port.parse::<u16>().map_err(|_| EndpointError::Address)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = match bare.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_) => bare == "localhost",
    };
    if loopback {
        Ok(Endpoint::Tcp(address.to_owned()))
    } else {
        Err(EndpointError::NotLoopback)
    }
}

/// An endpoint as it is written in the configuration.
#[must_use]
pub fn name(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Unix(path) => format!("unix://{}", path.display()),
        Endpoint::Tcp(address) => format!("tcp://{address}"),
    }
}

impl Docker {
    /// Connects and agrees on a version.
    ///
    /// # Errors
    /// A daemon that is not there or does not answer within a minute.
    pub async fn connect(endpoint: &Endpoint) -> Result<Docker, bollard::errors::Error> {
        let client = match endpoint {
            Endpoint::Unix(path) => {
                let path = path.to_string_lossy();
                bollard::Docker::connect_with_unix(&path, ANSWER_S, API_DEFAULT_VERSION)?
            }
            Endpoint::Tcp(address) => {
                bollard::Docker::connect_with_http(address, ANSWER_S, API_DEFAULT_VERSION)?
            }
        };
        Ok(Docker {
            client: client.negotiate_version().await?,
        })
    }

    /// Lists every container, running or not.
    ///
    /// # Errors
    /// What the daemon or the connection says.
    pub async fn list(&self) -> Result<Vec<Summary>, bollard::errors::Error> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let listed = self.client.list_containers(Some(options)).await?;
        Ok(listed.into_iter().filter_map(summary).collect())
    }

    /// Inspects one container.
    ///
    /// # Errors
    /// What the connection says. A daemon that answers with an error is no error of the connection.
    pub async fn inspect(&self, id: &str) -> Result<Inspected, bollard::errors::Error> {
        use bollard::errors::Error;
        let options = None::<InspectContainerOptions>;
        match self.client.inspect_container(id, options).await {
            Ok(answer) => Ok(facts(answer).map_or(Inspected::Gone, Inspected::Found)),
            Err(Error::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(Inspected::Gone),
            Err(
                error @ (Error::DockerResponseServerError { .. }
                | Error::JsonDataError { .. }
                | Error::JsonSerdeError { .. }),
            ) => Ok(Inspected::Refused(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// Subscribes to the container events that matter, those since `from` first. The daemon
    /// remembers 256 events of any kind.
    pub fn events(
        &self,
        from: SystemTime,
    ) -> impl Stream<Item = Result<Event, bollard::errors::Error>> + Send + use<> {
        let mut filters = HashMap::new();
        filters.insert("type", vec!["container"]);
        filters.insert("event", EVENTS.to_vec());
        let from = from
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let since = format!("{}.{:09}", from.as_secs(), from.subsec_nanos());
        let options = EventsOptionsBuilder::default()
            .filters(&filters)
            .since(&since)
            .build();
        self.client
            .events(Some(options))
            .filter_map(|message| async move {
                match message {
                    Ok(message) => event(message).map(Ok),
                    Err(error) => Some(Err(error)),
                }
            })
    }
}

fn event(message: EventMessage) -> Option<Event> {
    let kind = match message.action.as_deref()? {
        "create" | "start" | "rename" | "restart" => EventKind::Changed,
        // Podman says `died` and `remove`.
        "die" | "died" => EventKind::Died,
        "destroy" | "remove" => EventKind::Destroyed,
        _ => return None,
    };
    let actor = message.actor?;
    let attributes = actor.attributes.unwrap_or_default().into_iter().collect();
    Some(Event {
        id: actor.id?,
        kind,
        attributes,
    })
}

fn summary(listed: ContainerSummary) -> Option<Summary> {
    let names = listed.names.unwrap_or_default();
    // A link adds names of the form `/other/alias`.
    let name = names
        .iter()
        .map(|name| name.trim_start_matches('/'))
        .find(|name| !name.contains('/'));
    let state = listed
        .state
        .map(|state| state.to_string())
        .unwrap_or_default();
    Some(Summary {
        id: listed.id?,
        name: name.unwrap_or_default().to_owned(),
        image: listed.image.unwrap_or_default(),
        labels: listed.labels.unwrap_or_default().into_iter().collect(),
        running: matches!(state.as_str(), "running" | "paused" | "restarting"),
    })
}

fn facts(answer: ContainerInspectResponse) -> Option<Facts> {
    let config = answer.config.unwrap_or_default();
    let logging = answer
        .host_config
        .and_then(|host| host.log_config)
        .unwrap_or_default();
    let options = logging.config.unwrap_or_default();
    let state = answer.state.unwrap_or_default();
    Some(Facts {
        summary: Summary {
            id: answer.id?,
            name: answer
                .name
                .unwrap_or_default()
                .trim_start_matches('/')
                .to_owned(),
            image: config.image.unwrap_or_default(),
            labels: config.labels.unwrap_or_default().into_iter().collect(),
            running: state.running.unwrap_or_default() || state.paused.unwrap_or_default(),
        },
        driver: logging.typ.unwrap_or_default(),
        log_path: answer
            .log_path
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
        started_ns: state.started_at.as_deref().map_or(0, unix_ns),
        tty: config.tty.unwrap_or_default(),
        rotates: options.contains_key("max-size"),
    })
}

/// Unix nanoseconds of an RFC 3339 stamp; 0 for Docker's "never" (the year 1) and for none.
fn unix_ns(stamp: &str) -> i64 {
    let parsed = stamp.parse::<jiff::Timestamp>().ok();
    let ns = parsed.and_then(|at| i64::try_from(at.as_nanosecond()).ok());
    ns.unwrap_or(0).max(0)
}

/// Longest wait for the head of an answer, in seconds.
const ANSWER_S: u64 = 60;
const EVENTS: [&str; 8] = [
    "create", "start", "restart", "rename", "die", "died", "destroy", "remove",
];

#[cfg(test)]
mod tests;
