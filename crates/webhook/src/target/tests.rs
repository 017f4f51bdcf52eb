//! What a URL may be, and how little of it is shown.

use super::*;

#[test]
fn refuses_what_is_no_receiver() {
    for (url, what) in [
        ("", "parsed"),
        ("chat.example/hook", "parsed"),
        ("http://", "parsed"),
        ("http://[::1", "parsed"),
        ("http://chat.example:65536/", "parsed"),
        ("ftp://chat.example/", "neither"),
        ("file:///etc/passwd", "neither"),
        ("unix:/run/docker.sock", "neither"),
        ("gopher://chat.example/", "neither"),
        ("http://user@chat.example/", "user name"),
        ("http://:t0ken@chat.example/", "user name"),
        ("http://user:t0ken@127.0.0.1@chat.example/", "user name"),
        ("http://chat.example/#t0ken", "fragment"),
        ("http://chat.example/\n", "control"),
        ("http://chat\t.example/", "control"),
        (" http://chat.example/", "control"),
    ] {
        let error = Target::parse(url).expect_err(url).to_string();
        assert!(error.contains(what), "{url}: {error}");
        assert!(!error.contains("t0ken"), "{url}: {error}");
    }
    let long = format!("http://chat.example/{}", "a".repeat(MAX_URL));
    assert!(Target::parse(&long).is_err());
}

#[test]
fn tells_host_port_and_path_apart() {
    for (url, authority, path, port) in [
        (
            "http://Chat.Example/hook?a=b",
            "chat.example",
            "/hook?a=b",
            80,
        ),
        ("https://chat.example", "chat.example", "/", 443),
        ("https://chat.example:443/", "chat.example", "/", 443),
        (
            "https://chat.example:8443?x",
            "chat.example:8443",
            "/?x",
            8443,
        ),
        (
            "http://[fd00::1]:8080/a b".trim_end_matches(" b"),
            "[fd00::1]:8080",
            "/a",
            8080,
        ),
        ("http://127.1/", "127.0.0.1", "/", 80),
        (
            "http://bücher.example/ü",
            "xn--bcher-kva.example",
            "/%C3%BC",
            80,
        ),
        (
            "http://chat.example/a|b`^[]{}?\"`^|{}\\",
            "chat.example",
            "",
            80,
        ),
        ("http:\\\\chat.example\\a", "chat.example", "/a", 80),
    ] {
        let target = Target::parse(url).unwrap();
        assert_eq!(target.authority(), authority, "{url}");
        if !path.is_empty() {
            assert_eq!(target.path(), path, "{url}");
        }
        assert_eq!(target.port(), port, "{url}");
    }
}

#[test]
fn shows_neither_path_nor_query() {
    let target = Target::parse("https://chat.example:8443/hook/t0ken?key=t0ken").unwrap();
    assert_eq!(target.to_string(), "https://chat.example:8443/…");
    assert!(!format!("{target:?}").contains("t0ken"));
}

#[test]
fn a_certificate_must_carry_the_name_without_its_last_dot() {
    let name = |url| Target::parse(url).unwrap().server_name().unwrap();
    assert_eq!(name("https://chat.example./").to_str(), "chat.example");
    assert!(matches!(
        name("https://[fd00::1]/"),
        ServerName::IpAddress(_)
    ));
}
