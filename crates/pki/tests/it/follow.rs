//! What a running listener notices: revocations, new certificates, a CRL, and broken files.

use std::path::Path;
use std::time::SystemTime;

use pki::{Refusal, Registry, ServerTls, Trust};
use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};

use crate::support::{Master, forwarder, meet, name, until, valid, worker_params};

/// Runs the listener's follower beside `work`.
async fn beside<T>(tls: &ServerTls, work: impl Future<Output = T>) -> T {
    tokio::select! {
        done = work => done,
        _ = tls.follow() => unreachable!("it follows for ever"),
    }
}

#[tokio::test]
async fn a_revocation_elsewhere_reaches_a_live_session() {
    let master = Master::init().await;
    let identity = master.enrol("w1").await;
    let other = master.enrol("w2").await;
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    let peer = meet(&tls, forwarder(&identity, &[]))
        .await
        .server
        .unwrap()
        .peer;
    let untouched = meet(&tls, forwarder(&other, &[]))
        .await
        .server
        .unwrap()
        .peer;
    let mut generation = tls.generation();
    generation.mark_unchanged();
    beside(&tls, async {
        let elsewhere = Registry::open(&master.data()).await.unwrap();
        elsewhere
            .revoke(&name("w1"), SystemTime::now())
            .await
            .unwrap();
        generation.changed().await.unwrap();
        assert_eq!(tls.recheck(&peer), Err(Refusal::Revoked(Some(name("w1")))));
        assert_eq!(tls.recheck(&untouched), Ok(()));
    })
    .await;
}

#[tokio::test]
async fn an_enrolment_counts_for_the_next_handshake() {
    let master = Master::init().await;
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    let identity = master.enrol("w1").await;
    // Nobody follows: the handshake itself looks.
    assert!(meet(&tls, forwarder(&identity, &[])).await.server.is_ok());
}

#[tokio::test]
async fn a_registry_put_back_from_a_backup_is_noticed() {
    let master = Master::init().await;
    let registry = Registry::path(&master.data());
    let backup = std::fs::read(&registry).unwrap();
    let identity = master.enrol("w1").await;
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    let peer = meet(&tls, forwarder(&identity, &[]))
        .await
        .server
        .unwrap()
        .peer;
    let restored = master.dir.path().join("restored");
    std::fs::write(&restored, backup).unwrap();
    std::fs::rename(&restored, &registry).unwrap();
    tls.refresh().await;
    assert!(matches!(
        tls.recheck(&peer),
        Err(Refusal::NotEnrolled { .. })
    ));
}

#[tokio::test]
async fn a_registry_that_cannot_be_read_keeps_the_last_good_state() {
    let master = Master::init().await;
    let identity = master.enrol("w1").await;
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    let registry = Registry::path(&master.data());
    let kept = master.dir.path().join("kept");
    std::fs::rename(&registry, &kept).unwrap();
    assert!(meet(&tls, forwarder(&identity, &[])).await.server.is_ok());
    std::fs::write(
        &registry,
        "this is no database, it only looks like one, for a hundred octets and some more of it....",
    )
    .unwrap();
    assert!(meet(&tls, forwarder(&identity, &[])).await.server.is_ok());
    // Put back, it counts again.
    std::fs::rename(&kept, &registry).unwrap();
    Registry::open(&master.data())
        .await
        .unwrap()
        .revoke(&name("w1"), SystemTime::now())
        .await
        .unwrap();
    assert_eq!(
        meet(&tls, forwarder(&identity, &[]))
            .await
            .refused()
            .0
            .code(),
        "revoked"
    );
}

/// Waits until the listener has looked at the files and found them unusable.
async fn failed_reload(tls: &ServerTls, before: u64) {
    until("the files are read and found bad", || async {
        tls.refresh().await;
        tls.failed_reloads() > before
    })
    .await;
}

/// A new master's certificate, valid for `seconds`.
fn renew(master: &Master, seconds: i64) -> (String, String, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let mut params = worker_params("logferry-master");
    params.subject_alt_names = vec![rcgen::SanType::DnsName(
        "logferry-master".try_into().unwrap(),
    )];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    valid(&mut params, -100, seconds);
    let certificate = params.signed_by(&key, &master.issuer()).unwrap();
    (
        certificate.pem(),
        key.serialize_pem(),
        certificate.der().to_vec(),
    )
}

fn replace(path: &Path, content: &str) {
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, content).unwrap();
    std::fs::rename(temporary, path).unwrap();
}

#[tokio::test]
async fn a_new_master_certificate_is_served_without_a_restart() {
    let master = Master::init().await;
    let identity = master.enrol("w1").await;
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    let served = || async {
        let client = meet(&tls, forwarder(&identity, &[])).await.client.unwrap();
        client.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let first = served().await;
    let (certificate, key, der) = renew(&master, 10_000);
    // Certificate first: for a moment the key does not fit, and the old pair is served.
    replace(&master.ca("master/worker.crt"), &certificate);
    failed_reload(&tls, 0).await;
    assert_eq!(served().await, first);
    replace(&master.ca("master/worker.key"), &key);
    until("the new certificate is served", || async {
        served().await == der
    })
    .await;
}

#[tokio::test]
async fn broken_files_keep_the_last_good_ones() {
    let master = Master::init().await;
    let identity = master.enrol("w1").await;
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    let mut generation = *tls.generation().borrow();
    for (file, content) in [
        ("ca.crt", "no pem"),
        ("master/worker.key", ""),
        ("crl.pem", "no crl"),
    ] {
        let path = master.ca(file);
        let good = std::fs::read_to_string(&path).ok();
        replace(&path, content);
        assert!(
            ServerTls::open(&master.data(), Trust::Registry)
                .await
                .is_err(),
            "{file} is broken"
        );
        let before = tls.failed_reloads();
        failed_reload(&tls, before).await;
        assert!(
            meet(&tls, forwarder(&identity, &[])).await.server.is_ok(),
            "{file}"
        );
        assert_eq!(*tls.generation().borrow(), generation, "{file}");
        match good {
            Some(good) => replace(&path, &good),
            None => std::fs::remove_file(&path).unwrap(),
        }
        until("the good file is taken again", || async {
            tls.refresh().await;
            *tls.generation().borrow() > generation
        })
        .await;
        generation = *tls.generation().borrow();
    }
}

fn crl(master: &Master, serials: &[&str], until: i64) -> String {
    let mut dates = worker_params("dates");
    valid(&mut dates, -100, until);
    let revoked = serials.iter().map(|serial| {
        let octets = (0..serial.len() / 2)
            .map(|at| u8::from_str_radix(&serial[2 * at..2 * at + 2], 16).unwrap());
        RevokedCertParams {
            serial_number: SerialNumber::from(octets.collect::<Vec<u8>>()),
            revocation_time: dates.not_before,
            reason_code: None,
            invalidity_date: None,
        }
    });
    let params = CertificateRevocationListParams {
        this_update: dates.not_before,
        next_update: dates.not_after,
        crl_number: SerialNumber::from(1u64),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&master.issuer()).unwrap().pem().unwrap()
}

#[tokio::test]
async fn a_crl_counts_for_new_and_for_live_sessions() {
    let master = Master::init().await;
    let identity = master.enrol("w1").await;
    let other = master.enrol("w2").await;
    let tls = ServerTls::open(&master.data(), Trust::Ca).await.unwrap();
    let peer = meet(&tls, forwarder(&identity, &[]))
        .await
        .server
        .unwrap()
        .peer;
    let mut generation = tls.generation();
    generation.mark_unchanged();
    beside(&tls, async {
        replace(
            &master.ca("crl.pem"),
            &crl(&master, &[&peer.serial], 10_000),
        );
        generation.changed().await.unwrap();
    })
    .await;
    assert_eq!(tls.recheck(&peer), Err(Refusal::Revoked(Some(name("w1")))));
    let (refusal, told) = meet(&tls, forwarder(&identity, &[])).await.refused();
    assert_eq!(refusal.code(), "revoked");
    assert!(told.ends_with("certificate_revoked"), "{told}");
    assert!(meet(&tls, forwarder(&other, &[])).await.server.is_ok());
    assert!(
        tls.expiries()
            .iter()
            .any(|expiry| expiry.path.ends_with("crl.pem"))
    );
}

#[tokio::test]
async fn a_crl_that_proves_nothing_is_an_error_at_start() {
    let (master, other) = (Master::init().await, Master::init().await);
    for (content, expected) in [
        (crl(&other, &[], 10_000), "not signed by this CA"),
        (crl(&master, &[], -10), "expired"),
        (
            "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n".to_owned(),
            "malformed",
        ),
    ] {
        replace(&master.ca("crl.pem"), &content);
        let error = ServerTls::open(&master.data(), Trust::Registry)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("crl.pem") && error.contains(expected),
            "{error}"
        );
    }
    replace(&master.ca("crl.pem"), &crl(&master, &[], 10_000));
    let identity = master.enrol("w1").await;
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    assert!(
        meet(&tls, forwarder(&identity, &[])).await.server.is_ok(),
        "an empty CRL revokes nobody"
    );
}

#[tokio::test]
async fn a_crl_that_runs_out_later_closes_the_door() {
    let master = Master::init().await;
    let identity = master.enrol("w1").await;
    replace(&master.ca("crl.pem"), &crl(&master, &[], 2));
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    until("the CRL runs out", || async {
        match meet(&tls, forwarder(&identity, &[])).await.server {
            Ok(_) => false,
            Err(refusal) => {
                assert_eq!(refusal, Refusal::NoRevocationStatus);
                true
            }
        }
    })
    .await;
}
