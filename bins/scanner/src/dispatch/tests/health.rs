//! What is given up, what is disabled, and how it comes back.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

#[tokio::test]
async fn a_receiver_that_is_gone_gets_nothing_until_its_url_changes() {
    let mut bed = Bed::new().await;
    let receiver = Receiver::start(Manner::Status(410)).await;
    bed.trigger("chat", &receiver.url(), "");
    let running = bed.start().await;
    bed.events(3).await;
    running.wake.notify_one();
    until("disabled", async || {
        running.trigger("chat")["disabled"].is_string()
    })
    .await;
    bed.events(2).await;
    running.wake.notify_one();
    let needed = &running.needed;
    until("read", async || needed.load(Ordering::Acquire) == 5).await;
    assert_eq!(receiver.received().len(), 1);
    let errors: Vec<Option<String>> = bed
        .listed()
        .await
        .into_iter()
        .map(|row| row.error)
        .collect();
    let why = "trigger disabled: the receiver answered 410, it is gone";
    let gone = |text: &str| Some(text.to_owned());
    assert_eq!(errors, [gone("answered 410"), gone(why), gone(why)]);
    running.stop().await;

    // It stays so over a restart, until the operator does something about it.
    let running = bed.start().await;
    bed.events(1).await;
    until("read", async || running.needed.load(Ordering::Acquire) == 6).await;
    assert_eq!(receiver.received().len(), 1);
    receiver.behave(&[], OK);
    bed.trigger("chat", &format!("{}2", receiver.url()), "");
    until("enabled", async || running.enabled("chat")).await;
    bed.events(1).await;
    running.wake.notify_one();
    delivered(&receiver, [7]).await;
    running.stop().await;
}

#[tokio::test]
async fn an_answer_of_the_old_receiver_says_nothing_of_the_new() {
    let mut bed = Bed::new().await;
    let old = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let new = Receiver::start(OK).await;
    bed.trigger(
        "chat",
        &format!("http://{}/", old.local_addr().unwrap()),
        "",
    );
    let running = bed.start().await;
    bed.events(2).await;
    running.wake.notify_one();
    let (mut stream, _) = old.accept().await.unwrap();
    let mut request = [0; 4096];
    assert!(stream.read(&mut request).await.unwrap() > 0);
    bed.trigger("chat", &new.url(), "");
    let target = json!(format!("http://{}/…", new.addr));
    until("the change is seen", async || {
        running.trigger("chat")["target"] == target
    })
    .await;
    let gone = b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(gone).await.unwrap();
    delivered(&new, 1..=2).await;
    assert!(running.enabled("chat"));
    running.stop().await;
}

#[tokio::test]
async fn a_replay_that_arrives_enables_a_trigger_again() {
    let mut bed = Bed::new().await;
    let receiver = Receiver::start(Manner::Status(410)).await;
    bed.trigger("chat", &receiver.url(), "");
    let running = bed.start().await;
    bed.events(2).await;
    running.wake.notify_one();
    until("disabled", async || {
        running.trigger("chat")["disabled"].is_string()
    })
    .await;
    receiver.behave(&[], OK);
    let state = bed.dir.path();
    commands::replay(state, "2").await.unwrap();
    delivered(&receiver, [2]).await;
    until("enabled", async || running.enabled("chat")).await;
    commands::replay(state, "1").await.unwrap();
    delivered(&receiver, [2, 1]).await;
    assert_eq!(receiver.received()[2].id(), "01EVENT1_chat");
    assert!(commands::replay(state, "77").await.is_err());
    assert!(commands::replay(state, "x").await.is_err());
    running.stop().await;
}

#[tokio::test]
async fn a_refused_address_is_given_up_at_once_and_checked_again_on_replay() {
    let mut bed = Bed::new().await;
    let receiver = Receiver::start(OK).await;
    // A name, so that the file is taken; it leads to loopback, which this operator does not allow.
    let url = receiver.url().replace("127.0.0.1", "rebind.example");
    bed.trigger("chat", &url, "");
    let start = async |bed: &Bed, answers: &[&str]| {
        let names = Names(answers.iter().map(|addr| addr.parse().unwrap()).collect());
        let sender = Sender::new(names, &bed.config, Limits::default()).unwrap();
        let mut telemetry = Telemetry::new("scanner", "0.0.0");
        let (state, triggers) = (bed.dir.path(), bed.triggers());
        Dispatcher::with(sender, state, &bed.config, &triggers, &mut telemetry)
            .await
            .unwrap()
    };
    let never = std::future::pending::<()>;
    let dispatcher = start(&bed, &["127.0.0.1", "127.0.0.2"]).await;
    bed.events(1).await;
    let mut task = JoinSet::new();
    task.spawn(dispatcher.run(Arc::default(), never()));
    until("given up", async || {
        bed.listed().await.iter().any(|row| row.state == "dead")
    })
    .await;
    let row = &bed.listed().await[0];
    assert_eq!(row.attempts, 1);
    assert!(
        row.error
            .as_ref()
            .is_some_and(|why| why.contains("127.0.0.2 is denied")),
        "{row:?}"
    );
    task.shutdown().await;

    commands::replay(bed.dir.path(), "1").await.unwrap();
    let dispatcher = start(&bed, &["127.0.0.1"]).await;
    task.spawn(dispatcher.run(Arc::default(), never()));
    delivered(&receiver, [1]).await;
    task.shutdown().await;
}

/// A resolver that knows one answer.
#[derive(Debug)]
struct Names(Vec<IpAddr>);

impl Resolver for Names {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn schedules_end_and_rejections_sooner() {
    let mut bed = Bed::new().await;
    let (failing, refusing) = (
        Receiver::start(Manner::Status(503)).await,
        Receiver::start(Manner::Status(404)).await,
    );
    bed.trigger("failing", &failing.url(), "");
    bed.trigger("refusing", &refusing.url(), "");
    let running = bed.start().await;
    bed.events(1).await;
    running.wake.notify_one();
    until("both given up", async || {
        bed.listed()
            .await
            .iter()
            .filter(|row| row.state == "dead")
            .count()
            == 2
    })
    .await;
    assert_eq!(
        (failing.received().len(), refusing.received().len()),
        (10, 3)
    );
    let rows = bed.listed().await;
    let why = |row: &Listed| row.error.clone().unwrap_or_default();
    assert_eq!(why(&rows[0]), "no attempt is left: answered 503");
    assert_eq!(why(&rows[1]), "rejected by the receiver: answered 404");
    running.stop().await;
}

#[tokio::test]
async fn a_trigger_that_matches_everything_makes_no_events() {
    let mut bed = Bed::new().await;
    let receiver = Receiver::start(Manner::Status(404)).await;
    bed.trigger("everything", &receiver.url(), "");
    let running = bed.start().await;
    bed.events(5).await;
    running.wake.notify_one();
    until("all are given up", async || {
        bed.listed()
            .await
            .iter()
            .filter(|row| row.state == "dead")
            .count()
            == 5
    })
    .await;
    running.stop().await;
    assert_eq!(bed.event_count().await, 5);
    assert_eq!(receiver.received().len(), 15);
}

#[tokio::test]
async fn events_of_a_new_file_are_all_new() {
    let mut bed = Bed::new().await;
    let receiver = Receiver::start(OK).await;
    bed.trigger("chat", &receiver.url(), "");
    bed.events(5).await;
    bed.start().await.stop().await;
    for file in ["events.sqlite", "events.sqlite-wal", "events.sqlite-shm"] {
        drop(std::fs::remove_file(bed.dir.path().join(file)));
    }
    bed.store = Store::open(bed.dir.path()).await.unwrap();
    bed.events(1).await;
    let running = bed.start().await;
    delivered(&receiver, [6]).await;
    running.stop().await;
}
