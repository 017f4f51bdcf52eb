//! Datagram sockets; those of connections are tested with the program that serves them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener};

use super::{Place, SocketError, mode};

fn place(dir: &tempfile::TempDir) -> Place {
    Place {
        path: dir.path().join("syslog.sock"),
        mode: 0o622,
        group: None,
    }
}

#[test]
fn a_dead_datagram_socket_is_replaced_and_a_live_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(&dir);
    let first = place.datagram().unwrap();
    let found = fs::symlink_metadata(&place.path).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o622);
    assert!(matches!(place.datagram(), Err(SocketError::InUse(_))));
    assert!(matches!(place.listen(), Err(SocketError::InUse(_))));
    let sender = UnixDatagram::unbound().unwrap();
    sender.send_to(b"x", &place.path).unwrap();
    assert_eq!(first.recv(&mut [0; 9]).unwrap(), 1);

    drop(first);
    let second = place.datagram().unwrap();
    let replaced = fs::symlink_metadata(&place.path).unwrap();
    assert_ne!(replaced.ino(), found.ino());
    sender.send_to(b"yz", &place.path).unwrap();
    assert_eq!(second.recv(&mut [0; 9]).unwrap(), 2);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_live_server_of_connections_is_not_robbed_and_hears_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(&dir);
    let server = UnixListener::bind(&place.path).unwrap();
    assert!(matches!(place.datagram(), Err(SocketError::InUse(_))));
    server.set_nonblocking(true).unwrap();
    assert!(server.accept().is_err());
    drop(server);
    place.datagram().unwrap();
}

#[test]
fn paths_and_modes_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let mut place = place(&dir);
    assert_eq!((place.check(), place.look()), (Ok(()), Ok(())));
    for (path, what) in [
        ("relative.sock", "no absolute path"),
        ("/", "no absolute path"),
    ] {
        place.path = path.into();
        assert!(place.check().unwrap_err().contains(what), "{path}");
    }
    place.path = format!("/{}", "x".repeat(107)).into();
    assert!(place.check().unwrap_err().contains("longer"));
    place.path = dir.path().join("absent/syslog.sock");
    assert!(place.look().unwrap_err().contains("can't be used"));
    place.path = dir.path().join("file");
    fs::write(&place.path, "").unwrap();
    assert!(place.look().unwrap_err().contains("no socket"));
    assert_eq!(mode("0660"), Ok(0o660));
    assert!(mode("0000").is_err() && mode("rw").is_err());
}
