//! Nothing gets around the guard: neither names, nor redirects, nor proxies of the environment.

use webhook::{AttemptError, Outcome, Refusal, SystemResolver};

use crate::receiver::{Answer, LIMITS, Names, Receiver, client, loopback, policy, post};

#[track_caller]
fn assert_refused(report: &webhook::Report) {
    assert_eq!(report.outcome, Outcome::Dead);
    let error = report.error.as_ref();
    let refused = matches!(
        error,
        Some(AttemptError::Refused(
            Refusal::Address { .. } | Refusal::Name(_)
        ))
    );
    assert!(refused, "{error:?}");
}

#[tokio::test]
async fn literal_addresses_are_checked_at_the_attempt() {
    let receiver = Receiver::plain(Answer::status(200)).await;
    let client = client(Names::default(), policy(&[]));
    for host in [
        "127.0.0.1",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "0",
        "localhost",
    ] {
        let report = post(&client, &receiver.url(host, "/")).await;
        assert_refused(&report);
    }
    assert!(receiver.requests().is_empty());
}

#[tokio::test]
async fn a_name_that_changes_its_address_is_refused_when_it_does() {
    let allowed = Receiver::start("127.0.0.2", Answer::status(200), None).await;
    let names = Names::one("rebind.example", &[&["127.0.0.2"], &["127.0.0.1"]]);
    let client = client(names, policy(&["127.0.0.2/32"]));
    let url = allowed.url("rebind.example", "/");
    assert_eq!(post(&client, &url).await.outcome, Outcome::Delivered);
    assert_refused(&post(&client, &url).await);
    assert_eq!(allowed.requests().len(), 1);
}

#[tokio::test]
async fn one_bad_address_refuses_the_name() {
    let allowed = Receiver::start("127.0.0.2", Answer::status(200), None).await;
    for addrs in [["127.0.0.2", "::1"], ["::ffff:127.0.0.1", "127.0.0.2"]] {
        let names = Names::one("both.example", &[&addrs]);
        let client = client(names, policy(&["127.0.0.2/32"]));
        assert_refused(&post(&client, &allowed.url("both.example", "/")).await);
    }
    assert!(allowed.requests().is_empty());
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let other = Receiver::plain(Answer::status(200)).await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: {}\r\n", other.url("127.0.0.1", "/"));
        let receiver = Receiver::plain(Answer::with(status, &location)).await;
        let report = post(&loopback(), &receiver.url("127.0.0.1", "/")).await;
        assert_eq!(report.outcome, Outcome::Rejected);
        assert_eq!(report.status, Some(status));
    }
    assert!(other.requests().is_empty());
}

/// Set for the child that `proxies_of_the_environment_are_not_asked` starts.
const RECEIVER: &str = "LOGFERRY_TEST_RECEIVER";

#[tokio::test]
async fn proxies_of_the_environment_are_not_asked() {
    if let Ok(url) = std::env::var(RECEIVER) {
        assert_eq!(post(&loopback(), &url).await.outcome, Outcome::Delivered);
        return;
    }
    let proxy = Receiver::plain(Answer::status(200)).await;
    let receiver = Receiver::plain(Answer::status(200)).await;
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child
        .args([
            "--exact",
            "guarded::proxies_of_the_environment_are_not_asked",
        ])
        .env(RECEIVER, receiver.url("127.0.0.1", "/"))
        .stdout(std::process::Stdio::null());
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        child.env(name, proxy.url("127.0.0.1", ""));
        child.env(name.to_uppercase(), proxy.url("127.0.0.1", ""));
    }
    assert!(child.status().await.unwrap().success());
    assert_eq!(receiver.requests().len(), 1);
    assert!(proxy.requests().is_empty());
}

#[tokio::test]
async fn the_system_resolver_is_guarded_as_well() {
    let roots = webhook::Roots::load(None).unwrap();
    let client = webhook::Client::new(SystemResolver::default(), &roots, policy(&[]), LIMITS, "x");
    // In /etc/hosts, if anything is; a denied name anyway.
    assert_refused(&post(&client, "http://localhost/").await);
    // RFC 6761: never resolves.
    let report = post(&client, "http://nobody.invalid/").await;
    assert_eq!(report.outcome, Outcome::Retry { after: None });
}
