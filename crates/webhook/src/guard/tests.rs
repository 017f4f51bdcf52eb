//! The table of addresses row by row, names, ports, and every way to write loopback.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

fn refusal(policy: &Policy, url: &str) -> Option<Refusal> {
    policy.check_url(url).err()
}

/// `url` is refused by default because its address is of `class`.
#[track_caller]
fn denied(class: Class, host: &str) {
    let url = format!("http://{host}/");
    match refusal(&Policy::default(), &url) {
        Some(Refusal::Address { class: found, .. }) => assert_eq!(found, class, "{url}"),
        other => panic!("{url}: {other:?}"),
    }
}

#[track_caller]
fn allowed(host: &str) {
    let url = format!("http://{host}/");
    assert_eq!(refusal(&Policy::default(), &url), None, "{url}");
}

fn allowing(nets: &[&str]) -> Policy {
    Policy {
        allow_cidrs: nets.iter().map(|net| net.parse().unwrap()).collect(),
        ..Policy::default()
    }
}

#[test]
fn row_unspecified_is_denied_always() {
    for host in ["0.0.0.0", "0", "0.255.255.255", "[::]", "[::ffff:0.0.0.0]"] {
        denied(Class::Unspecified, host);
        let url = format!("http://{host}/");
        let policy = allowing(&["0.0.0.0/0", "::/0"]);
        assert!(refusal(&policy, &url).is_some(), "{url}");
    }
    allowed("1.0.0.0");
}

#[test]
fn row_loopback_is_denied() {
    for host in ["127.0.0.1", "127.255.255.255", "[::1]"] {
        denied(Class::Loopback, host);
    }
    allowed("126.255.255.255");
    allowed("128.0.0.0");
}

#[test]
fn row_link_local_is_denied() {
    for host in ["169.254.0.0", "169.254.255.255", "[fe80::1]", "[febf::1]"] {
        denied(Class::LinkLocal, host);
    }
    allowed("169.253.255.255");
    allowed("169.255.0.0");
}

#[test]
fn row_metadata_is_denied() {
    for host in [
        "169.254.169.254",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "[fd00:ec2::254]",
        "[fd20:ce::254]",
    ] {
        denied(Class::Metadata, host);
    }
    allowed("168.63.129.17");
    allowed("100.100.100.201");
    allowed("[fd00:ec2::253]");
}

#[test]
fn row_multicast_and_reserved_is_denied() {
    for host in ["224.0.0.1", "239.255.255.255", "[ff02::1]", "[ffff::]"] {
        denied(Class::Multicast, host);
    }
    for host in [
        "240.0.0.1",
        "255.255.255.255",
        "192.0.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.255",
        "192.88.99.1",
        "[2001:db8::1]",
        "[3fff:fff::1]",
        "[2001::1]",
        "[2001:20::1]",
        "[64:ff9b:1::7f00:1]",
        "[100::1]",
        "[0:0:1::1]",
        "[4000::1]",
        "[fe00::1]",
    ] {
        denied(Class::Reserved, host);
    }
    for host in [
        "223.255.255.255",
        "192.0.1.1",
        "198.20.0.1",
        "[2001:4860:4860::8888]",
        "[3fff:1000::1]",
    ] {
        allowed(host);
    }
}

#[test]
fn row_embedded_ipv4_is_unpacked() {
    for host in [
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "[::ffff:0:7f00:1]",
        "[2002:7f00:1:1:2:3:4:5]",
    ] {
        denied(Class::Loopback, host);
    }
    denied(Class::Metadata, "[::ffff:169.254.169.254]");
    denied(Class::Metadata, "[64:ff9b::a9fe:a9fe]");
    denied(Class::Metadata, "[2002:a83f:8110::1]");
    for host in ["[::ffff:8.8.8.8]", "[64:ff9b::808:808]", "[2002:808:808::]"] {
        allowed(host);
    }
    let strict = Policy {
        deny_private: true,
        ..Policy::default()
    };
    assert!(refusal(&strict, "http://[::ffff:10.0.0.1]/").is_some());
}

#[test]
fn row_private_and_shared_is_allowed_unless_denied() {
    let strict = Policy {
        deny_private: true,
        ..Policy::default()
    };
    for (host, class) in [
        ("10.0.0.1", Class::Private),
        ("172.16.0.1", Class::Private),
        ("172.31.255.255", Class::Private),
        ("192.168.1.1", Class::Private),
        ("[fc00::1]", Class::Private),
        ("[fdff::1]", Class::Private),
        ("[fec0::1]", Class::Private),
        ("100.64.0.1", Class::Shared),
        ("100.127.255.255", Class::Shared),
    ] {
        allowed(host);
        let url = format!("http://{host}/");
        match refusal(&strict, &url) {
            Some(Refusal::Address { class: found, .. }) => assert_eq!(found, class, "{url}"),
            other => panic!("{url}: {other:?}"),
        }
    }
    for host in ["172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1"] {
        assert_eq!(refusal(&strict, &format!("http://{host}/")), None, "{host}");
    }
}

#[test]
fn allowed_networks_win_over_every_class_but_unspecified() {
    let policy = allowing(&[
        "127.0.0.0/8",
        "169.254.169.254/32",
        "::1/128",
        "10.1.0.0/16",
    ]);
    for url in [
        "http://127.0.0.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://169.254.169.254/",
        "http://[::1]/",
    ] {
        assert_eq!(refusal(&policy, url), None, "{url}");
    }
    assert!(refusal(&policy, "http://169.254.169.253/").is_some());
    let strict = Policy {
        deny_private: true,
        ..policy
    };
    assert_eq!(refusal(&strict, "http://10.1.2.3/"), None);
    assert!(refusal(&strict, "http://10.2.2.3/").is_some());
}

#[test]
fn other_spellings_of_loopback_are_seen_through() {
    for host in [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "127.0.0.1.",
        "①②⑦.0.0.1",
        "%31%32%37.0.0.1",
        "[0:0:0:0:0:0:0:1]",
        "[0000::0001]",
    ] {
        denied(Class::Loopback, host);
    }
}

#[test]
fn names_of_this_host_and_of_metadata_services_are_denied() {
    for host in [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "a.b.localhost.",
        "ip6-localhost",
        "metadata.google.internal",
        "Metadata.Google.Internal.",
    ] {
        let found = refusal(&Policy::default(), &format!("http://{host}/"));
        assert!(matches!(found, Some(Refusal::Name(_))), "{host}: {found:?}");
    }
    for host in ["localhost.example", "notlocalhost", "a-localhost"] {
        allowed(host);
    }
}

#[test]
fn ports_are_denied_by_list() {
    let ported = |port: u16| format!("http://chat.example:{port}/");
    for port in [22, 25, 6379] {
        let found = refusal(&Policy::default(), &ported(port));
        assert_eq!(found, Some(Refusal::Port(port)));
    }
    assert_eq!(
        refusal(&Policy::default(), &ported(0)),
        Some(Refusal::Port(0))
    );
    for port in [1, 80, 443, 8080, 65535] {
        assert_eq!(refusal(&Policy::default(), &ported(port)), None);
    }
    let own = Policy {
        deny_ports: vec![8080],
        ..Policy::default()
    };
    assert_eq!(refusal(&own, &ported(8080)), Some(Refusal::Port(8080)));
    assert_eq!(refusal(&own, &ported(25)), None);
}

#[test]
fn an_ipv4_address_has_one_answer_in_all_its_clothes() {
    let policy = allowing(&["127.0.0.2/32", "8.8.0.0/16"]);
    let mut bits = 1_u32;
    for step in 0..20_000_u32 {
        // Every first octet in turn, the others as a simple generator has them.
        bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let bare = Ipv4Addr::from_bits(bits >> 8 | step << 24);
        let [a, b, c, d] = bare.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let wanted = policy.check_addr(bare.into()).is_ok();
        for clothed in [
            Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low),
            Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x2002, high, low, 1, 2, 3, 4, 5),
            Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
        ] {
            let found = policy.check_addr(clothed.into()).is_ok();
            assert_eq!(found, wanted, "{bare} as {clothed}");
        }
    }
}
