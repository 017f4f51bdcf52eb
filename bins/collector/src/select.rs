//! Which containers are collected, by which reader, and why: pure decisions over what Docker says.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use crate::source::Container;

/// What a listing says of a container; enough to choose it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The full id, 64 hex digits: the only name by which a container is addressed.
    pub id: String,
    /// Its name without the leading slash.
    pub name: String,
    /// The image it was made from, as its maker wrote it.
    pub image: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it runs now (a paused one does).
    pub running: bool,
}

/// What an inspection says of a container; enough to read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What the listing says too.
    pub summary: Summary,
    /// Name of the log driver.
    pub driver: String,
    /// The json-file driver's live file, when the daemon names one.
    pub log_path: Option<PathBuf>,
    /// When it was last started, in Unix nanoseconds; 0 if never.
    pub started_ns: i64,
    /// Whether the container has a terminal, which makes its stream raw.
    pub tty: bool,
    /// Whether the daemon rotates this container's log (`max-size`).
    pub rotates: bool,
}

/// A label a container must carry: `key=value`, or `key` alone for any value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelRule {
    key: String,
    value: Option<String>,
}

/// What chooses containers.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Any of these labels chooses a container.
    pub labels: Vec<LabelRule>,
    /// So does any of these names, which come from DECNET's state file.
    pub names: BTreeSet<String>,
    /// The start of this program's own container id, if it runs in one.
    pub own: Option<String>,
}

/// Whether a container is collected, and the reason an operator wants to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It carries this label.
    Label(LabelRule),
    /// Its name stands in DECNET's state file.
    Name,
    /// No label and no name matches.
    NoMatch,
    /// It is a DECNET base container, which only holds a network for the others.
    Base,
    /// It is the container this program runs in.
    Itself,
}

/// The configured way to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadMode {
    /// Docker's files where they can be read, else the API.
    #[default]
    Auto,
    /// Only Docker's files.
    File,
    /// Only the API.
    Api,
}

/// The way one container is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// From the json-file driver's own files.
    File(PathBuf),
    /// Through `GET /logs`; `warning` says what that costs here, if anything.
    Api {
        /// What an operator should know about reading this container through the API.
        warning: Option<&'static str>,
    },
    /// Not at all, and why.
    Unreadable(&'static str),
}

impl LabelRule {
    /// Reads `key=value` or `key`; `None` when the key is empty.
    #[must_use]
    pub fn parse(text: &str) -> Option<LabelRule> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text, None),
        };
        (!key.trim().is_empty()).then(|| LabelRule {
            key: key.to_owned(),
            value,
        })
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        labels
            .get(&self.key)
            .is_some_and(|value| self.value.as_ref().is_none_or(|v| v == value))
    }
}

impl fmt::Display for LabelRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.key),
            None => f.write_str(&self.key),
        }
    }
}

impl Rules {
    /// Judges one container.
    #[must_use]
    pub fn judge(&self, container: &Summary) -> Verdict {
        if self
            .own
            .as_ref()
            .is_some_and(|own| container.id.starts_with(own.as_str()))
        {
            return Verdict::Itself;
        }
        if container
            .labels
            .get(BASE_LABEL)
            .is_some_and(|role| role == "base")
        {
            return Verdict::Base;
        }
        if let Some(rule) = self
            .labels
            .iter()
            .find(|rule| rule.matches(&container.labels))
        {
            return Verdict::Label(rule.clone());
        }
        if self.names.contains(&container.name) {
            Verdict::Name
        } else {
            Verdict::NoMatch
        }
    }
}

impl Verdict {
    /// Whether the container is collected.
    #[must_use]
    pub fn collects(&self) -> bool {
        matches!(self, Verdict::Label(_) | Verdict::Name)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Label(rule) => write!(f, "label {rule}"),
            Verdict::Name => f.write_str("name in the decnet state file"),
            Verdict::NoMatch => f.write_str("no label or name matches"),
            Verdict::Base => f.write_str("decnet base container"),
            Verdict::Itself => f.write_str("the collector's own container"),
        }
    }
}

impl Facts {
    /// Chooses the reader. `readable` answers whether a path can be opened for reading; it is asked
    /// at most once.
    pub fn choose(&self, mode: ReadMode, readable: impl FnOnce(&PathBuf) -> bool) -> Choice {
        if self.driver == "none" {
            return Choice::Unreadable("log driver none keeps nothing");
        }
        let file = match &self.log_path {
            Some(path) if self.driver == "json-file" => Some(path),
            _ => None,
        };
        match (mode, file) {
            (ReadMode::Api, _) => Choice::Api {
                warning: self.rotation_warning(),
            },
            (_, Some(path)) if readable(path) => Choice::File(path.clone()),
            (ReadMode::Auto, _) => Choice::Api {
                warning: self.rotation_warning(),
            },
            (ReadMode::File, Some(_)) => Choice::Unreadable("its log file can't be read"),
            (ReadMode::File, None) => {
                Choice::Unreadable("its log driver is not json-file and read = \"file\"")
            }
        }
    }

    /// What a reader needs to know.
    #[must_use]
    pub fn container(&self) -> Container {
        Container {
            id: self.summary.id.clone(),
            name: self.summary.name.clone(),
            tty: self.tty,
            log_driver: self.driver.clone(),
            log_path: self.log_path.clone(),
            rotates: self.rotates,
            started_ns: self.started_ns,
        }
    }

    fn rotation_warning(&self) -> Option<&'static str> {
        // dockerd loses lines towards a follower when it rotates faster than that one reads.
        self.rotates
            .then_some("rotation is on: lines may be lost between dockerd and its API")
    }

    /// The service a container stands for: its DECNET or compose label, else its image's base name,
    /// at most 48 octets (RFC 5424 §6.2.5 limits APP-NAME).
    #[must_use]
    pub fn service(&self) -> &str {
        let labels = &self.summary.labels;
        let label = SERVICE_LABELS
            .iter()
            .filter_map(|key| labels.get(*key))
            .map(String::as_str)
            .find(|value| !value.is_empty());
        let service = label.unwrap_or_else(|| image_base(&self.summary.image));
        let mut end = service.len().min(APP_NAME_MAX);
        while !service.is_char_boundary(end) {
            end -= 1;
        }
        &service[..end]
    }
}

/// The last path component of an image's name without tag and digest.
fn image_base(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    let base = image.rsplit_once('/').map_or(image, |(_, base)| base);
    base.split_once(':').map_or(base, |(name, _)| name)
}

/// Container names that DECNET's state file stands for: `{decky}-{service}`, `_` as `-`.
///
/// # Errors
/// Bytes that are not the JSON DECNET writes.
pub fn state_names(json: &[u8]) -> Result<BTreeSet<String>, serde_json::Error> {
    #[derive(serde::Deserialize)]
    struct State {
        config: Option<Deployment>,
    }
    #[derive(serde::Deserialize)]
    struct Deployment {
        #[serde(default)]
        deckies: Vec<Decky>,
    }
    #[derive(serde::Deserialize)]
    struct Decky {
        name: String,
        #[serde(default)]
        services: Vec<String>,
    }
    let state: State = serde_json::from_slice(json)?;
    let deckies = state
        .config
        .map(|config| config.deckies)
        .unwrap_or_default();
    let mut names = BTreeSet::new();
    for decky in deckies {
        for service in decky.services {
            names.insert(format!("{}-{}", decky.name, service.replace('_', "-")));
            // DECNET's compose file keeps the underscore of some services (`smtp_relay`).
            names.insert(format!("{}-{service}", decky.name));
        }
    }
    Ok(names)
}

/// RFC 5424 §6.2.5.
const APP_NAME_MAX: usize = 48;
const BASE_LABEL: &str = "decnet.topology.role";
const SERVICE_LABELS: [&str; 3] = [
    "decnet.fleet.service_name",
    "decnet.topology.service_name",
    "com.docker.compose.service",
];

#[cfg(test)]
mod tests;
