//! Who is collected, how, and under which service name.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use super::{Choice, Facts, LabelRule, ReadMode, Rules, Summary, Verdict, state_names};

fn labelled(name: &str, labels: &[(&str, &str)]) -> Summary {
    let labels: BTreeMap<_, _> = labels
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    Summary {
        id: "a".repeat(64),
        name: name.to_owned(),
        labels,
        ..Summary::default()
    }
}

fn rules() -> Rules {
    let labels = [
        "decnet.fleet.service=true",
        "decnet.topology.service=true",
        "any",
    ];
    Rules {
        labels: labels
            .iter()
            .filter_map(|text| LabelRule::parse(text))
            .collect(),
        names: BTreeSet::from(["omega-decky-docker-api".to_owned()]),
        own: Some("ffff".to_owned()),
    }
}

#[test]
fn chooses_by_label_then_name() {
    let check = |name, labels: &[(&str, &str)], collects, why| {
        let verdict = rules().judge(&labelled(name, labels));
        assert_eq!(
            (verdict.collects(), verdict.to_string().as_str()),
            (collects, why)
        );
    };
    check(
        "x",
        &[("decnet.fleet.service", "true")],
        true,
        "label decnet.fleet.service=true",
    );
    check(
        "x",
        &[("decnet.fleet.service", "false")],
        false,
        "no label or name matches",
    );
    check("x", &[("any", "thing")], true, "label any");
    check(
        "omega-decky-docker-api",
        &[],
        true,
        "name in the decnet state file",
    );
    check("", &[], false, "no label or name matches");
    check(
        "x",
        &[("any", ""), ("decnet.topology.role", "base")],
        false,
        "decnet base container",
    );
}

#[test]
fn never_chooses_itself() {
    let mut own = labelled("x", &[("any", "thing")]);
    own.id = "f".repeat(64);
    assert_eq!(rules().judge(&own), Verdict::Itself);
}

#[test]
fn reads_names_from_the_state_file() {
    let json = br#"{"config":{"mode":"x","deckies":[{"name":"omega","services":["ssh","docker_api"]},{"name":"idle"}]},"compose_path":"/x"}"#;
    let names = state_names(json).unwrap();
    assert!(
        names.contains("omega-ssh") && names.contains("omega-docker-api"),
        "{names:?}"
    );
    assert!(state_names(b"{}").unwrap().is_empty());
    assert!(state_names(b"[").is_err());
}

#[test]
fn chooses_the_reader() {
    let facts = |driver: &str, rotates| Facts {
        driver: driver.to_owned(),
        log_path: (driver == "json-file").then(|| PathBuf::from("/c/x-json.log")),
        rotates,
        ..Facts::default()
    };
    let file = Choice::File(PathBuf::from("/c/x-json.log"));
    assert_eq!(
        facts("json-file", true).choose(ReadMode::Auto, |_| true),
        file
    );
    assert_eq!(
        facts("json-file", true).choose(ReadMode::File, |_| true),
        file
    );
    let Choice::Api { warning } = facts("json-file", true).choose(ReadMode::Auto, |_| false) else {
        panic!("an unreadable file is read through the API");
    };
    assert!(warning.is_some());
    let api = Choice::Api { warning: None };
    assert_eq!(facts("local", false).choose(ReadMode::Auto, |_| true), api);
    assert_eq!(
        facts("json-file", false).choose(ReadMode::Api, |_| true),
        api
    );
    for (driver, mode, readable) in [
        ("none", ReadMode::Auto, true),
        ("none", ReadMode::Api, true),
        ("local", ReadMode::File, true),
        ("json-file", ReadMode::File, false),
    ] {
        let choice = facts(driver, false).choose(mode, |_| readable);
        assert!(
            matches!(choice, Choice::Unreadable(_)),
            "{driver} {mode:?}: {choice:?}"
        );
    }
}

#[test]
fn names_the_service() {
    let check = |image: &str, labels: &[(&str, &str)], expected: &str| {
        let summary = Summary {
            image: image.to_owned(),
            ..labelled("x", labels)
        };
        assert_eq!(
            Facts {
                summary,
                ..Facts::default()
            }
            .service(),
            expected
        );
    };
    check("registry:5000/team/web:1.2@sha256:00", &[], "web");
    check("decoy", &[], "decoy");
    check("x", &[("decnet.fleet.service_name", "ssh")], "ssh");
    check("x", &[("decnet.topology.service_name", "ftp")], "ftp");
    check("x", &[("com.docker.compose.service", "db")], "db");
    check("x", &[("com.docker.compose.service", ""), ("k", "v")], "x");
    check(&"é".repeat(40), &[], &"é".repeat(24));
}
