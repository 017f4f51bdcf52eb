//! The socket's path: its rights, who may take it, and that it stays.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use audit_proxy::{Socket, SocketError};

use crate::bed::{Bed, Program, SESSION, SOON, frame, until};

/// Binds where nobody serves any more. A process that another test is about to start may hold a closed socket for a
/// moment, until it becomes its program.
fn bind(bed: &Bed) -> Socket {
    let deadline = Instant::now() + SOON;
    loop {
        match Socket::bind(&bed.config()) {
            Err(SocketError::InUse(_)) if Instant::now() < deadline => std::thread::yield_now(),
            bound => return bound.unwrap(),
        }
    }
}

#[test]
fn rights_are_right_whenever_the_socket_can_be_seen() {
    let bed = Bed::new();
    let root = rustix::process::getuid().is_root();
    bed.configure(if root {
        "mode = \"0620\"\ngroup = \"4242\""
    } else {
        "mode = \"0620\""
    });
    let done = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (path, done) = (bed.socket(), Arc::clone(&done));
        std::thread::spawn(move || {
            let (mut looks, mut seen) = (0, false);
            while !done.load(Ordering::Relaxed) || looks == 0 {
                let Ok(found) = fs::symlink_metadata(&path) else {
                    assert!(!seen, "the path was taken away");
                    continue;
                };
                seen = true;
                assert!(found.file_type().is_socket());
                assert_eq!(found.permissions().mode() & 0o7777, 0o620);
                assert!(!root || found.gid() == 4242);
                looks += 1;
            }
        })
    };
    let mut inodes = Vec::new();
    for _ in 0..100 {
        drop(bind(&bed));
        inodes.push(fs::symlink_metadata(bed.socket()).unwrap().ino());
    }
    done.store(true, Ordering::Relaxed);
    watcher.join().unwrap();
    assert!(
        inodes.windows(2).all(|pair| pair[0] != pair[1]),
        "a new socket each time"
    );
    let left: Vec<_> = fs::read_dir(bed.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "the configuration and the socket: {left:?}");
}

#[test]
fn a_live_server_is_not_robbed() {
    let bed = Bed::new();
    let other = UnixListener::bind(bed.socket()).unwrap();
    let inode = fs::symlink_metadata(bed.socket()).unwrap().ino();
    assert!(matches!(
        Socket::bind(&bed.config()),
        Err(SocketError::InUse(_))
    ));
    assert_eq!(fs::symlink_metadata(bed.socket()).unwrap().ino(), inode);
    // The program says so, and ends with 1.
    let mut program = bed.program();
    assert_eq!(program.0.wait().unwrap().code(), Some(1));
    let said = fs::read_to_string(bed.path("stderr")).unwrap();
    assert!(said.contains("another server answers"), "{said}");
    drop(other);
    drop(bind(&bed));
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let bed = Bed::new();
    let config = bed.config();
    fs::write(bed.socket(), "precious").unwrap();
    assert!(matches!(
        Socket::bind(&config),
        Err(SocketError::NotASocket(_))
    ));
    assert_eq!(fs::read_to_string(bed.socket()).unwrap(), "precious");
    fs::remove_file(bed.socket()).unwrap();
    std::os::unix::fs::symlink(bed.path("elsewhere"), bed.socket()).unwrap();
    assert!(matches!(
        Socket::bind(&config),
        Err(SocketError::NotASocket(_))
    ));
    fs::remove_file(bed.socket()).unwrap();
    fs::create_dir(bed.socket()).unwrap();
    assert!(matches!(
        Socket::bind(&config),
        Err(SocketError::NotASocket(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_path_stays_between_two_runs() {
    let bed = Bed::new();
    for round in 0..3 {
        let program = bed.program();
        let mut client = bed.connect();
        client.write_all(&frame(SESSION, round..round + 1)).unwrap();
        bed.has(round as usize + 1).await;
        assert_eq!(program.stop(), Some(0));
        let found = fs::symlink_metadata(bed.socket()).expect("the path is still there");
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o7777, 0o660);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_on_one_state_directory() {
    let bed = Bed::new();
    let first = bed.program();
    drop(bed.connect());
    let mut second = bed.program();
    assert_eq!(second.0.wait().unwrap().code(), Some(1));
    let said = fs::read_to_string(bed.path("stderr")).unwrap();
    assert!(said.contains("in use by process"), "{said}");
    drop(bed.connect());
    assert_eq!(first.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_on_a_socket_of_the_service_manager() {
    let activate = "systemd-socket-activate";
    let there = std::process::Command::new(activate)
        .arg("--version")
        .output();
    if !there.is_ok_and(|output| output.status.success()) {
        service::testing::skip(
            "path::serves_on_a_socket_of_the_service_manager",
            "systemd-socket-activate (package systemd)",
        );
        return;
    }
    let bed = Bed::new();
    let child = std::process::Command::new(activate)
        .arg("--listen")
        .arg(bed.socket())
        .arg(env!("CARGO_BIN_EXE_logferry-audit-proxy"))
        .args(["run", "--config"])
        .arg(bed.path("audit-proxy.toml"))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let program = Program(child);
    // The program is started by the first connection.
    let mut client = bed.connect();
    let inode = fs::symlink_metadata(bed.socket()).unwrap().ino();
    client.write_all(&frame(SESSION, 0..3)).unwrap();
    bed.has(3).await;
    let mut second = bed.connect();
    second.write_all(&frame("other", 0..1)).unwrap();
    until(async || bed.records().len() == 4).await;
    assert_eq!(program.stop(), Some(0));
    assert_eq!(
        fs::symlink_metadata(bed.socket()).unwrap().ino(),
        inode,
        "the manager's socket is left alone"
    );
}
