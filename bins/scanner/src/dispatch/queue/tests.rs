//! The queue over a real file.

use tempfile::TempDir;

use super::*;

const NOW: i64 = 1_700_000_000_000;

async fn open(dir: &TempDir) -> Opened {
    Queue::open(dir.path()).await.unwrap()
}

fn entry(trigger: &str, event: &str) -> Entry {
    Entry {
        trigger: trigger.to_owned(),
        event: event.to_owned(),
        body: "{}".to_owned(),
        due_ms: NOW,
        into: None,
    }
}

fn attempt(id: i64, verdict: Verdict) -> Attempt {
    Attempt {
        id,
        at_ms: NOW,
        rejected: false,
        verdict,
        status: Some(200),
        error: None,
    }
}

async fn listed(queue: &mut Queue) -> Vec<(i64, String, String)> {
    let rows = queue.list(false, 0, 10_000).await.unwrap();
    rows.into_iter()
        .map(|row| (row.id, row.event, row.state))
        .collect()
}

#[tokio::test]
async fn an_event_is_queued_once_and_the_cursor_stands_with_it() {
    let dir = TempDir::new().unwrap();
    let Opened { mut queue, cursor } = open(&dir).await;
    assert_eq!(cursor, None);
    let entries = [entry("a", "e1"), entry("b", "e1"), entry("a", "e2")];
    let done = queue.admit(2, &entries, &[], NOW).await.unwrap();
    assert_eq!(done.new, 3);
    let done = queue.admit(3, &entries, &[], NOW).await.unwrap();
    assert_eq!(done.new, 0);
    drop(queue);
    let Opened { mut queue, cursor } = open(&dir).await;
    assert_eq!(cursor, Some(3));
    assert_eq!(
        queue.counts().await.unwrap(),
        [("a".to_owned(), 2), ("b".to_owned(), 1)]
    );
    assert_eq!(queue.head("a").await.unwrap().unwrap().event, "e1");
    assert_eq!(queue.head("c").await.unwrap(), None);
}

#[tokio::test]
async fn what_fails_in_the_middle_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let Opened { mut queue, .. } = open(&dir).await;
    queue.begin_at(5).await.unwrap();
    let fails = "CREATE TRIGGER full BEFORE INSERT ON deliveries WHEN NEW.event_id = 'e2' \
                 BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    queue.connection.execute(fails).await.unwrap();
    let entries = [entry("a", "e1"), entry("a", "e2")];
    for _ in 0..3 {
        queue.admit(7, &entries, &[], NOW).await.unwrap_err();
    }
    assert_eq!(queue.head("a").await.unwrap(), None);
    queue.connection.execute("DROP TRIGGER full").await.unwrap();
    assert_eq!(queue.admit(7, &entries, &[], NOW).await.unwrap().new, 2);
    drop(queue);
    assert_eq!(open(&dir).await.cursor, Some(7));
}

#[tokio::test]
async fn at_most_a_thousand_wait_and_the_oldest_that_is_not_under_way_goes() {
    let dir = TempDir::new().unwrap();
    let Opened { mut queue, .. } = open(&dir).await;
    let entries: Vec<Entry> = (1..=1003).map(|at| entry("a", &format!("e{at}"))).collect();
    let done = queue.admit(1003, &entries[..1000], &[], NOW).await.unwrap();
    assert_eq!(done.overflowed, 0);
    let flying = queue.head("a").await.unwrap().unwrap().id;
    let done = queue
        .admit(1003, &entries[1000..], &[flying], NOW)
        .await
        .unwrap();
    assert_eq!(done.overflowed, 3);
    assert_eq!(queue.counts().await.unwrap(), [("a".to_owned(), 1000)]);
    let dead = queue.list(true, 0, 10).await.unwrap();
    let events: Vec<&str> = dead.iter().map(|row| &*row.event).collect();
    assert_eq!(events, ["e2", "e3", "e4"]);
    assert_eq!(
        dead[0].error.as_deref(),
        Some("dropped: more than 1000 waited")
    );
    // Another trigger has room of its own.
    assert_eq!(
        queue
            .admit(1004, &[entry("b", "e1")], &[], NOW)
            .await
            .unwrap()
            .new,
        1
    );
}

#[tokio::test]
async fn folded_events_are_counted_in_the_one_that_is_open() {
    let dir = TempDir::new().unwrap();
    let Opened { mut queue, .. } = open(&dir).await;
    assert_eq!(queue.open_of("a").await.unwrap(), None);
    let waits = Entry {
        due_ms: NOW + 1000,
        ..entry("a", "e2")
    };
    let fold = |event| Entry {
        into: Some("e2".to_owned()),
        ..entry("a", event)
    };
    let entries = [entry("a", "e1"), waits, fold("e3"), fold("e4")];
    let done = queue.admit(4, &entries, &[], NOW).await.unwrap();
    assert_eq!((done.new, done.folded), (2, 2));
    let open = Open {
        event: "e2".to_owned(),
        until_ms: NOW + 1000,
    };
    assert_eq!(queue.open_of("a").await.unwrap(), Some(open));
    let rows = queue.list(false, 0, 10).await.unwrap();
    assert_eq!([rows[0].truncated, rows[1].truncated], [0, 2]);
    // Once it was sent, or given up, it takes nothing in any more.
    let again = attempt(2, Verdict::Again(NOW + 5));
    queue.finish("a", &again, &Health::default()).await.unwrap();
    let done = queue.admit(5, &[fold("e5")], &[], NOW).await.unwrap();
    assert_eq!((done.new, done.folded), (1, 0));
}

#[tokio::test]
async fn a_disabled_trigger_has_nothing_waiting_but_replays() {
    let dir = TempDir::new().unwrap();
    let Opened { mut queue, .. } = open(&dir).await;
    let entries = ["e1", "e2", "e3"].map(|event| entry("a", event));
    queue.admit(3, &entries, &[], NOW).await.unwrap();
    queue.admit(3, &[entry("b", "e1")], &[], NOW).await.unwrap();
    assert!(queue.replay(3, NOW).await.unwrap());
    let health = Health {
        disabled: Some("gone".to_owned()),
        last_status: Some(410),
        failures: 1,
        ..Health::default()
    };
    let given_up = queue
        .finish("a", &attempt(1, Verdict::Dead), &health)
        .await
        .unwrap();
    assert_eq!(given_up, 1);
    assert_eq!(queue.health("a").await.unwrap(), Some(health));
    assert_eq!(queue.health("b").await.unwrap(), None);
    let head = queue.head("a").await.unwrap().unwrap();
    assert!(head.replayed && head.event == "e3");
    assert!(queue.head("b").await.unwrap().is_some());
}

#[tokio::test]
async fn a_replay_goes_to_the_end_with_its_id_and_a_fresh_count() {
    let dir = TempDir::new().unwrap();
    let Opened { mut queue, .. } = open(&dir).await;
    let entries = ["e1", "e2"].map(|event| entry("a", event));
    queue.admit(2, &entries, &[], NOW).await.unwrap();
    for _ in 0..2 {
        let again = attempt(1, Verdict::Again(NOW + 5));
        queue.finish("a", &again, &Health::default()).await.unwrap();
    }
    queue
        .finish("a", &attempt(1, Verdict::Dead), &Health::default())
        .await
        .unwrap();
    assert!(!queue.replay(3, NOW).await.unwrap());
    let before = queue.version().await.unwrap();
    let mut other = open(&dir).await.queue;
    assert!(other.replay(1, NOW).await.unwrap());
    assert_ne!(queue.version().await.unwrap(), before);
    assert_eq!(queue.head("a").await.unwrap().unwrap().event, "e2");
    queue
        .finish("a", &attempt(2, Verdict::Delivered), &Health::default())
        .await
        .unwrap();
    let head = queue.head("a").await.unwrap().unwrap();
    assert_eq!((head.id, &*head.event, head.attempts), (1, "e1", 0));
    assert!(head.due_ms <= NOW);
}

#[tokio::test]
async fn old_ones_are_forgotten_and_those_of_gone_triggers_given_up() {
    let dir = TempDir::new().unwrap();
    let Opened { mut queue, .. } = open(&dir).await;
    let entries = ["e1", "e2", "e3"].map(|event| entry("a", event));
    queue.admit(3, &entries, &[], NOW).await.unwrap();
    queue.admit(3, &[entry("b", "e1")], &[], NOW).await.unwrap();
    queue
        .finish("a", &attempt(1, Verdict::Delivered), &Health::default())
        .await
        .unwrap();
    queue
        .finish("a", &attempt(2, Verdict::Dead), &Health::default())
        .await
        .unwrap();
    let known = ["b".to_owned()];
    assert_eq!(queue.abandon(&known, NOW, NOW).await.unwrap(), 0);
    assert_eq!(queue.abandon(&known, NOW + 1, NOW).await.unwrap(), 1);
    assert_eq!(queue.prune(NOW, NOW).await.unwrap(), 0);
    assert_eq!(queue.prune(NOW + 1, NOW).await.unwrap(), 1);
    let rest = listed(&mut queue).await;
    let row = |id, event: &str, state: &str| (id, event.to_owned(), state.to_owned());
    assert_eq!(
        rest,
        [
            row(2, "e2", "dead"),
            row(3, "e3", "dead"),
            row(4, "e1", "waiting")
        ]
    );
    assert_eq!(queue.prune(NOW + 1, NOW + 1).await.unwrap(), 2);
}

#[tokio::test]
async fn damage_and_other_versions_are_told() {
    let dir = TempDir::new().unwrap();
    let Opened { mut queue, .. } = open(&dir).await;
    queue
        .connection
        .execute("PRAGMA user_version = 9")
        .await
        .unwrap();
    drop(queue);
    let error = format!("{:#}", Queue::open(dir.path()).await.unwrap_err());
    assert!(error.contains("schema version 9"), "{error}");
    let dir = TempDir::new().unwrap();
    std::fs::write(
        dir.path().join(FILE),
        "no database at all, but long enough".repeat(100),
    )
    .unwrap();
    let error = format!("{:#}", Queue::open(dir.path()).await.unwrap_err());
    assert!(error.contains(FILE), "{error}");
}
