//! What lies on the disk after each command, and after a crash in the middle of one.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pki::{
    Authority, AuthorityError, EnrolError, Enrolment, Identity, IdentityProblem, InitOptions,
    Registry, RegistryError, Revocation, ServerTls, Trust,
};

use crate::support::{DAY, Master, forwarder, meet, name};

/// Every file below `dir` with its bytes; every mode is checked on the way.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
        if path.is_dir() {
            assert_eq!(mode, 0o700, "{}", path.display());
            found.extend(snapshot(&path));
        } else {
            assert_eq!(mode, 0o600, "{}", path.display());
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

#[tokio::test]
async fn a_second_init_changes_nothing() {
    let master = Master::init().await;
    master.enrol("w1").await;
    let before = snapshot(master.dir.path());
    let options = InitOptions {
        name: Some("other".into()),
        names: vec!["m.example".parse().unwrap()],
    };
    let again = Authority::init(&master.data(), &options, SystemTime::now())
        .await
        .unwrap();
    assert!(again.made.is_empty(), "{:?}", again.made);
    assert_eq!(
        again.missing_names.len(),
        2,
        "other and m.example are not in the certificate"
    );
    assert_eq!(snapshot(master.dir.path()), before);
    assert_eq!(again.archive_id.len(), 32);
    assert_eq!(
        std::fs::read_to_string(master.data().join("archive-id")).unwrap(),
        again.archive_id + "\n"
    );
}

#[tokio::test]
async fn an_interrupted_init_is_completed() {
    let whole = Master::init().await;
    let fresh = tempfile::tempdir().unwrap();
    let order = Authority::init(
        &fresh.path().join("data"),
        &InitOptions::default(),
        SystemTime::now(),
    )
    .await
    .unwrap()
    .made;
    assert_eq!(
        order.len(),
        snapshot(&whole.data()).len(),
        "init reports every file it makes"
    );
    for stop_after in 0..order.len() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        for made in &order[..stop_after] {
            let relative = made.strip_prefix(fresh.path()).unwrap();
            let copy = dir.path().join(relative);
            std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
            std::fs::copy(made, copy).unwrap();
        }
        let resumed = Authority::init(&data, &InitOptions::default(), SystemTime::now())
            .await
            .unwrap();
        assert_eq!(resumed.made.len(), order.len() - stop_after);
        snapshot(&data);
        ServerTls::open(&data, Trust::Registry).await.unwrap();
    }
}

#[tokio::test]
async fn a_crash_while_writing_leaves_no_open_key() {
    let master = Master::init().await;
    let out = master.dir.path().join("w1");
    std::fs::create_dir(&out).unwrap();
    std::fs::set_permissions(&out, PermissionsExt::from_mode(0o700)).unwrap();
    let leftover = out.join(".worker.key.tmp");
    std::fs::write(&leftover, "half a key").unwrap();
    std::fs::set_permissions(&leftover, PermissionsExt::from_mode(0o644)).unwrap();
    master.enrol_to("w1", &out).await;
    assert!(!leftover.exists());
    snapshot(master.dir.path());
}

#[tokio::test]
async fn enrolment_writes_the_bundle_and_keeps_no_key() {
    let master = Master::init().await;
    let identity = master.enrol("w1").await;
    assert_eq!(identity.name(), "w1");
    let kept = snapshot(&master.ca("workers/w1"));
    let kept: Vec<_> = kept
        .keys()
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(kept, ["ca.crt", "worker.crt"]);
    let workers = Registry::open(&master.data())
        .await
        .unwrap()
        .workers()
        .await
        .unwrap();
    assert_eq!(workers.len(), 1);
    assert!(workers[0].is_active());
    assert_eq!(
        workers[0].certificates[0].fingerprint,
        identity.fingerprint()
    );
}

async fn enrol(
    master: &Master,
    worker: &str,
    out: &str,
    replace: bool,
) -> Result<pki::Peer, EnrolError> {
    let out = master.dir.path().join(out);
    let enrolment = Enrolment {
        name: name(worker),
        names: Vec::new(),
        out,
        replace,
    };
    pki::enrol(&master.data(), enrolment, SystemTime::now()).await
}

#[tokio::test]
async fn a_name_is_enrolled_once_unless_replaced() {
    let master = Master::init().await;
    let first = enrol(&master, "w1", "a", false).await.unwrap();
    let before = snapshot(master.dir.path());
    let refused = enrol(&master, "w1", "b", false).await.unwrap_err();
    assert!(
        matches!(
            refused,
            EnrolError::Registry(RegistryError::Duplicate { revoked: false, .. })
        ),
        "{refused}"
    );
    assert_eq!(
        snapshot(master.dir.path()),
        before,
        "a refusal leaves no trace"
    );

    let second = enrol(&master, "w1", "b", true).await.unwrap();
    assert_ne!(first.fingerprint, second.fingerprint);
    let tls = ServerTls::open(&master.data(), Trust::Registry)
        .await
        .unwrap();
    let old = Identity::load(&master.dir.path().join("a")).unwrap();
    let new = Identity::load(&master.dir.path().join("b")).unwrap();
    assert_eq!(
        meet(&tls, forwarder(&old, &[])).await.refused().0.code(),
        "revoked"
    );
    assert!(meet(&tls, forwarder(&new, &[])).await.server.is_ok());
}

#[tokio::test]
async fn a_revoked_name_stays_taken() {
    let master = Master::init().await;
    enrol(&master, "w1", "a", false).await.unwrap();
    let registry = Registry::open(&master.data()).await.unwrap();
    assert_eq!(
        registry
            .revoke(&name("w1"), SystemTime::now())
            .await
            .unwrap(),
        Revocation::Revoked(1)
    );
    assert_eq!(
        registry
            .revoke(&name("w1"), SystemTime::now())
            .await
            .unwrap(),
        Revocation::Already
    );
    assert!(matches!(
        registry.revoke(&name("w2"), SystemTime::now()).await,
        Err(RegistryError::Unknown(_))
    ));
    let refused = enrol(&master, "w1", "b", false).await.unwrap_err();
    assert!(
        matches!(
            refused,
            EnrolError::Registry(RegistryError::Duplicate { revoked: true, .. })
        ),
        "{refused}"
    );
}

#[tokio::test]
async fn a_bundle_does_not_overwrite_another_identity() {
    let master = Master::init().await;
    enrol(&master, "w1", "a", false).await.unwrap();
    let refused = enrol(&master, "w2", "a", false).await.unwrap_err();
    assert!(
        matches!(&refused, EnrolError::Occupied { holder, .. } if holder == "w1"),
        "{refused}"
    );
    assert!(
        Registry::open(&master.data())
            .await
            .unwrap()
            .ensure_free(&name("w2"))
            .await
            .is_ok()
    );
    // What a crash before the registration left is no obstacle.
    let registry = Registry::open(&master.data()).await.unwrap();
    std::fs::remove_file(Registry::path(&master.data())).unwrap();
    drop(registry);
    Registry::create(&master.data()).await.unwrap();
    enrol(&master, "w1", "a", false).await.unwrap();
}

#[tokio::test]
async fn a_workers_certificate_carries_no_masters_name() {
    let master = Master::init().await;
    for san in ["logferry-master", "DECNET-MASTER"] {
        let enrolment = Enrolment {
            name: name("w1"),
            names: vec![san.parse().unwrap()],
            out: master.dir.path().join("a"),
            replace: false,
        };
        let refused = pki::enrol(&master.data(), enrolment, SystemTime::now())
            .await
            .unwrap_err();
        assert!(matches!(refused, EnrolError::SubjectName(_)), "{refused}");
        assert!(!master.dir.path().join("a").exists());
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    assert!(matches!(
        Authority::open(dir.path(), now),
        Err(AuthorityError::NotInitialised(_))
    ));
    assert!(matches!(
        Registry::open(dir.path()).await,
        Err(RegistryError::Missing(_))
    ));
    let error = ServerTls::open(dir.path(), Trust::Ca)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("ca/ca.crt: cannot read"), "{error}");

    let master = Master::init().await;
    std::fs::remove_file(master.ca("ca.key")).unwrap();
    let error = Authority::open(&master.data(), now).unwrap_err();
    assert!(matches!(error, AuthorityError::NoKey(_)), "{error}");
    std::fs::write(
        master.ca("ca.key"),
        rcgen::KeyPair::generate().unwrap().serialize_pem(),
    )
    .unwrap();
    let error = Authority::open(&master.data(), now).unwrap_err();
    assert!(
        matches!(error, AuthorityError::KeyMismatch { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_bad_identity_names_its_file() {
    let master = Master::init().await;
    master.enrol("w1").await;
    let (dir, other) = (master.dir.path().join("w1"), Master::init().await);
    other.enrol("w1").await;
    let now = SystemTime::now();
    let check = |file: &str, content: Option<&[u8]>, expected: &str| {
        let path = dir.join(file);
        let good = std::fs::read(&path).unwrap();
        match content {
            Some(content) => std::fs::write(&path, content).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let error = Identity::load_at(&dir, now).unwrap_err();
        std::fs::write(&path, good).unwrap();
        let text = error.to_string();
        assert!(text.starts_with(path.to_str().unwrap()), "{text}");
        assert!(text.contains(expected), "{text} instead of {expected}");
    };
    for file in ["ca.crt", "worker.crt", "worker.key"] {
        check(file, None, "cannot read: No such file");
        check(file, Some(b""), "holds no PEM");
        check(file, Some(b"garbage \xff"), "holds no PEM");
        check(
            file,
            Some(&vec![b'a'; 2 << 20]),
            "cannot read: over 1048576 bytes",
        );
    }
    let of_other = |file: &str| std::fs::read(other.dir.path().join("w1").join(file)).unwrap();
    let own_key = std::fs::read(dir.join("worker.key")).unwrap();
    let own_leaf = std::fs::read(dir.join("worker.crt")).unwrap();
    check("worker.crt", Some(&own_key), "holds no PEM certificate");
    check("worker.key", Some(&own_leaf), "holds no PEM private key");
    check(
        "worker.crt",
        Some(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        "malformed",
    );
    check(
        "worker.key",
        Some(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        "unusable private key",
    );
    check(
        "worker.key",
        Some(&of_other("worker.key")),
        "does not match the certificate",
    );
    check(
        "worker.crt",
        Some(&of_other("worker.crt")),
        "not signed by the CA",
    );
    check("ca.crt", Some(&own_leaf), "not a CA certificate");
    Identity::load_at(&dir, now).unwrap();
}

#[tokio::test]
async fn time_runs_out_by_name_and_date() {
    let master = Master::init().await;
    let identity = master.enrol("w1").await;
    let dir = master.dir.path().join("w1");
    let at = |time| Identity::load_at(&dir, time).map(|_| ());
    assert!(at(identity.not_after()).is_ok(), "the last second counts");
    let expired = at(identity.not_after() + std::time::Duration::from_secs(1)).unwrap_err();
    assert!(expired.path.ends_with("worker.crt"));
    assert!(matches!(expired.what, IdentityProblem::Expired(_)));
    let year = jiff::Timestamp::try_from(identity.not_after())
        .unwrap()
        .to_string();
    assert!(
        expired.to_string().ends_with(&format!("expired on {year}")),
        "{expired}"
    );
    let early = at(SystemTime::now() - DAY).unwrap_err();
    assert!(
        matches!(early.what, IdentityProblem::NotYetValid(_)),
        "{early}"
    );
    // After ten years it is the CA that ends first.
    let late = at(SystemTime::now() + DAY * 3651).unwrap_err();
    assert!(late.path.ends_with("ca.crt"), "{late}");
}

#[tokio::test]
async fn a_leaf_never_outlives_its_ca() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let then = SystemTime::now() - DAY * 3600;
    Authority::init(&data, &InitOptions::default(), then)
        .await
        .unwrap();
    let ca = Authority::open(&data, SystemTime::now()).unwrap();
    let issued = ca.issue(&name("w1"), &[], SystemTime::now()).unwrap();
    let left = issued
        .peer
        .not_after
        .duration_since(SystemTime::now())
        .unwrap();
    assert!(left < DAY * 51 && left > DAY * 49, "{left:?}");
}

#[tokio::test]
async fn an_archive_id_of_another_kind_is_refused() {
    let master = Master::init().await;
    std::fs::write(master.data().join("archive-id"), "no id\n").unwrap();
    let error = Authority::init(&master.data(), &InitOptions::default(), SystemTime::now())
        .await
        .unwrap_err();
    assert!(matches!(error, AuthorityError::BadArchiveId(_)), "{error}");
}

#[test]
fn commands_that_run_at_once_take_turns() {
    let runtime = runtime();
    let master = runtime.block_on(Master::init());
    let at_once = |names: [&'static str; 4]| {
        let enrolments = names.map(|worker| {
            let data = master.data();
            std::thread::spawn(move || enrol_here(&data, worker).is_ok())
        });
        enrolments
            .map(|thread| usize::from(thread.join().unwrap()))
            .iter()
            .sum::<usize>()
    };
    assert_eq!(
        at_once(["w1", "w2", "w3", "w4"]),
        4,
        "one waits for the other"
    );
    assert_eq!(at_once(["x", "x", "x", "x"]), 1, "a name is given once");
}

fn enrol_here(data: &Path, worker: &str) -> Result<pki::Peer, EnrolError> {
    let out = data
        .parent()
        .unwrap()
        .join(format!("{:?}", std::thread::current().id()));
    let enrolment = Enrolment {
        name: name(worker),
        names: Vec::new(),
        out,
        replace: false,
    };
    runtime().block_on(pki::enrol(data, enrolment, SystemTime::now()))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
