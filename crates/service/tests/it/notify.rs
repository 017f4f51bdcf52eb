//! What systemd hears (sd_notify(3)), with a socket of our own in its place.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use service::{Health, notify};

use crate::child::{Running, command, is_child};

/// Longer than any child takes, unless it hangs.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn child() {
    if !is_child() {
        return;
    }
    notify::ready();
    let health = Health::new();
    let pulse = health.pulse("work");
    let stalls = health.pulse("stalls");
    if notify::watchdog_period().is_some() {
        // Beats with the other loop alive, then stalls it: beats alone must not feed the watchdog.
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_millis(600) {
            pulse.beat();
            stalls.beat();
            std::thread::sleep(Duration::from_millis(5));
        }
        while health.stalled().is_empty() {
            pulse.beat();
            std::thread::sleep(Duration::from_millis(5));
        }
        notify::status("stalled\nnow");
        for _ in 0..200 {
            pulse.beat();
            std::thread::sleep(Duration::from_millis(5));
        }
    } else {
        pulse.beat();
    }
    notify::stopping();
}

/// Runs the child and gives what it said, up to STOPPING.
fn said(socket: &UnixDatagram, address: &str, variables: &[(&str, &str)]) -> Vec<String> {
    socket.set_read_timeout(Some(DEADLINE)).expect("set");
    let mut command = command("notify::child");
    command
        .env("NOTIFY_SOCKET", address)
        .envs(variables.iter().copied());
    let _running = Running(command.spawn().expect("it starts"));
    let mut said = Vec::new();
    loop {
        let mut datagram = [0; 4096];
        let len = socket.recv(&mut datagram).expect("a datagram");
        let text = std::str::from_utf8(&datagram[..len]).expect("UTF-8");
        said.push(text.trim_end().to_owned());
        if text.contains("STOPPING=1") {
            return said;
        }
    }
}

fn path_socket() -> (tempfile::TempDir, UnixDatagram, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("bound");
    let address = path.to_str().expect("UTF-8").to_owned();
    (dir, socket, address)
}

#[test]
fn ready_and_stopping_over_a_path() {
    let (_dir, socket, address) = path_socket();
    assert_eq!(said(&socket, &address, &[]), ["READY=1", "STOPPING=1"]);
}

#[test]
fn ready_and_stopping_over_an_abstract_name() {
    let name = format!("logferry-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let socket = UnixDatagram::bind_addr(&address).expect("bound");
    let said = said(&socket, &format!("@{name}"), &[]);
    assert_eq!(said, ["READY=1", "STOPPING=1"]);
}

#[test]
fn nothing_happens_outside_systemd() {
    assert!(command("notify::child").status().expect("it ran").success());
}

#[test]
fn the_watchdog_is_fed_only_while_every_loop_goes_round() {
    let (_dir, socket, address) = path_socket();
    let said = said(&socket, &address, &[("WATCHDOG_USEC", "400000")]);
    let stalled = said
        .iter()
        .position(|line| line == "STATUS=stalled now")
        .expect("stalled");
    let (before, after) = said.split_at(stalled);
    assert!(before.contains(&"WATCHDOG=1".to_owned()), "{said:?}");
    assert!(!after.contains(&"WATCHDOG=1".to_owned()), "{said:?}");
}

#[test]
fn another_processs_watchdog_is_left_alone() {
    let (_dir, socket, address) = path_socket();
    let variables = [("WATCHDOG_USEC", "400000"), ("WATCHDOG_PID", "1")];
    assert_eq!(
        said(&socket, &address, &variables),
        ["READY=1", "STOPPING=1"]
    );
    let (_dir, socket, address) = path_socket();
    let variables = [("WATCHDOG_USEC", "0")];
    assert_eq!(
        said(&socket, &address, &variables),
        ["READY=1", "STOPPING=1"]
    );
}
