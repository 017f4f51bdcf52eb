//! Addresses and names.
use super::*;
#[test]
fn splits_addresses() {
    let check = |text: &str, host: &str, port: u16| {
        assert_eq!(
            master(text, 6514),
            Ok(Master {
                host: host.to_owned(),
                port
            }),
            "{text}"
        );
    };
    check("master.example:7000", "master.example", 7000);
    check("master.example", "master.example", 6514);
    check("192.0.2.1:1", "192.0.2.1", 1);
    check("[2001:db8::1]:7000", "2001:db8::1", 7000);
    check("[2001:db8::1]", "2001:db8::1", 6514);
    check("2001:db8::1", "2001:db8::1", 6514);
    for bad in [
        "", ":6514", "a:b", "a:0", "a:70000", "[::1", "[::1]x", "a b:1",
    ] {
        assert!(master(bad, 6514).is_err(), "{bad}");
    }
}

#[test]
fn judges_stream_names() {
    for good in ["decky", "a", "0.b_c-d", &"a".repeat(64)] {
        assert_eq!(check_name(good), Ok(()), "{good}");
    }
    for bad in [
        "",
        "Decky",
        ".a",
        "-a",
        "a/b",
        "..",
        "syslog",
        "a b",
        "ä",
        &"a".repeat(65),
    ] {
        assert!(check_name(bad).is_err(), "{bad}");
    }
}

#[test]
fn takes_the_installed_samples() {
    for sample in [
        include_str!("../../../../deploy/etc/logferry/forwarder.toml"),
        include_str!("../../../../deploy/decnet/forwarder.toml"),
    ] {
        for text in [sample, &service::testing::uncommented(sample)] {
            let (raw, source) = service::config::parse(Path::new("forwarder.toml"), text)
                .unwrap_or_else(|e| panic!("{e}"));
            let mut problems = Problems::new();
            // The DECNET sample leaves the master to DECNET's environment.
            let environment = Environment::of([("DECNET_SWARM_MASTER_HOST", "master.example")]);
            Config::check(raw, &source, &environment, &mut problems);
            problems.none_or(()).unwrap_or_else(|e| panic!("{e}"));
        }
    }
}
