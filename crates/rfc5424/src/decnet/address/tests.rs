//! Our reading of IPv4 is the standard library's.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn ipv4_is_what_the_standard_library_takes(text in "([0-9]{0,4}\\.){2,4}[0-9]{0,3}|(2[0-9]{2}\\.){3}2[0-9]{2}|[0-9.a]{0,9}") {
        prop_assert_eq!(is_ipv4(text.as_bytes()), text.parse::<Ipv4Addr>().is_ok(), "{}", text);
    }
}

#[test]
fn ipv4_groups_end_at_255() {
    for number in 0..10_000 {
        let text = format!("1.{number}.0.{number}");
        assert_eq!(is_ipv4(text.as_bytes()), number < 256, "{text}");
    }
}
