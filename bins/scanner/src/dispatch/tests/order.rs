//! Everything arrives, in order, with one id, and no trigger waits for another.

use sqlx::{ConnectOptions as _, Executor as _};

use super::*;

#[tokio::test]
async fn each_event_becomes_one_webhook_of_each_trigger_it_is_for() {
    let mut bed = Bed::new().await;
    let (all, some, none) = (
        Receiver::start(OK).await,
        Receiver::start(OK).await,
        Receiver::start(OK).await,
    );
    bed.trigger("all", &all.url(), "");
    bed.trigger(
        "some",
        &some.url(),
        "message = '^m[13]$'\nmin_severity = \"warn\"\nsource = [\" LogScanner \"]",
    );
    bed.trigger("none", &none.url(), "severity = [\"error\"]");
    bed.trigger("off", &none.url(), "enabled = false");
    bed.events(2).await;
    let running = bed.start().await;
    // A first start tells nobody of the past.
    bed.events(3).await;
    running.wake.notify_one();
    delivered(&all, 3..=5).await;
    delivered(&some, [3]).await;
    let [first, ..] = &all.received()[..] else {
        panic!("nothing arrived");
    };
    assert_eq!(first.id(), "01EVENT3_all");
    assert_eq!(first.fields["user-agent"], "logferry/0.0.0");
    assert_eq!(first.body["type"], "event.trigger.fired");
    assert_eq!(
        first.body["data"]["trigger"],
        json!({"id": "all", "name": "all"})
    );
    assert_eq!(first.body["data"]["event"]["workload_id"], "w1/gate");
    assert_eq!(first.body["data"]["test"], false);
    assert!(!first.fields.contains_key("webhook-signature"));
    assert!(none.received().is_empty());
    let needed = Arc::clone(&running.needed);
    running.stop().await;
    assert_eq!(needed.load(Ordering::Acquire), 5);
}

#[tokio::test]
async fn attempts_of_one_webhook_have_one_id_and_one_body_and_hold_back_the_next() {
    let mut bed = Bed::new().await;
    let receiver = Receiver::start(OK).await;
    receiver.behave(
        &[Manner::Status(500), Manner::Reset, Manner::Status(429)],
        OK,
    );
    bed.trigger("chat", &receiver.url(), "");
    let running = bed.start().await;
    bed.events(2).await;
    running.wake.notify_one();
    delivered(&receiver, 1..=2).await;
    let all = receiver.received();
    let ids: Vec<&str> = all.iter().map(|one| one.id()).collect();
    let (one, two) = ("01EVENT1_chat", "01EVENT2_chat");
    assert_eq!(ids, [one, one, one, one, two]);
    assert!(all[..4].iter().all(|one| one.body == all[0].body));
    running.stop().await;
}

#[tokio::test]
async fn a_trigger_that_hangs_or_fails_blocks_no_other() {
    let mut bed = Bed::new().await;
    bed.config.schedule = Schedule::new(vec![Duration::from_secs(3600)]);
    let (good, bad, slow) = (
        Receiver::start(OK).await,
        Receiver::start(Manner::Status(500)).await,
        Receiver::start(Manner::Hang).await,
    );
    bed.trigger("a-bad", &bad.url(), "");
    bed.trigger("b-slow", &slow.url(), "");
    bed.trigger("good", &good.url(), "");
    let running = bed.start().await;
    bed.events(20).await;
    running.wake.notify_one();
    delivered(&good, 1..=20).await;
    assert_eq!(bad.received().len(), 1);
    assert_eq!(slow.received().len(), 1);
    until("the failure is shown", async || {
        running.trigger("a-bad")["last_status"] == 500
    })
    .await;
    assert_eq!(running.trigger("a-bad")["waiting"], 20);
    assert_eq!(running.trigger("b-slow")["sending"], true);
    running.kill().await;
}

#[tokio::test]
async fn a_crash_between_the_event_and_its_delivery_loses_nothing() {
    let mut bed = Bed::new().await;
    let receiver = Receiver::start(Manner::Hang).await;
    bed.trigger("chat", &receiver.url(), "");
    bed.start().await.kill().await;
    // Written while nobody dispatched.
    bed.events(2).await;
    let running = bed.start().await;
    until("an attempt", async || receiver.received().len() == 1).await;
    running.kill().await;
    bed.events(1).await;
    receiver.behave(&[], OK);
    let running = bed.start().await;
    delivered(&receiver, 1..=3).await;
    assert_eq!(receiver.received()[0].id(), receiver.received()[1].id());
    running.stop().await;
    // And nothing twice.
    let running = bed.start().await;
    bed.events(1).await;
    running.wake.notify_one();
    delivered(&receiver, 1..=4).await;
    running.stop().await;
}

#[tokio::test]
async fn a_stop_waits_for_answers_but_not_for_ever() {
    let mut bed = Bed::new().await;
    let (good, slow) = (
        Receiver::start(OK).await,
        Receiver::start(Manner::Hang).await,
    );
    bed.trigger("good", &good.url(), "");
    bed.trigger("slow", &slow.url(), "");
    let running = bed.start().await;
    bed.events(1).await;
    running.wake.notify_one();
    until("both are sent", async || {
        good.received().len() + slow.received().len() == 2
    })
    .await;
    running.stop().await;
    let rows = bed.listed().await;
    let [row] = &rows[..] else {
        panic!("one waits: {rows:?}");
    };
    assert_eq!((&*row.trigger, row.attempts), ("slow", 0));
    slow.behave(&[], OK);
    let running = bed.start().await;
    delivered(&slow, [1]).await;
    running.stop().await;
    assert_eq!(good.received().len(), 1);
}

#[tokio::test]
async fn a_flood_is_folded() {
    let mut bed = Bed::new().await;
    let receiver = Receiver::start(OK).await;
    let alerts = Receiver::start(OK).await;
    bed.trigger("chat", &receiver.url(), "rate = 2");
    bed.trigger(
        "group",
        &alerts.url(),
        "group_wait = \"1s\"\nformat = \"alertmanager\"",
    );
    let running = bed.start().await;
    bed.events(10).await;
    running.wake.notify_one();
    delivered(&receiver, 1..=2).await;
    let chat = |row: &Listed| row.trigger == "chat";
    until("a folded webhook alone", async || {
        let rows = bed.listed().await.into_iter().filter(chat);
        let rows: Vec<(String, u64)> = rows.map(|row| (row.event, row.truncated)).collect();
        rows == [("01EVENT3".to_owned(), 7)]
    })
    .await;
    until("the group", async || alerts.received().len() == 1).await;
    assert_eq!(alerts.received()[0].body["truncatedAlerts"], 9);
    assert_eq!(alerts.received()[0].body["commonLabels"]["alertname"], "r");
    running.kill().await;
}

#[tokio::test]
async fn a_file_that_changes_is_in_force_without_a_restart() {
    let mut bed = Bed::new().await;
    let (old, new) = (Receiver::start(OK).await, Receiver::start(OK).await);
    bed.trigger("chat", &old.url(), "");
    let running = bed.start().await;
    bed.events(1).await;
    running.wake.notify_one();
    delivered(&old, [1]).await;
    // A bad one changes nothing.
    bed.trigger("chat", "http://127.0.0.2/", "");
    until("the mistake is told", async || {
        running.shown.value()["problems"]
            .as_array()
            .is_some_and(|all| all.len() == 1)
    })
    .await;
    bed.events(1).await;
    running.wake.notify_one();
    delivered(&old, 1..=2).await;
    bed.trigger("chat", &new.url(), "");
    until("the repair is seen", async || {
        running.shown.value()["problems"]
            .as_array()
            .is_some_and(Vec::is_empty)
    })
    .await;
    bed.events(1).await;
    running.wake.notify_one();
    delivered(&new, [3]).await;
    delivered(&old, 1..=2).await;
    running.stop().await;
}

#[tokio::test]
async fn a_queue_that_cannot_be_written_delays_and_changes_nothing() {
    let mut bed = Bed::new().await;
    let receiver = Receiver::start(OK).await;
    bed.trigger("chat", &receiver.url(), "rate = 1");
    let running = bed.start().await;
    until("the queue", async || {
        Queue::peek(bed.dir.path()).await.unwrap().is_some()
    })
    .await;
    let path = bed.dir.path().join(queue::FILE);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut other = options.connect().await.unwrap();
    let full =
        "CREATE TRIGGER full BEFORE INSERT ON deliveries BEGIN SELECT RAISE(ABORT, 'no room'); END";
    other.execute(full).await.unwrap();
    bed.events(3).await;
    running.wake.notify_one();
    until("the error is shown", async || {
        let error = running.shown.value()["error"].clone();
        error
            .as_str()
            .is_some_and(|error| error.contains("no room"))
    })
    .await;
    assert_eq!(running.needed.load(Ordering::Acquire), 0);
    other.execute("DROP TRIGGER full").await.unwrap();
    delivered(&receiver, [1]).await;
    until("the rest is folded", async || {
        let rows = bed.listed().await;
        rows.len() == 1 && rows[0].event == "01EVENT2" && rows[0].truncated == 1
    })
    .await;
    assert!(running.shown.value()["error"].is_null());
    running.stop().await;
}
