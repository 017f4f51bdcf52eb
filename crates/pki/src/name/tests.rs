//! Names: what is taken and what is not.

use super::*;

#[test]
fn takes_what_the_pattern_takes() {
    let longest = "a".repeat(64);
    for good in [
        "a",
        "0",
        "web-1",
        "Web_1.example",
        "a..b",
        "a-",
        longest.as_str(),
    ] {
        assert_eq!(WorkerName::new(good).unwrap().as_str(), good);
    }
    let too_long = "a".repeat(65);
    for bad in [
        "",
        ".",
        "..",
        ".a",
        "-a",
        "_a",
        "a/b",
        "a b",
        "a\0",
        "a\n",
        "ä",
        "updater@w1",
        too_long.as_str(),
    ] {
        assert!(
            matches!(WorkerName::new(bad), Err(NameError::Pattern(_))),
            "{bad:?}"
        );
    }
}

#[test]
fn reserved_names_are_refused_in_any_case() {
    for bad in [
        "decnet-master",
        "swarmctl",
        "unknown",
        "logferry-master",
        "Logferry-Master",
        "UNKNOWN",
    ] {
        assert!(
            matches!(WorkerName::new(bad), Err(NameError::Reserved(_))),
            "{bad:?}"
        );
    }
}

#[test]
fn subject_names_are_addresses_or_dns_names() {
    let parse = |text: &str| text.parse::<SubjectName>();
    assert_eq!(
        parse("127.0.0.1").unwrap(),
        SubjectName::Ip([127, 0, 0, 1].into())
    );
    assert!(matches!(parse("::1").unwrap(), SubjectName::Ip(_)));
    assert_eq!(
        parse("a.example").unwrap(),
        SubjectName::Dns("a.example".into())
    );
    for bad in ["", "*", "*.example", "a b", "a..b", "bücher.example", "a@b"] {
        assert!(
            matches!(parse(bad), Err(SubjectNameError::Syntax(_))),
            "{bad:?}"
        );
    }
}

#[test]
fn a_worker_gets_no_master_name() {
    for bad in ["logferry-master", "DECNET-master", "logferry-master."] {
        let name: SubjectName = bad.parse().unwrap();
        assert!(
            matches!(name.for_worker(), Err(SubjectNameError::Master(_))),
            "{bad:?}"
        );
    }
    assert!(
        "w1.example"
            .parse::<SubjectName>()
            .unwrap()
            .for_worker()
            .is_ok()
    );
}
