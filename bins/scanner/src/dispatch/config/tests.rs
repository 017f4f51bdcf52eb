//! The table `[webhooks]`, right and wrong.

use std::path::Path;

use super::*;

#[derive(Debug, Deserialize)]
struct File {
    #[serde(default)]
    webhooks: Raw,
}

fn read(text: &str) -> Result<Config, Problems> {
    let (raw, source) = service::config::parse::<File>(Path::new("scanner.toml"), text)?;
    let mut problems = Problems::new();
    let config = Config::check(raw.webhooks, &source, &mut problems);
    problems.none_or(config)
}

#[test]
fn names_what_is_wrong() {
    for (text, expected) in [
        (
            "allow_cidrs = [\"10.0.0.0/8\", \"10.0.0.1\"]",
            "webhooks.allow_cidrs.1: `10.0.0.1` is no network",
        ),
        (
            "allow_cidrs = [\"10.0.0.0/33\"]",
            "webhooks.allow_cidrs.0: ",
        ),
        ("deny_ports = [70000]", "webhooks.deny_ports"),
        ("deny_privat = true", "webhooks.deny_privat: "),
        (
            "schedule = [\"8d\"]",
            "webhooks.schedule: 8days is over 7days",
        ),
        (
            "ca_file = \"/nonexistent/ca.pem\"",
            "webhooks.ca_file: cannot read certificates of /nonexistent/ca.pem: ",
        ),
    ] {
        let problems = read(&format!("[webhooks]\n{text}\n"))
            .unwrap_err()
            .to_string();
        assert!(
            problems.contains(&format!("scanner.toml:2: {expected}")),
            "{problems}"
        );
    }
    let many = vec!["\"1s\""; MAX_ATTEMPTS + 1].join(", ");
    let problems = read(&format!("[webhooks]\nschedule = [{many}]\n")).unwrap_err();
    assert!(problems.to_string().contains("51 waits"), "{problems}");
}

#[test]
fn the_sample_shows_the_defaults() {
    let sample = include_str!("../../../../../deploy/etc/logferry/scanner.toml");
    let whole = service::testing::uncommented(sample);
    let section = whole.split("[webhooks]").nth(1).unwrap();
    let section = section.split("\n[").next().unwrap();
    let shown = read(&format!("[webhooks]{section}")).unwrap();
    let default = read("").unwrap();
    assert_eq!(format!("{shown:?}"), format!("{default:?}"));
}
