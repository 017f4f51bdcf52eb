//! A stub of the Docker daemon that answers the four questions the collector asks it about containers
//! whose json-file logs a test has made up: version, list, inspect, events.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use serde_json::{Value, json};

/// One made-up container.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) driver: String,
    pub(crate) log_path: PathBuf,
    pub(crate) running: bool,
    pub(crate) started: u32,
}

#[derive(Default)]
struct State {
    containers: Vec<Container>,
    listeners: Vec<UnixStream>,
}

/// A running stub; gone when dropped.
pub(crate) struct Daemon {
    state: Arc<Mutex<State>>,
    socket: PathBuf,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    pub(crate) fn start(socket: &Path) -> Daemon {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).unwrap();
        let state: Arc<Mutex<State>> = Arc::default();
        let over = Arc::new(AtomicBool::new(false));
        let (shared, done) = (state.clone(), over.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if done.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), shared) = (stream, shared.clone()) else {
                    continue;
                };
                std::thread::spawn(move || answer(stream, &shared));
            }
        });
        Daemon {
            state,
            socket: socket.to_owned(),
            over,
            thread: Some(thread),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a container and tells whoever listens.
    pub(crate) fn add(&self, container: Container) {
        let id = container.id.clone();
        self.state().containers.push(container);
        self.tell(&id, "start");
    }

    /// Changes a container and tells of it.
    pub(crate) fn change(&self, id: &str, event: &str, change: impl FnOnce(&mut Container)) {
        self.state()
            .containers
            .iter_mut()
            .filter(|c| c.id == id)
            .take(1)
            .for_each({
                let mut change = Some(change);
                move |container| {
                    if let Some(change) = change.take() {
                        change(container);
                    }
                }
            });
        self.tell(id, event);
    }

    /// Removes a container and tells of it.
    pub(crate) fn remove(&self, id: &str) {
        self.state()
            .containers
            .retain(|container| container.id != id);
        self.tell(id, "destroy");
    }

    fn tell(&self, id: &str, action: &str) {
        let event =
            json!({"Type": "container", "Action": action, "Actor": {"ID": id, "Attributes": {}}});
        let line = format!("{event}\n");
        let chunk = format!("{:x}\r\n{line}\r\n", line.len());
        self.state()
            .listeners
            .retain_mut(|stream| stream.write_all(chunk.as_bytes()).is_ok());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let woken = UnixStream::connect(&self.socket).is_ok();
        let _ = std::fs::remove_file(&self.socket);
        self.state().listeners.clear();
        if woken && let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: UnixStream, state: &Mutex<State>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(request)) = lines.next() else {
        return;
    };
    while let Some(Ok(line)) = lines.next() {
        if line.is_empty() {
            break;
        }
    }
    let target = request.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    let path = path
        .strip_prefix("/v1.")
        .map_or(path, |rest| &rest[rest.find('/').unwrap_or(0)..]);
    let mut held = state.lock().unwrap_or_else(PoisonError::into_inner);
    if path == "/events" {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        if stream.write_all(head.as_bytes()).is_ok() {
            held.listeners.push(stream);
        }
        return;
    }
    let (status, body) = match path {
        "/version" => (
            "200 OK",
            json!({"ApiVersion": "1.41", "Version": "0", "MinAPIVersion": "1.12"}),
        ),
        "/containers/json" => ("200 OK", held.containers.iter().map(listed).collect()),
        path => {
            let id = path
                .strip_prefix("/containers/")
                .and_then(|rest| rest.strip_suffix("/json"));
            match held
                .containers
                .iter()
                .find(|container| Some(container.id.as_str()) == id)
            {
                Some(container) => ("200 OK", inspected(container)),
                None => ("404 Not Found", json!({"message": "no such container"})),
            }
        }
    };
    drop(held);
    let body = body.to_string();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    let _ = stream.write_all((head + &body).as_bytes());
}

fn listed(container: &Container) -> Value {
    json!({
        "Id": container.id,
        "Names": [format!("/{}", container.name)],
        "Image": "made-up",
        "Labels": container.labels,
        "State": if container.running { "running" } else { "exited" },
    })
}

fn inspected(container: &Container) -> Value {
    json!({
        "Id": container.id,
        "Name": format!("/{}", container.name),
        "LogPath": container.log_path,
        "Config": {"Image": "made-up", "Labels": container.labels, "Tty": false},
        "State": {
            "Running": container.running,
            "StartedAt": format!("2026-06-20T00:00:{:02}Z", container.started),
        },
        "HostConfig": {"LogConfig": {"Type": container.driver, "Config": {}}},
    })
}
