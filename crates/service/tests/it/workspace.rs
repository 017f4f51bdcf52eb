//! The rules of the house that neither rustc nor clippy knows: which way dependencies point, where versions stand, what
//! ARCHITECTURE.md names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// Crates that take bytes, time and randomness as arguments.
const PURE: [&str; 7] = [
    "audit-codec",
    "delivery",
    "docker-demux",
    "framing",
    "ratelimit",
    "rfc5424",
    "rules",
];
/// What a pure crate has no use for (`rand` is no such: randomness comes in as an argument of its trait). `tokio` may
/// stand behind the feature of that name.
const IMPURE_CRATES: [&str; 9] = [
    "bollard",
    "hyper",
    "notify",
    "rustix",
    "rustls",
    "service",
    "sqlx",
    "tokio",
    "tokio-rustls",
];
/// What a pure crate's source does not name outside of its tests.
const IMPURE_NAMES: [&str; 9] = [
    "std::fs",
    "std::process",
    "std::thread",
    "std::env",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
    "Instant::now",
    "SystemTime::now",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folders below `place` that hold a package, with their manifests.
fn members(place: &str) -> Vec<(String, Table)> {
    let mut members: Vec<_> = fs::read_dir(root().join(place))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|dir| dir.join("Cargo.toml").is_file())
        .map(|dir| {
            let name = dir
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            let text = fs::read_to_string(dir.join("Cargo.toml")).expect("a manifest");
            (name, text.parse().expect("TOML"))
        })
        .collect();
    members.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(!members.is_empty(), "{place} holds packages");
    members
}

fn everyone() -> Vec<(String, Table)> {
    ["crates", "bins", "tests"]
        .into_iter()
        .flat_map(members)
        .collect()
}

/// The dependencies of the given kinds, with what the manifest says of each.
fn dependencies<'a>(manifest: &'a Table, kinds: &[&str]) -> Vec<(&'a String, &'a Value)> {
    kinds
        .iter()
        .filter_map(|kind| manifest.get(*kind)?.as_table())
        .flatten()
        .collect()
}

const ALL_KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

#[test]
fn arrows_run_from_programs_to_crates() {
    let programs: BTreeSet<String> = members("bins").into_iter().map(|(name, _)| name).collect();
    for place in ["crates", "bins"] {
        for (name, manifest) in members(place) {
            for (dependency, _) in dependencies(&manifest, &ALL_KINDS) {
                assert!(
                    !programs.contains(dependency),
                    "{place}/{name} depends on the program {dependency}"
                );
                assert!(dependency != "swarm", "{place}/{name} depends on the tests");
            }
        }
    }
}

#[test]
fn pure_crates_depend_on_nothing_that_acts() {
    let edge: BTreeSet<String> = members("crates")
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !PURE.contains(&name.as_str()))
        .collect();
    for (name, manifest) in members("crates") {
        if !PURE.contains(&name.as_str()) {
            continue;
        }
        for (dependency, how) in dependencies(&manifest, &["dependencies"]) {
            let optional = how.get("optional").and_then(Value::as_bool) == Some(true);
            assert!(
                !edge.contains(dependency),
                "{name} depends on the edge crate {dependency}"
            );
            assert!(
                optional || !IMPURE_CRATES.contains(&dependency.as_str()),
                "the pure crate {name} depends on {dependency}"
            );
        }
        for file in sources(&root().join("crates").join(&name).join("src")) {
            // The thin adapter behind the feature of its name, and tests with their simulator.
            let exempt = ["sim", "sim.rs", "tests", "tests.rs", "tokio.rs"];
            if file
                .components()
                .any(|part| exempt.iter().any(|name| part.as_os_str() == *name))
            {
                continue;
            }
            let text = fs::read_to_string(&file).expect("text");
            for line in text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
            {
                let found = IMPURE_NAMES.iter().find(|name| line.contains(*name));
                assert_eq!(found, None, "in {}: {line}", file.display());
            }
        }
    }
}

#[test]
fn versions_stand_in_the_root_alone() {
    for (name, manifest) in everyone() {
        for (dependency, how) in dependencies(&manifest, &ALL_KINDS) {
            let inherited = how.get("workspace").and_then(Value::as_bool) == Some(true);
            let own = ["version", "path", "git"]
                .iter()
                .any(|key| how.get(key).is_some());
            assert!(
                inherited && !own,
                "{name} does not take {dependency} from the workspace"
            );
        }
    }
}

#[test]
fn packages_are_named_like_their_folders_and_take_the_workspaces_settings() {
    for (folder, manifest) in everyone() {
        let package = manifest["package"].as_table().expect("a package");
        assert_eq!(package["name"].as_str(), Some(folder.as_str()));
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            let inherited = package.get(key).and_then(|value| value.get("workspace"));
            assert_eq!(
                inherited.and_then(Value::as_bool),
                Some(true),
                "{folder}: {key}"
            );
        }
        let lints = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"));
        assert_eq!(
            lints.and_then(Value::as_bool),
            Some(true),
            "{folder}: lints"
        );
    }
}

#[test]
fn architecture_names_every_crate_and_program_and_no_other() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("text");
    for place in ["crates", "bins"] {
        let there: BTreeSet<String> = members(place).into_iter().map(|(name, _)| name).collect();
        let prefix = format!("{place}/");
        let named: BTreeSet<String> = text
            .match_indices(&prefix)
            .map(|(at, _)| {
                let rest = &text[at + prefix.len()..];
                rest.chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || *c == '-')
                    .collect()
            })
            .filter(|name: &String| !name.is_empty())
            .collect();
        assert_eq!(named, there, "{place}: named in ARCHITECTURE.md, and there");
    }
    assert!(
        text.lines().count() <= 200,
        "ARCHITECTURE.md is a page, not a book"
    );
}

#[test]
fn every_source_file_says_what_it_is() {
    let mut files = 0;
    for place in ["crates", "bins", "tests", "fuzz"] {
        for file in sources(&root().join(place)) {
            let text = fs::read_to_string(&file).expect("text");
            assert!(
                text.starts_with("//!"),
                "{} begins without //!",
                file.display()
            );
            files += 1;
        }
    }
    assert!(files > 50, "{files} files were found");
}

/// All Rust files below `dir`, build output and test data left out.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() && !["target", "corpus", "data"].contains(&name.as_str()) {
                open.push(path);
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    found
}
