//! Endpoints and the reading of the daemon's answers.

use std::path::PathBuf;

use bollard::models::{ContainerSummary, EventActor, EventMessage};

use super::{EndpointError, EventKind, endpoint, event, summary, unix_ns};
use crate::source::api::Endpoint;

#[test]
fn reads_endpoints() {
    let check = |text, expected| assert_eq!(endpoint(text), expected, "{text}");
    check(
        "unix:///run/docker.sock",
        Ok(Endpoint::Unix(PathBuf::from("/run/docker.sock"))),
    );
    check(
        "tcp://127.0.0.1:2375",
        Ok(Endpoint::Tcp("127.0.0.1:2375".to_owned())),
    );
    check(
        "tcp://[::1]:2375/",
        Ok(Endpoint::Tcp("[::1]:2375".to_owned())),
    );
    check(
        "http://localhost:2375",
        Ok(Endpoint::Tcp("localhost:2375".to_owned())),
    );
    check("tcp://192.0.2.1:2375", Err(EndpointError::NotLoopback));
    check(
        "tcp://localhost.example:2375",
        Err(EndpointError::NotLoopback),
    );
    check("tcp://127.0.0.1", Err(EndpointError::Address));
    check("tcp://127.0.0.1:docker", Err(EndpointError::Address));
    check("unix://docker.sock", Err(EndpointError::Path));
    check("ssh://host", Err(EndpointError::Scheme));
}

#[test]
fn takes_the_containers_own_name() {
    let names = vec!["/web/alias".to_owned(), "/db".to_owned()];
    let listed = ContainerSummary {
        id: Some("ab".to_owned()),
        names: Some(names),
        ..Default::default()
    };
    assert_eq!(
        summary(listed).map(|summary| summary.name),
        Some("db".to_owned())
    );
    assert_eq!(summary(ContainerSummary::default()), None);
}

#[test]
fn sorts_events() {
    let check = |action: &str, expected| {
        let actor = EventActor {
            id: Some("ab".to_owned()),
            attributes: None,
        };
        let message = EventMessage {
            action: Some(action.to_owned()),
            actor: Some(actor),
            ..Default::default()
        };
        assert_eq!(event(message).map(|event| event.kind), expected, "{action}");
    };
    check("start", Some(EventKind::Changed));
    check("rename", Some(EventKind::Changed));
    check("died", Some(EventKind::Died));
    check("destroy", Some(EventKind::Destroyed));
    check("exec_create: sh", None);
    assert_eq!(event(EventMessage::default()), None);
}

#[test]
fn reads_stamps_loosely() {
    assert_eq!(
        unix_ns("2026-06-20T14:03:07.000000001Z"),
        1_781_964_187_000_000_001
    );
    assert_eq!(
        unix_ns("2026-06-20T16:03:07+02:00"),
        1_781_964_187_000_000_000
    );
    assert_eq!(unix_ns("0001-01-01T00:00:00Z"), 0);
    assert_eq!(unix_ns("never"), 0);
}
