//! What our forwarder takes for its master.

use std::sync::Arc;

use pki::{
    ConnectProblem, Identity, MasterCheck, MasterNameError, ServerTls, Trust, client_config,
};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};

use crate::support::{Master, forwarder, meet, valid, worker_params};

/// Puts a certificate of another shape in the master's place.
fn usurp(master: &Master, params: &CertificateParams) {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &master.issuer()).unwrap();
    std::fs::write(master.ca("master/worker.crt"), certificate.pem()).unwrap();
    std::fs::write(master.ca("master/worker.key"), key.serialize_pem()).unwrap();
}

fn server_params(sans: &[&str]) -> CertificateParams {
    let mut params = worker_params("x");
    let sans: Vec<String> = sans.iter().map(|san| (*san).to_owned()).collect();
    params.subject_alt_names = CertificateParams::new(sans).unwrap().subject_alt_names;
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params
}

async fn problem(sans: &[&str], check: MasterCheck) -> Option<ConnectProblem> {
    let master = Master::init().await;
    let identity = master.enrol("w1").await;
    usurp(&master, &server_params(sans));
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    let meeting = meet(&tls, client_config(&identity, check, &[]).unwrap()).await;
    meeting.client.err().map(|error| ConnectProblem::of(&error))
}

fn names(names: &[&str]) -> MasterCheck {
    MasterCheck::Names(names.iter().map(|name| (*name).to_owned()).collect())
}

#[tokio::test]
async fn one_of_the_names_is_enough() {
    let wanted = names(&["logferry-master", "decnet-master", "10.1.2.3"]);
    for san in [
        "logferry-master",
        "decnet-master",
        "LOGFERRY-Master",
        "10.1.2.3",
    ] {
        assert_eq!(
            problem(&["other.example", san], wanted.clone()).await,
            None,
            "{san}"
        );
    }
}

#[tokio::test]
async fn another_worker_cannot_pose_as_master() {
    let presented = vec!["w2".to_owned(), "master.example".to_owned()];
    match problem(
        &["w2", "master.example"],
        names(&["logferry-master", "decnet-master"]),
    )
    .await
    {
        Some(ConnectProblem::NotMaster {
            presented: found,
            wanted,
        }) => {
            assert_eq!(found, presented);
            assert_eq!(wanted, ["logferry-master", "decnet-master"]);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_certificate_without_names_passes_by_chain_only() {
    assert!(matches!(
        problem(&[], names(&["logferry-master"])).await,
        Some(ConnectProblem::NotMaster { .. })
    ));
    assert_eq!(problem(&[], MasterCheck::Chain).await, None);
    assert_eq!(problem(&["w2"], MasterCheck::Chain).await, None);
}

#[tokio::test]
async fn our_own_workers_certificates_are_no_servers() {
    // Even by chain alone: they carry clientAuth only.
    let master = Master::init().await;
    let identity = master.enrol("w1").await;
    usurp(&master, &worker_params("w2"));
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    for check in [MasterCheck::Chain, names(&["w.example"])] {
        let meeting = meet(&tls, client_config(&identity, check, &[]).unwrap()).await;
        assert_eq!(
            ConnectProblem::of(&meeting.client.unwrap_err()),
            ConnectProblem::WrongPurpose
        );
    }
}

#[tokio::test]
async fn a_wrong_name_hides_no_other_fault() {
    let master = Master::init().await;
    let identity = master.enrol("w1").await;
    let mut expired = server_params(&["logferry-master"]);
    valid(&mut expired, -1000, 2);
    usurp(&master, &expired);
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    // Served while it lasts; the listener keeps it when it has run out.
    let chain = client_config(&identity, MasterCheck::Chain, &[]).unwrap();
    let named = forwarder(&identity, &[]);
    crate::support::until("the certificate runs out", || async {
        let meeting = meet(&tls, Arc::clone(&chain)).await;
        meeting
            .client
            .is_err_and(|error| matches!(ConnectProblem::of(&error), ConnectProblem::Expired(_)))
    })
    .await;
    let meeting = meet(&tls, named).await;
    assert!(matches!(
        ConnectProblem::of(&meeting.client.unwrap_err()),
        ConnectProblem::Expired(_)
    ));
}

#[tokio::test]
async fn key_usage_counts_on_this_side_too() {
    let master = Master::init().await;
    let identity = master.enrol("w1").await;
    let mut params = server_params(&["logferry-master"]);
    params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    usurp(&master, &params);
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    let meeting = meet(&tls, forwarder(&identity, &[])).await;
    assert_eq!(
        ConnectProblem::of(&meeting.client.unwrap_err()),
        ConnectProblem::WrongPurpose
    );
}

#[tokio::test]
async fn names_that_cannot_be_checked_are_refused() {
    let master = Master::init().await;
    master.enrol("w1").await;
    let identity = Identity::load(&master.dir.path().join("w1")).unwrap();
    let refused = |check| client_config(&identity, check, &[]).unwrap_err();
    assert_eq!(refused(names(&[])), MasterNameError::Empty);
    assert_eq!(
        refused(names(&["ok", "not a name"])),
        MasterNameError::Syntax("not a name".into())
    );
}

#[tokio::test]
async fn a_server_that_speaks_plain_text_is_called_so() {
    use tokio::io::AsyncWriteExt;
    let master = Master::init().await;
    let identity = master.enrol("w1").await;
    let (near, mut far) = tokio::io::duplex(1 << 16);
    far.write_all(b"220 mail.example ESMTP\r\n").await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(forwarder(&identity, &[]));
    let error = connector
        .connect(pki::server_name("m"), near)
        .await
        .unwrap_err();
    assert_eq!(ConnectProblem::of(&error), ConnectProblem::NotTls);
}

#[test]
fn any_host_can_be_announced() {
    assert_eq!(pki::server_name("10.0.0.1").to_str(), "10.0.0.1");
    assert_eq!(pki::server_name("::1").to_str(), "::1");
    assert_eq!(pki::server_name("m.example").to_str(), "m.example");
    assert_eq!(pki::server_name("not a host").to_str(), "logferry-master");
}
