//! Where the socket is when nothing says so.

use std::path::Path;

use service::config::{Environment, Source};

use super::{Config, Problems, Raw};

fn socket(text: &str, environment: &Environment) -> String {
    let (raw, source): (Raw, Source) =
        service::config::parse(Path::new("audit-proxy.toml"), text).expect("a configuration");
    let mut problems = Problems::new();
    let config = Config::check(raw, &source, environment, &mut problems);
    assert_eq!(problems, Problems::new());
    config.place.path.display().to_string()
}

#[test]
fn finds_the_socket_where_clients_look() {
    let none = Environment::of([]);
    assert_eq!(socket("", &none), "/tmp/boundary-audit.sock");
    let temporary = Environment::of([("TMPDIR", "/run/tmp")]);
    assert_eq!(socket("", &temporary), "/run/tmp/boundary-audit.sock");
    let named = Environment::of([
        ("TMPDIR", "/run/tmp"),
        (super::SOCKET, "/run/coder/audit.sock"),
    ]);
    assert_eq!(socket("", &named), "/run/coder/audit.sock");
    assert_eq!(
        socket("socket = \"/run/logferry/audit.sock\"", &named),
        "/run/logferry/audit.sock"
    );
}

#[test]
fn reads_modes_in_octal() {
    assert_eq!(service::socket::mode("0660"), Ok(0o660));
    assert_eq!(service::socket::mode("600"), Ok(0o600));
    for bad in [
        "",
        "0",
        "0444x",
        "888",
        "01777",
        "rw-rw----",
        "-0660",
        "0177",
    ] {
        assert!(service::socket::mode(bad).is_err(), "{bad}");
    }
}
