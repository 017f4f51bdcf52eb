//! All containers on one thread: turns, ends, failures, and a writer that does not keep up.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use docker_demux::Stream;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
    sync::mpsc,
};

use super::docker::{Driver, numbers};
use crate::source::{
    Container, Event, Pool,
    api::Endpoint,
    file::{Command, probe, run},
};

/// A container of its own for each driver.
fn container(driver: &Driver, n: usize) -> Arc<Container> {
    Arc::new(Container {
        id: format!("id{n}"),
        ..Container::clone(&driver.container())
    })
}

/// Receives until `ends` containers have ended; gives lines per container and the names of those that failed.
async fn collect(
    mut events: mpsc::Receiver<Event>,
    ends: usize,
) -> (BTreeMap<String, Vec<String>>, Vec<String>) {
    let (mut lines, mut failed, mut ended) =
        (BTreeMap::<String, Vec<String>>::new(), Vec::new(), 0);
    while ended < ends {
        let event = tokio::time::timeout(Duration::from_secs(60), events.recv())
            .await
            .unwrap()
            .unwrap();
        match event {
            Event::Batch(batch) => {
                let texts = batch
                    .lines
                    .iter()
                    .map(|(_, octets)| String::from_utf8(octets.to_vec()).unwrap());
                lines
                    .entry(batch.container.id.clone())
                    .or_default()
                    .extend(texts);
                ended += usize::from(batch.end);
                assert!(batch.gaps.is_empty());
            }
            Event::Failed { container, error } => {
                failed.push(format!("{}: {error}", container.id));
                ended += 1;
            }
        }
    }
    (lines, failed)
}

#[tokio::test]
async fn reads_many_containers_through_few_buffers() {
    let mut drivers: Vec<Driver> = (0..100).map(|_| Driver::new(5000, 100)).collect();
    let (commands, orders) = mpsc::channel(8);
    let (sender, events) = mpsc::channel(1);
    let reader = tokio::spawn(run(orders, sender, Pool::new(2), None));
    let receiver = tokio::spawn(collect(events, 100));
    for (n, driver) in drivers.iter_mut().enumerate() {
        numbers(0..50).iter().for_each(|text| driver.out(text));
        commands
            .send(Command::Attach {
                container: container(driver, n),
                cursor: None,
            })
            .await
            .unwrap();
    }
    for driver in &mut drivers {
        numbers(50..100).iter().for_each(|text| driver.out(text));
        driver.err("of stderr");
    }
    for n in 0..100 {
        commands
            .send(Command::Ended {
                id: format!("id{n}"),
            })
            .await
            .unwrap();
    }
    let (lines, failed) = receiver.await.unwrap();
    assert_eq!(failed, Vec::<String>::new());
    assert_eq!(lines.len(), 100);
    let mut expected = numbers(0..100);
    expected.push("of stderr".to_owned());
    assert!(lines.values().all(|lines| *lines == expected));
    drop(commands);
    reader.await.unwrap();
}

#[tokio::test]
async fn says_which_file_it_can_not_read() {
    let driver = Driver::new(5000, 100);
    let missing = Container {
        log_path: Some(driver.path().with_extension("none")),
        ..Container::clone(&driver.container())
    };
    let other = Container {
        log_driver: "local".into(),
        ..missing.clone()
    };
    assert!(probe(&driver.container()).is_ok());
    assert!(probe(&missing).unwrap_err().to_string().contains(".none"));
    assert!(probe(&other).unwrap_err().to_string().contains("local"));
    let (commands, orders) = mpsc::channel(8);
    let (sender, events) = mpsc::channel(1);
    let reader = tokio::spawn(run(orders, sender, Pool::new(2), None));
    commands
        .send(Command::Attach {
            container: Arc::new(missing),
            cursor: None,
        })
        .await
        .unwrap();
    let (_, failed) = collect(events, 1).await;
    assert!(failed[0].contains(".none"), "{failed:?}");
    // Without a receiver the reader stops by itself.
    reader.await.unwrap();
}

#[tokio::test]
async fn an_end_that_is_taken_back_and_a_container_let_go() {
    let mut driver = Driver::new(5000, 100);
    let (commands, orders) = mpsc::channel(8);
    let (sender, events) = mpsc::channel(1);
    let reader = tokio::spawn(run(orders, sender, Pool::new(2), None));
    driver.out("a");
    let (first, second) = (container(&driver, 1), container(&driver, 2));
    commands
        .send(Command::Attach {
            container: second,
            cursor: None,
        })
        .await
        .unwrap();
    commands
        .send(Command::Detach { id: "id2".into() })
        .await
        .unwrap();
    commands
        .send(Command::Ended {
            id: "unknown".into(),
        })
        .await
        .unwrap();
    commands
        .send(Command::Attach {
            container: first.clone(),
            cursor: None,
        })
        .await
        .unwrap();
    commands
        .send(Command::Attach {
            container: first,
            cursor: None,
        })
        .await
        .unwrap();
    driver.out("b");
    commands
        .send(Command::Ended { id: "id1".into() })
        .await
        .unwrap();
    let (lines, _) = collect(events, 1).await;
    assert_eq!(lines["id1"], ["a", "b"]);
    drop(commands);
    reader.await.unwrap();
}

/// A daemon that says of each container in turn whether it runs.
async fn daemon(listener: UnixListener, answers: [Option<bool>; 3]) {
    for runs in answers {
        let (mut peer, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert!(peer.read_buf(&mut request).await.unwrap() > 0);
        }
        assert!(request.starts_with(b"GET /containers/id1/json "));
        let (status, body) = match runs {
            Some(runs) => (200, format!("{{\"State\":{{\"Running\":{runs}}}}}")),
            None => (500, String::new()),
        };
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        peer.write_all((head + &body).as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn asks_whether_a_line_without_lf_is_over() {
    let mut driver = Driver::new(u64::MAX, 1);
    let stamp = driver.stamp();
    driver.store(Stream::Stdout, &stamp, &"z".repeat(16384));
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    // Runs again; then no answer, and asked once more: has stopped.
    let daemon = tokio::spawn(daemon(listener, [Some(true), None, Some(false)]));
    for expected in [0, 1] {
        let (commands, orders) = mpsc::channel(8);
        let (sender, events) = mpsc::channel(1);
        let endpoint = Some(Endpoint::Unix(socket.clone()));
        let reader = tokio::spawn(run(orders, sender, Pool::new(2), endpoint));
        let container = container(&driver, 1);
        let attach = Command::Attach {
            container,
            cursor: None,
        };
        commands.send(attach).await.unwrap();
        let id = "id1".to_owned();
        commands.send(Command::Ended { id }).await.unwrap();
        let (lines, _) = collect(events, 1).await;
        assert_eq!(lines["id1"].len(), expected);
        drop(commands);
        reader.await.unwrap();
    }
    daemon.await.unwrap();
}
