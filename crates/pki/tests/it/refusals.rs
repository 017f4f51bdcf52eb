//! Who is turned away, why, and what it is told.

use pki::{Refusal, Registry, ServerTls, Trust};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::sign::CertifiedKey;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    BOTH, LIMIT, Master, certified, client, forwarder, meet, name, sign, valid, worker_params,
};

/// Shows `key` to a listener that trusts the CA, over both versions, and gives the code of the refusal and
/// what the client was told.
async fn verdict(master: &Master, make: impl Fn() -> Option<CertifiedKey>) -> (String, String) {
    let tls = ServerTls::open(&master.data(), Trust::Ca).await.unwrap();
    let mut verdicts = Vec::new();
    for version in BOTH {
        let meeting = meet(&tls, client(&master.ca("ca.crt"), version, make())).await;
        let Err(refusal) = meeting.server else {
            return ("served".into(), String::new());
        };
        let told = pki::ConnectProblem::of(&meeting.client.expect_err("the client is told"));
        verdicts.push((refusal.code().to_owned(), told.to_string()));
    }
    assert_eq!(
        verdicts[0].0, verdicts[1].0,
        "TLS 1.3 and 1.2 agree on the reason"
    );
    verdicts.swap_remove(0)
}

async fn check(spoil: impl Fn(&mut CertificateParams), code: &str, alert: &str) {
    let master = Master::init().await;
    let make = || {
        let mut params = worker_params("w1");
        spoil(&mut params);
        Some(sign(&params, &master.issuer()))
    };
    let (found, told) = verdict(&master, make).await;
    assert_eq!(found, code);
    assert!(told.ends_with(alert), "{told} instead of {alert}");
}

#[tokio::test]
async fn the_good_certificate_is_served() {
    check(|_| {}, "served", "").await;
}

#[tokio::test]
async fn no_certificate() {
    let master = Master::init().await;
    let (code, told) = verdict(&master, || None).await;
    assert_eq!(code, "no_certificate");
    assert!(told.ends_with("certificate_required"), "{told}");
}

#[tokio::test]
async fn another_ca() {
    let (master, other) = (Master::init().await, Master::init().await);
    let (code, told) = verdict(&master, || {
        Some(sign(&worker_params("w1"), &other.issuer()))
    })
    .await;
    assert_eq!(code, "other_ca");
    assert!(told.ends_with("unknown_ca"), "{told}");
}

#[tokio::test]
async fn another_ca_of_the_same_name() {
    let master = Master::init().await;
    let pem = std::fs::read_to_string(master.ca("ca.crt")).unwrap();
    // The name is ours, the key is not.
    let forger = Issuer::from_ca_cert_pem(&pem, KeyPair::generate().unwrap()).unwrap();
    let (code, _) = verdict(&master, || Some(sign(&worker_params("w1"), &forger))).await;
    assert_eq!(code, "other_ca");
}

#[tokio::test]
async fn self_signed() {
    let master = Master::init().await;
    let make = || {
        let key = KeyPair::generate().unwrap();
        let certificate = worker_params("w1").self_signed(&key).unwrap();
        Some(certified(vec![certificate.der().clone()], &key))
    };
    assert_eq!(verdict(&master, make).await.0, "other_ca");
}

#[tokio::test]
async fn signed_by_another_worker() {
    let master = Master::init().await;
    let make = || {
        let key = KeyPair::generate().unwrap();
        let params = worker_params("w1");
        let parent = params.signed_by(&key, &master.issuer()).unwrap();
        let parent_issuer = Issuer::from_params(&params, &key);
        let child_key = KeyPair::generate().unwrap();
        let child = worker_params("w2")
            .signed_by(&child_key, &parent_issuer)
            .unwrap();
        Some(certified(
            vec![child.der().clone(), parent.der().clone()],
            &child_key,
        ))
    };
    let (code, _) = verdict(&master, make).await;
    assert_ne!(code, "served");
}

#[tokio::test]
async fn an_intermediate_below_our_ca() {
    // The CA has pathLenConstraint 0: it signs no CAs.
    let master = Master::init().await;
    let make = || {
        let key = KeyPair::generate().unwrap();
        let mut params = worker_params("sub-ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let parent = params.signed_by(&key, &master.issuer()).unwrap();
        let child_key = KeyPair::generate().unwrap();
        let child = worker_params("w2")
            .signed_by(&child_key, &Issuer::from_params(&params, &key))
            .unwrap();
        Some(certified(
            vec![child.der().clone(), parent.der().clone()],
            &child_key,
        ))
    };
    assert_eq!(verdict(&master, make).await.0, "long_chain");
}

#[tokio::test]
async fn expired() {
    check(
        |params| valid(params, -1000, -10),
        "expired",
        "certificate_expired",
    )
    .await;
}

#[tokio::test]
async fn not_valid_yet() {
    check(
        |params| valid(params, 1000, 2000),
        "not_yet_valid",
        "certificate_expired",
    )
    .await;
}

#[tokio::test]
async fn extended_key_usage_of_a_server() {
    let spoil = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    check(spoil, "wrong_purpose", "unsupported_certificate").await;
}

#[tokio::test]
async fn no_extended_key_usage_is_any_usage() {
    check(|params| params.extended_key_usages.clear(), "served", "").await;
}

#[tokio::test]
async fn key_usage_that_does_not_sign() {
    let spoil =
        |params: &mut CertificateParams| params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    check(spoil, "wrong_purpose", "unsupported_certificate").await;
}

#[tokio::test]
async fn no_key_usage_is_any_usage() {
    check(|params| params.key_usages.clear(), "served", "").await;
}

#[tokio::test]
async fn a_critical_extension_that_nobody_knows() {
    let spoil = |params: &mut CertificateParams| {
        let mut unknown =
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 32473, 1], vec![5, 0]);
        unknown.set_criticality(true);
        params.custom_extensions = vec![unknown];
    };
    check(spoil, "bad_certificate", "certificate_unknown").await;
}

#[tokio::test]
async fn names_that_are_no_workers() {
    for bad in [
        "decnet-master",
        "logferry-master",
        "swarmctl",
        "unknown",
        "updater@w1",
        "",
        "../w1",
        "w 1",
        "w1\n",
    ] {
        let rename = |params: &mut CertificateParams| {
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, bad);
        };
        check(rename, "bad_name", "access_denied").await;
    }
}

#[tokio::test]
async fn no_common_name() {
    let rename = |params: &mut CertificateParams| {
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "w1");
    };
    check(rename, "bad_name", "access_denied").await;
}

#[tokio::test]
async fn a_certificate_without_its_key() {
    let master = Master::init().await;
    let make = || {
        let certificate = worker_params("w1")
            .signed_by(&KeyPair::generate().unwrap(), &master.issuer())
            .unwrap();
        Some(certified(
            vec![certificate.der().clone()],
            &KeyPair::generate().unwrap(),
        ))
    };
    assert_eq!(verdict(&master, make).await.0, "no_proof");
}

#[tokio::test]
async fn of_our_ca_but_never_enrolled() {
    let master = Master::init().await;
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    for version in BOTH {
        let key = sign(&worker_params("w1"), &master.issuer());
        let fingerprint = pki::Fingerprint::of(&key.cert[0]);
        let (refusal, told) = meet(&tls, client(&master.ca("ca.crt"), version, Some(key)))
            .await
            .refused();
        assert_eq!(
            refusal,
            Refusal::NotEnrolled {
                name: name("w1"),
                fingerprint
            }
        );
        assert!(told.ends_with("access_denied"), "{told}");
    }
}

#[tokio::test]
async fn another_certificate_of_an_enrolled_name() {
    let master = Master::init().await;
    master.enrol("w1").await;
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    let key = sign(&worker_params("w1"), &master.issuer());
    let meeting = meet(&tls, client(&master.ca("ca.crt"), BOTH[0], Some(key))).await;
    assert_eq!(meeting.refused().0.code(), "not_enrolled");
}

#[tokio::test]
async fn revoked_under_either_trust() {
    let master = Master::init().await;
    let identity = master.enrol("w1").await;
    for trust in [Trust::Registry, Trust::Ca] {
        let tls = ServerTls::open(&master.data(), trust).await.unwrap();
        let registry = Registry::open(&master.data()).await.unwrap();
        registry
            .revoke(&name("w1"), SystemTime::now())
            .await
            .unwrap();
        // At once, without waiting for a watcher.
        let (refusal, told) = meet(&tls, forwarder(&identity, &[])).await.refused();
        assert_eq!(refusal, Refusal::Revoked(Some(name("w1"))));
        assert!(told.ends_with("certificate_revoked"), "{told}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_know_our_ca() {
    let (master, other) = (Master::init().await, Master::init().await);
    let identity = other.enrol("w1").await;
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    let meeting = meet(&tls, forwarder(&identity, &[])).await;
    let refusal = meeting.server.unwrap_err();
    assert_eq!(refusal, Refusal::PeerRefused("unknown_ca".into()));
    let problem = pki::ConnectProblem::of(&meeting.client.unwrap_err());
    assert_eq!(problem, pki::ConnectProblem::OtherCa);
}

/// Says `words` to a listener without any TLS.
async fn say(words: &[u8]) -> Refusal {
    let master = Master::init().await;
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    let (mut near, far) = tokio::io::duplex(1 << 16);
    near.write_all(words).await.unwrap();
    near.shutdown().await.unwrap();
    tls.accept(far, LIMIT).await.unwrap_err()
}

#[tokio::test]
async fn plain_text() {
    let spoken: [&[u8]; 5] = [
        b"<134>1 2026-01-01T00:00:00Z h a - - - plain syslog\n",
        b"47 <134>1 2026-01-01T00:00:00Z h a - - - counted",
        b"GET / HTTP/1.1\r\nHost: master\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        &[0; 64],
    ];
    for words in spoken {
        assert_eq!(say(words).await, Refusal::NotTls, "{words:?}");
    }
}

#[tokio::test]
async fn a_peer_that_says_nothing() {
    assert_eq!(say(b"").await, Refusal::Closed);
    let master = Master::init().await;
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    let (near, far) = tokio::io::duplex(1 << 16);
    let limit = Duration::from_millis(50);
    assert_eq!(
        tls.accept(far, limit).await.unwrap_err(),
        Refusal::Timeout(limit)
    );
    drop(near);
}

#[tokio::test]
async fn noise_never_panics() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for length in 0..200 {
        let mut noise = vec![0x16, 3, 1];
        for _ in 0..length {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            noise.push(seed as u8);
        }
        let refusal = say_quickly(&noise).await;
        assert!(!refusal.to_string().is_empty());
    }
}

async fn say_quickly(words: &[u8]) -> Refusal {
    use tokio::sync::OnceCell;
    static TLS: OnceCell<(Master, ServerTls)> = OnceCell::const_new();
    let open = || async {
        let master = Master::init().await;
        let tls = ServerTls::open(&master.data(), Trust::Registry)
            .await
            .unwrap();
        (master, tls)
    };
    let (_, tls) = TLS.get_or_init(open).await;
    let (mut near, far) = tokio::io::duplex(1 << 16);
    near.write_all(words).await.unwrap();
    near.shutdown().await.unwrap();
    let refusal = tls.accept(far, LIMIT).await.unwrap_err();
    let _ = near.read(&mut [0; 64]).await;
    refusal
}

#[tokio::test]
async fn a_refused_peer_that_is_already_sending_is_told_why() {
    // Over a real socket, where unread bytes at the close would turn the alert into a reset.
    let master = Master::init().await;
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    // TLS 1.2 ends its handshake after the verdict: there nothing can be on its way.
    let key = sign(&worker_params("stranger"), &master.issuer());
    let config = client(&master.ca("ca.crt"), &rustls::version::TLS13, Some(key));
    let server = async { tls.accept(listener.accept().await.unwrap().0, LIMIT).await };
    let client = async {
        let tcp = tokio::net::TcpStream::connect(address).await?;
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let name = pki::server_name("logferry-master");
        let mut stream = connector.connect(name, tcp).await?;
        stream.write_all(&[b'x'; 100_000]).await?;
        let told = stream.read(&mut [0; 1]).await.unwrap_err();
        // The end comes in order, not by a reset.
        assert_eq!(stream.get_mut().0.read(&mut [0; 64]).await?, 0);
        Ok::<_, std::io::Error>(pki::ConnectProblem::of(&told))
    };
    let (refused, told) = tokio::join!(server, client);
    assert_eq!(refused.unwrap_err().code(), "not_enrolled");
    let expected = pki::ConnectProblem::Refused("access_denied".into());
    assert_eq!(told.unwrap(), expected);
}
