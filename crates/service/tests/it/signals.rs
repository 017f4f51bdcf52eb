//! The signal that ends a program.

use std::io::Read as _;
use std::process::Stdio;

use crate::child::{Running, command, is_child};

#[test]
fn child() {
    if is_child() {
        service::init_tracing();
        let runtime = service::runtime(1).expect("a runtime");
        runtime.block_on(async {
            let stop = service::stop_signal();
            // Not polled yet, and the parent may send.
            tracing::info!("listening");
            stop.await;
        });
    }
}

#[test]
fn ends_on_term_and_on_interrupt() {
    for signal in ["TERM", "INT"] {
        let mut command = command("signals::child");
        let mut child = Running(command.stderr(Stdio::piped()).spawn().expect("it starts"));
        let mut stderr = child.0.stderr.take().expect("piped");
        let mut text = Vec::new();
        while !String::from_utf8_lossy(&text).contains("listening") {
            let mut byte = [0];
            assert_eq!(stderr.read(&mut byte).expect("read"), 1, "it ended early");
            text.push(byte[0]);
        }
        let id = child.0.id().to_string();
        let sent = std::process::Command::new("kill")
            .args(["-s", signal, &id])
            .status();
        assert!(sent.expect("kill runs").success());
        assert!(
            child.0.wait().expect("it ended").success(),
            "orderly, not killed by SIG{signal}"
        );
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).expect("read");
        assert!(rest.contains(&format!("signal=\"SIG{signal}\"")), "{rest}");
    }
}
