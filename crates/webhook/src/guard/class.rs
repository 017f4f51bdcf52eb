//! What kind of address an address is. The standard library's predicates do not look into addresses that embed an IPv4
//! one, and call some of those global.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The kind of an address, as far as sending webhooks there is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Class {
    /// 0.0.0.0/8 and `::`: this network, this host.
    Unspecified,
    /// 127.0.0.0/8 and `::1`.
    Loopback,
    /// A cloud's metadata service, at whatever kind of address.
    Metadata,
    /// 169.254.0.0/16 and fe80::/10.
    LinkLocal,
    /// 224.0.0.0/4 and ff00::/8.
    Multicast,
    /// Broadcast, documentation, benchmarks, protocol assignments, future use.
    Reserved,
    /// RFC 1918, unique local and site local.
    Private,
    /// 100.64.0.0/10, between customers and their carrier (RFC 6598).
    Shared,
    /// Everything else.
    Public,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::Metadata => "metadata service",
            Self::LinkLocal => "link-local",
            Self::Multicast => "multicast",
            Self::Reserved => "reserved",
            Self::Private => "private",
            Self::Shared => "shared",
            Self::Public => "public",
        })
    }
}

/// The class of an address, and the address that has it: the embedded one where there is one.
pub fn classify(addr: IpAddr) -> (Class, IpAddr) {
    let inner = embedded(addr).map_or(addr, IpAddr::V4);
    let class = match inner {
        IpAddr::V4(addr) => class_v4(addr),
        IpAddr::V6(addr) => class_v6(addr),
    };
    (class, inner)
}

/// The IPv4 address inside a mapped, compatible, translated (RFC 2765), NAT64 or 6to4 one.
fn embedded(addr: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(addr) = addr else {
        return None;
    };
    let low = || Ipv4Addr::from_bits(addr.to_bits() as u32);
    match addr.segments() {
        // `::` and `::1` are addresses of their own in ::/96.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] => Some(low()),
        [0, 0, 0, 0, 0xffff, 0, ..] => Some(low()),
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(low()),
        [0x2002, high, low, ..] => {
            Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

fn class_v4(addr: Ipv4Addr) -> Class {
    if METADATA_V4.contains(&addr) {
        return Class::Metadata;
    }
    match addr.octets() {
        [0, ..] => Class::Unspecified,
        [127, ..] => Class::Loopback,
        [169, 254, ..] => Class::LinkLocal,
        [224..=239, ..] => Class::Multicast,
        // IETF assignments, 6to4 relays, benchmarks, documentation, future use with broadcast.
        [192, 0, 0, _] | [192, 88, 99, _] | [198, 18 | 19, ..] => Class::Reserved,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Class::Reserved,
        [240..=255, ..] => Class::Reserved,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Class::Private,
        [100, 64..=127, ..] => Class::Shared,
        _ => Class::Public,
    }
}

fn class_v6(addr: Ipv6Addr) -> Class {
    if METADATA_V6.contains(&addr) {
        return Class::Metadata;
    }
    match addr.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Class::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Loopback,
        [0xfe80..=0xfebf, ..] => Class::LinkLocal,
        [0xff00..=0xffff, ..] => Class::Multicast,
        // Teredo, ORCHID, documentation.
        [0x2001, 0 | 0x10..=0x2f | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Class::Reserved,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Class::Private,
        [0x2000..=0x3fff, ..] => Class::Public,
        // Only 2000::/3 is given out. Local NAT64, in which an IPv4 address may stand anywhere, and discard are here.
        _ => Class::Reserved,
    }
}

/// AWS and most others, Azure (a public address), Alibaba (a shared one), Oracle.
const METADATA_V4: [Ipv4Addr; 4] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// AWS, GCP.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];
