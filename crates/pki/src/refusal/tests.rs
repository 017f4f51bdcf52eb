//! Reasons in words.

use super::*;

#[test]
fn alerts_are_written_as_in_the_rfc() {
    for (alert, expected) in [
        (AlertDescription::UnknownCA, "unknown_ca"),
        (AlertDescription::CertificateRevoked, "certificate_revoked"),
        (AlertDescription::AccessDenied, "access_denied"),
        (
            AlertDescription::NoApplicationProtocol,
            "no_application_protocol",
        ),
    ] {
        assert_eq!(alert_name(alert), expected);
    }
}

#[test]
fn reasons_name_what_was_wrong() {
    let name: WorkerName = "w1".parse().unwrap();
    let fingerprint = Fingerprint::of(b"abc");
    for (refusal, expected) in [
        (
            Refusal::Revoked(Some(name.clone())),
            "the certificate of w1 is revoked",
        ),
        (Refusal::Revoked(None), "the certificate is revoked"),
        (
            Refusal::Expired(timestamp(0)),
            "the certificate has expired (1970-01-01T00:00:00Z)",
        ),
        (Refusal::Expired(None), "the certificate has expired"),
        (
            Refusal::NotEnrolled { name, fingerprint },
            "the certificate of w1 is not enrolled (sha-256 \
             ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad)",
        ),
    ] {
        assert_eq!(refusal.to_string(), expected);
    }
}

#[test]
fn closed_connections_are_told_from_failures() {
    let of = |kind: io::ErrorKind| Refusal::of(&kind.into());
    assert_eq!(of(io::ErrorKind::UnexpectedEof), Refusal::Closed);
    assert_eq!(of(io::ErrorKind::ConnectionReset), Refusal::Closed);
    assert!(matches!(of(io::ErrorKind::OutOfMemory), Refusal::Other(_)));
}
