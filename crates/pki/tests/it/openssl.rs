//! What OpenSSL says of our certificates, and our listener to its client.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::SystemTime;

use pki::{Refusal, ServerTls, Trust};

use crate::support::{LIMIT, Master};

/// Runs openssl; `None`, counted, when there is none.
fn openssl(test: &str, args: &[&str]) -> Option<(bool, String)> {
    let run = Command::new("openssl")
        .args(args)
        .stdin(Stdio::null())
        .output();
    match run {
        Ok(run) => {
            let text = [run.stdout, run.stderr].concat();
            Some((
                run.status.success(),
                String::from_utf8_lossy(&text).into_owned(),
            ))
        }
        Err(_) => {
            service::testing::skip(test, "openssl is not installed (apt-get install openssl)");
            None
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn certificates_pass_the_strict_check() {
    let master = Master::init().await;
    master.enrol("w1").await;
    let (ca, server) = (master.ca("ca.crt"), master.ca("master/worker.crt"));
    let client = master.dir.path().join("w1/worker.crt");
    for (certificate, purpose, good) in [
        (&server, "sslserver", true),
        (&client, "sslclient", true),
        (&server, "sslclient", false),
        (&client, "sslserver", false),
    ] {
        let args = [
            "verify",
            "-x509_strict",
            "-purpose",
            purpose,
            "-CAfile",
            text(&ca),
            text(certificate),
        ];
        let Some((passed, said)) = openssl("certificates_pass_the_strict_check", &args) else {
            return;
        };
        assert_eq!(passed, good, "{purpose}: {said}");
    }
}

#[tokio::test]
async fn certificates_have_the_profile() {
    let master = Master::init().await;
    master.enrol("w1").await;
    let print = |path: &Path| {
        let args = [
            "x509",
            "-in",
            text(path),
            "-noout",
            "-text",
            "-nameopt",
            "RFC2253",
        ];
        openssl("certificates_have_the_profile", &args).map(|(_, said)| said)
    };
    let Some(ca) = print(&master.ca("ca.crt")) else {
        return;
    };
    for expected in [
        "Version: 3",
        "CA:TRUE, pathlen:0",
        "Key Usage: critical",
        "Certificate Sign, CRL Sign",
        "Subject Key Identifier",
        "prime256v1",
        "ecdsa-with-SHA256",
    ] {
        assert!(ca.contains(expected), "{expected} in {ca}");
    }
    let server = print(&master.ca("master/worker.crt")).unwrap();
    let client = print(&master.dir.path().join("w1/worker.crt")).unwrap();
    for leaf in [&server, &client] {
        for expected in [
            "CA:FALSE",
            "Digital Signature\n",
            "Subject Key Identifier",
            "Authority Key Identifier",
        ] {
            assert!(leaf.contains(expected), "{expected} in {leaf}");
        }
        assert!(!leaf.contains("Certificate Sign"));
    }
    assert!(
        server.contains("DNS:logferry-master")
            && server.contains("TLS Web Server Authentication\n")
    );
    assert!(client.contains("DNS:w1") && client.contains("TLS Web Client Authentication\n"));
    assert!(client.contains("CN=w1"), "{client}");
}

#[tokio::test]
async fn serials_are_long_and_do_not_repeat() {
    let master = Master::init().await;
    let authority = pki::Authority::open(&master.data(), SystemTime::now()).unwrap();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..200 {
        let issued = authority
            .issue(&"w1".parse().unwrap(), &[], SystemTime::now())
            .unwrap();
        let serial = issued.peer.serial;
        assert_eq!(serial.len(), 32, "16 octets");
        assert!(
            u8::from_str_radix(&serial[..2], 16).unwrap() < 0x80,
            "positive"
        );
        assert!(seen.insert(serial));
    }
}

/// Lets `openssl s_client` talk to our listener and gives the listener's verdict.
async fn s_client(test: &str, master: &Master, args: &[&str]) -> Option<Result<String, Refusal>> {
    openssl(test, &["version"])?;
    let tls = Arc::new(
        ServerTls::open(&master.data(), Trust::Registry)
            .await
            .unwrap(),
    );
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut client = tokio::process::Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-no_ign_eof",
            "-connect",
            &address,
            "-CAfile",
            text(&master.ca("ca.crt")),
        ])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    let verdict = tls
        .accept(tcp, LIMIT)
        .await
        .map(|accepted| accepted.peer.name.to_string());
    client.kill().await.unwrap();
    Some(verdict)
}

#[tokio::test]
async fn an_openssl_client_is_served_over_both_versions() {
    let master = Master::init().await;
    master.enrol("w1").await;
    let dir = master.dir.path().join("w1");
    let (certificate, key) = (dir.join("worker.crt"), dir.join("worker.key"));
    let identity = ["-cert", text(&certificate), "-key", text(&key)];
    let test = "an_openssl_client_is_served_over_both_versions";
    for extra in [
        &["-tls1_3"][..],
        &["-tls1_2"],
        &["-tls1_3", "-alpn", "h2"],
        &["-tls1_2", "-alpn", "x,y"],
    ] {
        let Some(verdict) = s_client(test, &master, &[&identity, extra].concat()).await else {
            return;
        };
        assert_eq!(verdict, Ok("w1".to_owned()), "{extra:?}");
    }
}

#[tokio::test]
async fn old_versions_and_suites_are_refused() {
    let master = Master::init().await;
    let test = "old_versions_and_suites_are_refused";
    for extra in [
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"][..],
        &["-tls1", "-cipher", "ALL:@SECLEVEL=0"],
        // RFC 9662 §4: the suite of old that we do not offer.
        &["-tls1_2", "-cipher", "AES128-SHA"],
    ] {
        let Some(verdict) = s_client(test, &master, extra).await else {
            return;
        };
        assert!(
            matches!(verdict, Err(Refusal::Incompatible(_))),
            "{extra:?}: {verdict:?}"
        );
    }
}
