//! The certificates that we make: RFC 5280 profiles of the CA, the master and the workers.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};

use crate::name::SubjectName;

/// How long a CA lives: ten years, as DECNET's. Replacing it means touching every host, so it should outlive
/// the hosts.
pub const CA_LIFETIME: Duration = Duration::from_secs(3650 * DAY);

/// How long a master's or worker's certificate lives: 825 days, as DECNET's and the longest that public
/// verifiers still took for private CAs. Revocation does not wait for it; it bounds a forgotten key.
pub const LEAF_LIFETIME: Duration = Duration::from_secs(825 * DAY);

/// How far back `notBefore` lies, for hosts whose clock is a little behind ours.
const BACKDATE: Duration = Duration::from_secs(300);

const DAY: u64 = 86_400;

/// What a leaf is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// TLS server.
    Master,
    /// TLS client, and nothing else: a worker's key cannot play the master.
    Worker,
}

/// What the CA may be used for, and how it is named.
pub(crate) fn authority(common_name: &str, now: SystemTime) -> CertificateParams {
    let mut params = base(common_name, now, CA_LIFETIME);
    // No intermediate CAs below it, and no TLS with its key (RFC 5280 §4.2.1.3, §4.2.1.9).
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Signs a leaf. It never outlives its issuer.
pub(crate) fn leaf(
    issuer: &Issuer<'_, KeyPair>,
    issuer_not_after: SystemTime,
    role: Role,
    subject: (&str, &[SubjectName]),
    key: &impl PublicKeyData,
    now: SystemTime,
) -> Result<rcgen::Certificate, rcgen::Error> {
    let (common_name, names) = subject;
    let left = issuer_not_after.duration_since(now).unwrap_or_default();
    let mut params = base(common_name, now, LEAF_LIFETIME.min(left));
    params.is_ca = IsCa::ExplicitNoCa;
    // ECDHE signs; static RSA, which would encipher, is not offered (RFC 5280 §4.2.1.3).
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![match role {
        Role::Master => ExtendedKeyUsagePurpose::ServerAuth,
        Role::Worker => ExtendedKeyUsagePurpose::ClientAuth,
    }];
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names = names.iter().map(alternative).collect::<Result<_, _>>()?;
    params.signed_by(key, issuer)
}

fn base(common_name: &str, now: SystemTime, lifetime: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
        .distinguished_name
        .push(DnType::OrganizationName, "logferry");
    let since_epoch = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch.saturating_sub(BACKDATE);
    params.not_after = epoch + since_epoch + lifetime;
    params.serial_number = Some(serial());
    params
}

/// 127 random bits: positive, never zero, at most 20 octets (RFC 5280 §4.1.2.2).
fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn alternative(name: &SubjectName) -> Result<SanType, rcgen::Error> {
    Ok(match name {
        SubjectName::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
        SubjectName::Ip(address) => SanType::IpAddress(*address),
    })
}
