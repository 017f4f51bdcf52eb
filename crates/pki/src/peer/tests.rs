//! Names read out of certificates.

use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

use super::*;

fn certificate(names: &[DnValue]) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (at, name) in names.iter().enumerate() {
        // rcgen keeps one value a type: the second is written with the OID spelled out.
        let kind = if at == 0 {
            DnType::CommonName
        } else {
            DnType::CustomDnType(vec![2, 5, 4, 3])
        };
        params.distinguished_name.push(kind, name.clone());
    }
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

fn utf8(name: &str) -> DnValue {
    DnValue::Utf8String(name.to_owned())
}

#[test]
fn reads_name_serial_and_end() {
    let der = certificate(&[utf8("w1")]);
    let peer = peer(&der).unwrap();
    assert_eq!(peer.name.as_str(), "w1");
    assert_eq!(peer.fingerprint, Fingerprint::of(&der));
    assert!(peer.serial.len() >= 16);
    let year_4096 = 67_090_118_400;
    assert_eq!(
        peer.not_after,
        SystemTime::UNIX_EPOCH + Duration::from_secs(year_4096)
    );
}

#[test]
fn takes_every_kind_of_text() {
    let printable = DnValue::PrintableString("w1".try_into().unwrap());
    assert_eq!(
        peer(&certificate(&[printable])).unwrap().name.as_str(),
        "w1"
    );
}

#[test]
fn two_common_names_are_none() {
    let der = certificate(&[utf8("w1"), utf8("w2")]);
    assert_eq!(peer(&der), Err(PeerError::CommonName(2)));
    assert_eq!(peer(&certificate(&[])), Err(PeerError::CommonName(0)));
}

#[test]
fn anything_but_one_certificate_is_malformed() {
    let der = certificate(&[utf8("w1")]);
    for length in 0..der.len() {
        assert_eq!(peer(&der[..length]), Err(PeerError::Malformed), "{length}");
    }
    assert_eq!(peer(&[&der[..], b"x"].concat()), Err(PeerError::Malformed));
}
