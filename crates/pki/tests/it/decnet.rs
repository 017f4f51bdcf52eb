//! Certificates of DECNET's shape: RSA, no key identifiers, critical extended key usage, both purposes.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use pki::{Identity, Registry, ServerTls, SkipReason, Trust, import};
use rcgen::{
    CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_RSA_SHA256, RsaKeySize,
};

use crate::support::{BOTH, certified, client, forwarder, meet, meet_as, name, valid};

/// RSA keys are slow to make; the tests share two.
fn rsa_key(pem: &OnceLock<String>, size: RsaKeySize) -> KeyPair {
    let make = || {
        KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size)
            .unwrap()
            .serialize_pem()
    };
    KeyPair::from_pem(pem.get_or_init(make)).unwrap()
}

fn ca_key() -> KeyPair {
    static PEM: OnceLock<String> = OnceLock::new();
    rsa_key(&PEM, RsaKeySize::_4096)
}

fn leaf_key() -> KeyPair {
    static PEM: OnceLock<String> = OnceLock::new();
    rsa_key(&PEM, RsaKeySize::_2048)
}

fn extension(oid: &[u64], der: &[u8]) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, der.to_vec());
    extension.set_criticality(true);
    extension
}

const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
const CA_PATHLEN_0: &[u8] = &[0x30, 6, 1, 1, 0xff, 2, 1, 0];
const NOT_CA: &[u8] = &[0x30, 0];
const SERVER_AND_CLIENT: &[u8] = &[
    0x30, 20, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2,
];

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "DECNET SWARM Root CA");
    params
        .distinguished_name
        .push(DnType::OrganizationName, "DECNET");
    valid(&mut params, -300, 3650 * 86_400);
    // Not IsCa::Ca: that would add a subject key identifier.
    params.is_ca = IsCa::NoCa;
    params.custom_extensions = vec![extension(BASIC_CONSTRAINTS, CA_PATHLEN_0)];
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
    ];
    params
}

fn leaf_params(common_name: &str, sans: &[&str]) -> CertificateParams {
    let sans: Vec<String> = sans.iter().map(|san| (*san).to_owned()).collect();
    let mut params = CertificateParams::new(sans).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
        .distinguished_name
        .push(DnType::OrganizationName, "DECNET");
    params
        .distinguished_name
        .push(DnType::OrganizationalUnitName, "swarm-worker");
    valid(&mut params, -300, 825 * 86_400);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.custom_extensions = vec![
        extension(BASIC_CONSTRAINTS, NOT_CA),
        extension(EXTENDED_KEY_USAGE, SERVER_AND_CLIENT),
    ];
    params
}

/// A CA directory as DECNET leaves it: master, two workers, and what must not come along.
fn decnet_ca(dir: &Path) -> PathBuf {
    let (ca, key, params) = (dir.join("decnet-ca"), ca_key(), ca_params());
    let pem = params.self_signed(&key).unwrap().pem();
    std::fs::create_dir_all(&ca).unwrap();
    std::fs::write(ca.join("ca.key"), key.serialize_pem()).unwrap();
    std::fs::write(ca.join("ca.crt"), &pem).unwrap();
    let issuer = Issuer::from_params(&params, &key);
    let bundle = |at: &str, common_name: &str, sans: &[&str]| {
        let (dir, key) = (ca.join(at), leaf_key());
        let certificate = leaf_params(common_name, sans)
            .signed_by(&key, &issuer)
            .unwrap();
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("ca.crt"), &pem).unwrap();
        std::fs::write(dir.join("worker.crt"), certificate.pem()).unwrap();
        std::fs::write(dir.join("worker.key"), key.serialize_pem()).unwrap();
    };
    bundle("master", "decnet-master", &["127.0.0.1", "decnet-master"]);
    bundle("workers/w1", "w1", &["10.0.0.5", "master.example", "w1"]);
    bundle("workers/w_2", "w_2", &["w_2"]);
    bundle("workers/w1/updater", "updater@w1", &["w1"]);
    bundle("workers/bad name", "bad name", &["x"]);
    bundle("workers/swarmctl", "swarmctl", &["x"]);
    std::fs::create_dir_all(ca.join("workers/empty")).unwrap();
    ca
}

#[tokio::test]
async fn a_decnet_ca_is_taken_over_and_serves() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, data) = (decnet_ca(dir.path()), dir.path().join("data"));
    let done = import(&data, &ca, SystemTime::now()).await.unwrap();
    let registered: Vec<_> = done
        .registered
        .iter()
        .map(|peer| peer.name.as_str())
        .collect();
    assert_eq!(registered, ["w1", "w_2"]);
    let skipped: Vec<_> = done
        .skipped
        .iter()
        .map(|skipped| skipped.path.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(skipped, ["bad name", "empty", "swarmctl"]);
    assert!(matches!(done.skipped[0].reason, SkipReason::Peer(_)));
    for file in ["ca.key", "ca.crt", "master/worker.crt", "master/worker.key"] {
        assert_eq!(
            std::fs::read(ca.join(file)).unwrap(),
            std::fs::read(data.join("ca").join(file)).unwrap(),
            "{file}"
        );
    }
    assert!(!data.join("ca/workers/w1/worker.key").exists());

    let tls = ServerTls::open(&data, Trust::Registry).await.unwrap();
    let worker = Identity::load(&ca.join("workers/w1")).unwrap();
    let accepted = meet(&tls, forwarder(&worker, &[])).await.server.unwrap();
    assert_eq!(accepted.peer.name.as_str(), "w1");
    assert_eq!(accepted.peer.fingerprint, done.registered[0].fingerprint);

    // A second import changes nothing.
    let again = import(&data, &ca, SystemTime::now()).await.unwrap();
    assert!(again.registered.is_empty() && again.init.made.is_empty());
    assert_eq!(again.known.len(), 2);

    // Our certificates of the same CA work beside DECNET's.
    let out = dir.path().join("w3");
    let enrolment = pki::Enrolment {
        name: name("w3"),
        names: Vec::new(),
        out: out.clone(),
        replace: false,
    };
    pki::enrol(&data, enrolment, SystemTime::now())
        .await
        .unwrap();
    assert!(
        meet(&tls, forwarder(&Identity::load(&out).unwrap(), &[]))
            .await
            .server
            .is_ok()
    );
}

#[tokio::test]
async fn a_decnet_ca_directory_serves_unchanged_under_trust_ca() {
    let dir = tempfile::tempdir().unwrap();
    let ca = decnet_ca(dir.path());
    std::fs::create_dir(dir.path().join("data")).unwrap();
    std::os::unix::fs::symlink(&ca, dir.path().join("data/ca")).unwrap();
    let tls = ServerTls::open(&dir.path().join("data"), Trust::Ca)
        .await
        .unwrap();
    for version in BOTH {
        let issuer = crate::support::issuer(&ca.join("ca.crt"), &ca.join("ca.key"));
        let verdict = async |common_name: &str| {
            let key = leaf_key();
            let certificate = leaf_params(common_name, &["x"])
                .signed_by(&key, &issuer)
                .unwrap();
            let key = certified(vec![certificate.der().clone()], &key);
            meet_as(
                &tls,
                client(&ca.join("ca.crt"), version, Some(key)),
                "decnet-master",
            )
            .await
            .server
            .map(|accepted| accepted.peer.name)
        };
        assert_eq!(verdict("never-enrolled").await, Ok(name("never-enrolled")));
        for bad in ["decnet-master", "swarmctl", "updater@w1", "unknown"] {
            assert_eq!(verdict(bad).await.unwrap_err().code(), "bad_name", "{bad}");
        }
    }
}

#[tokio::test]
async fn a_later_import_takes_what_is_new_and_revives_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, data) = (decnet_ca(dir.path()), dir.path().join("data"));
    import(&data, &ca, SystemTime::now()).await.unwrap();
    let registry = Registry::open(&data).await.unwrap();
    registry
        .revoke(&name("w1"), SystemTime::now())
        .await
        .unwrap();
    let issuer = crate::support::issuer(&ca.join("ca.crt"), &ca.join("ca.key"));
    for worker in ["w1", "w_2"] {
        let again = leaf_params(worker, &[worker, "again"])
            .signed_by(&leaf_key(), &issuer)
            .unwrap();
        std::fs::write(
            ca.join("workers").join(worker).join("worker.crt"),
            again.pem(),
        )
        .unwrap();
    }
    let done = import(&data, &ca, SystemTime::now()).await.unwrap();
    assert_eq!(done.registered.len(), 1);
    assert_eq!(done.registered[0].name, name("w_2"));
    let revoked = done
        .skipped
        .iter()
        .find(|skipped| skipped.path.ends_with("w1"))
        .unwrap();
    assert!(matches!(revoked.reason, SkipReason::Revoked(_)));
    let workers = registry.workers().await.unwrap();
    let active: Vec<_> = workers
        .iter()
        .filter(|worker| worker.is_active())
        .map(|worker| worker.name.as_str())
        .collect();
    assert_eq!(active, ["w_2"]);
}

#[tokio::test]
async fn an_interrupted_import_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, data) = (decnet_ca(dir.path()), dir.path().join("data"));
    std::fs::create_dir_all(data.join("ca/master")).unwrap();
    std::fs::copy(ca.join("ca.key"), data.join("ca/ca.key")).unwrap();
    std::fs::copy(
        ca.join("master/worker.key"),
        data.join("ca/master/worker.key"),
    )
    .unwrap();
    let done = import(&data, &ca, SystemTime::now()).await.unwrap();
    assert_eq!(done.registered.len(), 2);
    let served = std::fs::read(data.join("ca/master/worker.crt")).unwrap();
    assert_eq!(served, std::fs::read(ca.join("master/worker.crt")).unwrap());
}

#[tokio::test]
async fn an_import_does_not_mix_two_cas() {
    let dir = tempfile::tempdir().unwrap();
    let ca = decnet_ca(dir.path());
    let master = crate::support::Master::init().await;
    let error = import(&master.data(), &ca, SystemTime::now())
        .await
        .unwrap_err();
    assert!(matches!(error, pki::ImportError::OtherCa(_)), "{error}");
    assert!(
        Registry::open(&master.data())
            .await
            .unwrap()
            .workers()
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_directory_without_a_ca_is_no_import() {
    let dir = tempfile::tempdir().unwrap();
    let error = import(&dir.path().join("data"), dir.path(), SystemTime::now())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("ca.crt"), "{error}");
    assert!(!dir.path().join("data").exists());
}
