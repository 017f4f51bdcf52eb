//! Defaults, the environment, and every way to get a key wrong.

use std::{path::Path, time::Duration};

use service::config::Problems;

use super::{Config, RawConfig, resolve};
use crate::{select::ReadMode, source::api::Endpoint};

fn with(text: &str, environment: &[(&str, &str)]) -> Result<Config, Problems> {
    let (raw, source) = service::config::parse::<RawConfig>(Path::new("collector.toml"), text)?;
    resolve(raw, &source, &|name| {
        environment
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    })
}

fn config(text: &str) -> Config {
    with(text, &[]).unwrap()
}

#[test]
fn has_the_documented_defaults() {
    let config = config("");
    assert_eq!(config.log, Path::new("/var/log/logferry/decky.log"));
    assert_eq!(config.json, Path::new("/var/log/logferry/decky.json"));
    assert_eq!(config.state, Path::new("/var/lib/logferry/collector"));
    assert_eq!(
        config.docker,
        Some(Endpoint::Unix("/var/run/docker.sock".into()))
    );
    assert_eq!(config.read, ReadMode::Auto);
    assert_eq!(config.labels.len(), 3);
    assert!(!config.rendering.stderr && config.rendering.wrap);
    assert_eq!(config.rendering.window, Duration::from_secs(1));
    assert_eq!(config.rendering.events.len(), 5);
    assert_eq!(config.rendering.max_keys, 10_000);
    assert!(config.notices.is_empty());
}

#[test]
fn replaces_the_last_suffix_for_the_records() {
    let check = |log: &str, json: &str| {
        assert_eq!(config(&format!("log = {log:?}")).json, Path::new(json));
    };
    check("/x/a.b.log", "/x/a.b.json");
    check("/x/decky", "/x/decky.json");
    check("/x.d/decky", "/x.d/decky.json");
}

#[test]
fn lets_decnets_environment_beat_the_file() {
    let text = "log = '/file.log'\nrelist = '5s'\n[dedupe]\nwindow = '9s'\nevents = ['a']\ndrop_services = ['b']";
    let environment = [
        ("DECNET_INGEST_LOG_FILE", "/env.log"),
        ("DECNET_COLLECTOR_RL_WINDOW_SEC", "2.5"),
        ("DECNET_COLLECTOR_RL_EVENT_TYPES", "connect, close,"),
        ("DECNET_COLLECTOR_DROP_APPS", ""),
        ("DECNET_COLLECTOR_RECONCILE_S", "7"),
        ("DOCKER_HOST", "tcp://127.0.0.1:2375"),
    ];
    let config = with(text, &environment).unwrap();
    assert_eq!(config.log, Path::new("/env.log"));
    assert_eq!(config.json, Path::new("/env.json"));
    assert_eq!(config.rendering.window, Duration::from_millis(2500));
    assert_eq!(config.rendering.events, ["connect", "close"]);
    assert!(config.rendering.drop_services.is_empty());
    assert_eq!(config.relist, Duration::from_secs(7));
    assert_eq!(
        config.docker,
        Some(Endpoint::Tcp("127.0.0.1:2375".to_owned()))
    );

    // DOCKER_HOST is a default, not an order.
    let config = with("docker = 'unix:///x.sock'", &environment).unwrap();
    assert_eq!(config.docker, Some(Endpoint::Unix("/x.sock".into())));
}

#[test]
fn takes_bad_seconds_as_decnet_does() {
    let window = |value| {
        let config = with("", &[("DECNET_COLLECTOR_RL_WINDOW_SEC", value)]).unwrap();
        (config.rendering.window, config.notices.len())
    };
    assert_eq!(window("-1"), (Duration::ZERO, 0));
    assert_eq!(window("0"), (Duration::ZERO, 0));
    assert_eq!(window("soon"), (Duration::from_secs(1), 1));
    assert_eq!(window("NaN"), (Duration::from_secs(1), 1));
    assert_eq!(window("1e300"), (Duration::from_secs(1), 1));
}

#[test]
fn turns_the_bus_on_by_table_or_environment() {
    assert_eq!(config("").bus, None);
    let at = |path: &str| {
        let socket = bus::Socket::At(path.into());
        Some(bus::Config { socket })
    };
    assert_eq!(config("[bus]\nsocket = '/x'").bus, at("/x"));
    let environment = [
        ("DECNET_BUS_ENABLED", "true"),
        ("DECNET_BUS_SOCKET", "/y"),
        ("DECNET_COLLECTOR_SESSION_AGG_TTL_SEC", "60"),
        ("DECNET_ARTIFACTS_ROOT", "/z"),
    ];
    let config = with("", &environment).unwrap();
    assert_eq!(config.bus, at("/y"));
    assert_eq!(config.sessions.ttl, Duration::from_secs(60));
    assert_eq!(config.sessions.artifacts, Path::new("/z"));
    assert!(with("[bus]\nsocket = 'x'", &[]).is_err());
}

#[test]
fn reports_every_problem_with_its_line() {
    let text = "log = '/x/a.json'\ndocker = 'tcp://192.0.2.1:2375'\nlabels = ['a=b', '=c']\nrelist = '1ms'\n[commit]\nmax_bytes = 1\nmax_delay = '1h'\n[dedupe]\nmax_keys = 0\n";
    let problems = with(text, &[]).unwrap_err().to_string();
    let lines: Vec<_> = problems.lines().collect();
    for (line, key) in [
        (1, "log"),
        (2, "docker"),
        (3, "labels.1"),
        (4, "relist"),
        (6, "commit.max_bytes"),
        (7, "commit.max_delay"),
        (9, "dedupe.max_keys"),
    ] {
        let start = format!("collector.toml:{line}: {key}: ");
        assert!(
            lines.iter().any(|found| found.starts_with(&start)),
            "{start} in\n{problems}"
        );
    }
    assert_eq!(lines.len(), 7, "{problems}");
}

#[test]
fn suggests_the_right_key() {
    let problems = with("lables = []\nread = 'files'", &[])
        .unwrap_err()
        .to_string();
    assert!(
        problems.contains("collector.toml:1: lables") && problems.contains("labels"),
        "{problems}"
    );
    assert!(problems.contains("collector.toml:2: read"), "{problems}");
}

#[test]
fn refuses_to_collect_nothing() {
    assert!(with("labels = []", &[]).is_err());
    assert!(with("labels = []\ndecnet_state = '/x.json'", &[]).is_ok());
}

#[test]
fn takes_the_installed_samples() {
    for sample in [
        include_str!("../../../../deploy/etc/logferry/collector.toml"),
        include_str!("../../../../deploy/decnet/collector.toml"),
    ] {
        config(sample);
        config(&service::testing::uncommented(sample));
    }
}

#[test]
fn serves_syslog_on_loopback_alone() {
    let checked = config(
        "[syslog]\nudp = '127.0.0.1:514'\ntcp = '[::1]:601'\nunix = '/run/x.sock'\nmode = '0666'\n\
         max_message = '64KiB'\nconnections = 5\nidle = '1m'",
    );
    let syslog = checked.syslog.unwrap();
    assert_eq!(syslog.udp, Some("127.0.0.1:514".parse().unwrap()));
    assert_eq!(syslog.tcp, Some("[::1]:601".parse().unwrap()));
    let unix = syslog.unix.unwrap();
    assert_eq!(
        (unix.path.to_str(), unix.mode),
        (Some("/run/x.sock"), 0o666)
    );
    assert_eq!((syslog.max_message, syslog.connections), (64 << 10, 5));
    assert_eq!(syslog.idle, Duration::from_secs(60));
    assert!(config("").syslog.is_none());

    for (text, key, what) in [
        ("udp = '0.0.0.0:514'", "syslog.udp", "other hosts"),
        ("tcp = '[::]:514'", "syslog.tcp", "other hosts"),
        ("tcp = '10.0.0.1:514'", "syslog.tcp", "other hosts"),
        ("tcp = '[::ffff:10.0.0.1]:514'", "syslog.tcp", "other hosts"),
        ("udp = 'localhost:514'", "syslog.udp", "no address"),
        ("udp = '127.0.0.1'", "syslog.udp", "no address"),
        ("unix = 'syslog.sock'", "syslog.unix", "absolute"),
        ("unix = '/x'\nmode = 'rw'", "syslog.mode", "octal"),
        ("", "syslog", "nothing"),
        (
            "unix = '/x'\nmax_message = '2MiB'",
            "syslog.max_message",
            "between",
        ),
        (
            "unix = '/x'\nconnections = 0",
            "syslog.connections",
            "between",
        ),
        ("unix = '/x'\nidle = '0s'", "syslog.idle", "between"),
    ] {
        let problems = with(&format!("[syslog]\n{text}"), &[]).unwrap_err();
        assert_eq!(problems.0.len(), 1, "{text}: {problems}");
        assert_eq!(problems.0[0].key, key, "{text}: {problems}");
        assert!(problems.0[0].what.contains(what), "{text}: {problems}");
    }
    let text = "commit = { max_delay = '51ms' }\n[syslog]\nudp = '127.0.0.2:514'";
    assert_eq!(with(text, &[]).unwrap_err().0[0].key, "commit.max_delay");
}

#[test]
fn docker_can_be_off_where_something_else_is_collected() {
    let off = config("docker = 'off'\nlabels = []\n[syslog]\nudp = '127.0.0.1:514'");
    assert_eq!(off.docker, None);
    let problems = with("docker = 'off'", &[]).unwrap_err();
    assert_eq!(problems.0[0].key, "docker");
}

#[test]
fn spans_go_to_loopback_or_over_tls() {
    for (endpoint, shown) in [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
        ("http://[::1]:4318/v1/traces", "http://[::1]:4318/v1/traces"),
        (
            "https://otel.example/base",
            "https://otel.example:443/base/v1/traces",
        ),
    ] {
        let config = config(&format!("[otlp]\nendpoint = {endpoint:?}"));
        assert_eq!(config.otlp.unwrap().endpoint.to_string(), shown);
        assert!(config.rendering.tracer.is_some());
    }
    assert_eq!(config("").rendering.tracer, None);
    for (text, key) in [
        ("", "otlp.endpoint"),
        ("endpoint = 'http://192.0.2.1:4318'", "otlp.endpoint"),
        ("endpoint = 'http://otel.example:4318'", "otlp.endpoint"),
        ("endpoint = 'grpc://127.0.0.1:4317'", "otlp.endpoint"),
        ("endpoint = 'https://u:p@otel.example'", "otlp.endpoint"),
        ("endpoint = 'https://otel.example?key=x'", "otlp.endpoint"),
        ("endpoint = 'http://127.0.0.1'\nsample = 0.0", "otlp.sample"),
        ("endpoint = 'http://127.0.0.1'\nsample = 1.5", "otlp.sample"),
        (
            "endpoint = 'http://127.0.0.1'\nca = '/absent.pem'",
            "otlp.ca",
        ),
    ] {
        let problems = with(&format!("[otlp]\n{text}"), &[]).unwrap_err();
        assert_eq!(problems.0.len(), 1, "{text}: {problems}");
        assert_eq!(problems.0[0].key, key, "{text}: {problems}");
    }
}
