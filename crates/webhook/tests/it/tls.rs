//! Certificates must be the name's in the URL, by an authority that the operator trusts.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use tempfile::NamedTempFile;
use tokio_rustls::TlsAcceptor;
use webhook::{AttemptError, Client, Outcome, Roots, RootsError};

use crate::receiver::{Answer, LIMITS, Names, Receiver, policy, post};

/// A receiver with a certificate for `name`, and the file of the authority that signed it.
async fn receiver(name: &str) -> (Receiver, NamedTempFile) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new([name.to_owned()])
        .unwrap()
        .signed_by(&key, &ca)
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            key.serialize_der().try_into().unwrap(),
        )
        .unwrap();
    let tls = TlsAcceptor::from(Arc::new(config));
    let receiver = Receiver::start("127.0.0.1", Answer::status(200), Some(tls)).await;
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), ca.pem()).unwrap();
    (receiver, file)
}

fn client(name: &str, roots: &Roots) -> Client<Names> {
    let names = Names::one(name, &[&["127.0.0.1"]]);
    Client::new(names, roots, policy(&["127.0.0.1/32"]), LIMITS, "x")
}

fn url(receiver: &Receiver, host: &str) -> String {
    receiver.url(host, "/t0ken").replace("http:", "https:")
}

#[tokio::test]
async fn the_right_name_of_a_trusted_authority_is_served() {
    let (receiver, ca) = receiver("chat.example").await;
    let roots = Roots::load(Some(ca.path())).unwrap();
    assert!(!roots.is_empty());
    let report = post(
        &client("chat.example", &roots),
        &url(&receiver, "chat.example"),
    )
    .await;
    assert_eq!(report.outcome, Outcome::Delivered, "{:?}", report.error);
}

#[tokio::test]
async fn a_wrong_name_is_refused() {
    let (receiver, ca) = receiver("chat.example").await;
    let roots = Roots::load(Some(ca.path())).unwrap();
    for host in ["other.example", "127.0.0.1"] {
        let report = post(&client("other.example", &roots), &url(&receiver, host)).await;
        assert_eq!(report.outcome, Outcome::Retry { after: None });
        let error = report.error.unwrap();
        assert!(matches!(error, AttemptError::Tls { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("t0ken"), "{error:?}");
    }
    assert!(receiver.requests().is_empty());
}

#[tokio::test]
async fn an_unknown_authority_is_refused() {
    let (receiver, _) = receiver("chat.example").await;
    let roots = Roots::load(None).unwrap();
    let report = post(
        &client("chat.example", &roots),
        &url(&receiver, "chat.example"),
    )
    .await;
    assert!(matches!(report.error, Some(AttemptError::Tls { .. })));
    assert!(receiver.requests().is_empty());
}

#[test]
fn a_file_of_authorities_must_hold_some() {
    let file = NamedTempFile::new().unwrap();
    let load = || Roots::load(Some(file.path())).unwrap_err();
    assert!(matches!(load(), RootsError::Empty(_)));
    let pem =
        |der: &str| format!("-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n");
    std::fs::write(file.path(), pem("AAAA")).unwrap();
    assert!(matches!(load(), RootsError::Certificate { .. }));
    std::fs::write(file.path(), pem("*")).unwrap();
    assert!(matches!(load(), RootsError::Read { .. }));
    let missing = Roots::load(Some("/nonexistent/ca.pem".as_ref())).unwrap_err();
    assert!(matches!(missing, RootsError::Read { .. }));
}
