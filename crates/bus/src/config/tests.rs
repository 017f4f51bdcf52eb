//! The table, each variable, and where the socket is looked for.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use service::config::{Environment, Problems};

use super::{Config, Socket, Table, search};

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    bus: Option<Table>,
}

fn check<const N: usize>(
    text: &str,
    variables: [(&str, &str); N],
) -> Result<(Option<Config>, Vec<String>), Problems> {
    let (file, source) = service::config::parse::<File>(Path::new("x.toml"), text)?;
    let (mut problems, mut notices) = (Problems::new(), Vec::new());
    let environment = Environment::of(variables);
    let config = Config::check(file.bus, &source, &environment, &mut problems, &mut notices);
    problems.none_or((config, notices))
}

fn socket<const N: usize>(text: &str, variables: [(&str, &str); N]) -> Option<Socket> {
    let (config, notices) = check(text, variables).unwrap();
    assert!(notices.is_empty(), "{notices:?}");
    config.map(|config| config.socket)
}

#[test]
fn is_off_unless_something_says_otherwise() {
    let home = ("HOME", "/home/x");
    let search = Some(Socket::Search(Some("/home/x".into())));
    assert_eq!(socket("", [home]), None);
    assert_eq!(socket("", [("DECNET_BUS_SOCKET", "/x")]), None);
    assert_eq!(socket("[bus]", [home]), search);
    assert_eq!(socket("", [home, ("DECNET_BUS_ENABLED", "true")]), search);
    assert_eq!(socket("", [home, ("DECNET_BUS_ENABLED", "True")]), search);
    assert_eq!(socket("[bus]", [home, ("DECNET_BUS_ENABLED", "")]), search);
    assert_eq!(socket("[bus]", [("DECNET_BUS_ENABLED", "false")]), None);
    assert_eq!(
        socket("[bus]", [("DECNET_BUS_TYPE", "unix")]),
        Some(Socket::Search(None))
    );
}

#[test]
fn the_environment_beats_the_table() {
    let at = |path: &str| Some(Socket::At(path.into()));
    let text = "[bus]\nsocket = '/file.sock'";
    assert_eq!(socket(text, []), at("/file.sock"));
    assert_eq!(
        socket(text, [("DECNET_BUS_SOCKET", "/env.sock")]),
        at("/env.sock")
    );
}

#[test]
fn a_bus_of_one_process_is_none() {
    let (config, notices) = check("[bus]", [("DECNET_BUS_TYPE", "fake")]).unwrap();
    assert_eq!((config, notices.len()), (None, 1));
}

#[test]
fn names_what_is_wrong() {
    let problem = |text: &str, name, value| {
        let problems = check(text, [(name, value)]).unwrap_err().to_string();
        assert_eq!(problems.lines().count(), 1, "{problems}");
        problems
    };
    let long = format!("[bus]\nsocket = '/{}'", "x".repeat(107));
    for (text, name, value, expected) in [
        (
            "[bus]",
            "DECNET_BUS_TYPE",
            "nats",
            "environment: DECNET_BUS_TYPE: ",
        ),
        (
            "",
            "DECNET_BUS_ENABLED",
            "perhaps",
            "environment: DECNET_BUS_ENABLED: ",
        ),
        (
            "[bus]",
            "DECNET_BUS_SOCKET",
            "x",
            "environment: DECNET_BUS_SOCKET: ",
        ),
        ("[bus]\nsocket = 'x'", "X", "", "x.toml:2: bus.socket: "),
        (&long, "X", "", "x.toml:2: bus.socket: "),
        (
            "[bus]\nsokcet = 'x'",
            "X",
            "",
            "x.toml:2: bus.sokcet: unknown key; did you mean `socket`",
        ),
    ] {
        let problem = problem(text, name, value);
        assert!(problem.starts_with(expected), "{problem}");
    }
}

#[test]
fn looks_where_decnet_looks() {
    let root = tempfile::tempdir().unwrap();
    let (run, home) = (root.path().join("run"), root.path().join("home"));
    let (shared, own) = (run.join("bus.sock"), home.join(".decnet/bus.sock"));
    let found = |run: &Path, home: Option<&PathBuf>| search(run, home.map(PathBuf::as_path));
    assert_eq!(found(&run, Some(&home)), own, "no such directory");
    std::fs::create_dir(&run).unwrap();
    assert_eq!(found(&run, Some(&home)), shared, "a directory of ours");
    assert_eq!(
        found(&root.path().join("none"), None),
        root.path().join("none/bus.sock")
    );
    // A file in the place of the directory can't hold a socket.
    let file = root.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(found(&file, Some(&home)), own);
}
