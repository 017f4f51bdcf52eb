//! What is known of every container that is or was collected: shared by the one who starts readers,
//! the writer, and the status page. Locked per batch, never per line.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};

use crate::{books::Books, checkpoint::Checkpoint, render::Label, source::Container, syslog};

/// All containers, by id.
#[derive(Debug, Default)]
pub struct Roster {
    entries: Mutex<BTreeMap<String, Entry>>,
}

#[derive(Debug, Default)]
struct Entry {
    label: Arc<Label>,
    books: Books,
    shown: Shown,
}

/// What the status page says beside the books.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Why it is collected.
    pub why: String,
    /// `file` or `api`.
    pub reader: &'static str,
    /// What its reader is doing.
    pub state: String,
    /// Whether it exists and is chosen at present.
    pub current: bool,
}

impl Roster {
    /// A roster of the containers an earlier process left.
    #[must_use]
    pub fn new(stored: &[(String, Checkpoint)]) -> Roster {
        let entry = |(id, checkpoint): &(String, Checkpoint)| {
            let label = Label {
                name: checkpoint.name.clone(),
                ..Label::default()
            };
            let entry = Entry {
                label: Arc::new(label),
                books: checkpoint.books,
                ..Entry::default()
            };
            (id.clone(), entry)
        };
        Roster {
            entries: Mutex::new(stored.iter().map(entry).collect()),
        }
    }

    /// Sets a container's label and what is shown of it; tells whether it is news that it is
    /// collected in this way.
    pub fn show(&self, id: &str, label: Label, shown: Shown) -> bool {
        let mut entries = self.lock();
        let entry = entries.entry(id.to_owned()).or_default();
        if *entry.label != label {
            entry.label = Arc::new(label);
        }
        let new = !entry.shown.current || entry.shown.reader != shown.reader;
        entry.shown = shown;
        new
    }

    /// Changes what is shown of a container that is not tracked any more.
    pub fn retire(&self, id: &str) {
        if let Some(entry) = self.lock().get_mut(id) {
            entry.shown.current = false;
            entry.shown.state = "gone".to_owned();
        }
    }

    /// The label of the container that a batch is of.
    #[must_use]
    pub fn label(&self, container: &Container) -> Arc<Label> {
        match self.lock().get(&container.id) {
            Some(entry) => entry.label.clone(),
            None => {
                let id = container.id.chars().take(12).collect();
                Arc::new(Label {
                    name: container.name.clone(),
                    service: "-".to_owned(),
                    id,
                    stream: None,
                })
            }
        }
    }

    /// The durable books of a container.
    #[must_use]
    pub fn books(&self, id: &str) -> Books {
        self.lock()
            .get(id)
            .map(|entry| entry.books)
            .unwrap_or_default()
    }

    /// Notes that a container's books are durable; returns those before.
    pub fn durable(&self, id: &str, books: &Books) -> Books {
        let mut entries = self.lock();
        std::mem::replace(&mut entries.entry(id.to_owned()).or_default().books, *books)
    }

    /// Forgets a container; gives its name if no other container has it.
    pub fn forget(&self, id: &str) -> Option<String> {
        let mut entries = self.lock();
        let name = entries.remove(id)?.label.name.clone();
        let taken = entries.values().any(|entry| entry.label.name == name);
        (!taken).then_some(name)
    }

    /// How many containers exist and are collected.
    #[must_use]
    pub fn current(&self) -> usize {
        self.lock()
            .iter()
            .filter(|(id, entry)| entry.shown.current && !syslog::is_transport(id))
            .count()
    }

    /// How many lines of all containers are durable.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.lock().values().map(|entry| entry.books.written).sum()
    }

    /// The containers for the status page.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let entries = self.lock();
        let container = |(id, entry): (&String, &Entry)| {
            json!({
                "id": id,
                "name": entry.label.name,
                "service": entry.label.service,
                "current": entry.shown.current,
                "why": entry.shown.why,
                "reader": entry.shown.reader,
                "state": entry.shown.state,
                "books": entry.books,
                "balanced": entry.books.balance(),
            })
        };
        Value::Array(entries.iter().map(container).collect())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
