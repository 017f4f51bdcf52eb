//! What is sent, and what each way in which a receiver can behave means.

use std::time::Duration;

use webhook::{AttemptError, Client, Limits, MessageId, Outcome, Roots, Secrets};

use crate::receiver::{Answer, BODY, Names, Receiver, client, loopback, policy, post};

#[tokio::test]
async fn posts_what_standard_webhooks_wants() {
    let receiver = Receiver::plain(Answer::status(204)).await;
    let url = receiver.url("127.0.0.1", "/hook?key=1");
    let report = post(&loopback(), &url).await;
    assert_eq!(report.outcome, Outcome::Delivered);
    assert_eq!(report.status, Some(204));
    assert_eq!(report.addr, Some(receiver.addr.ip()));
    assert!(report.error.is_none());

    let [request] = &receiver.requests()[..] else {
        panic!("one request: {:?}", receiver.requests());
    };
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("POST /hook?key=1 HTTP/1.1"));
    let mut fields: Vec<&str> = lines.collect();
    fields.sort_unstable();
    let id = MessageId::new("01JD_chat").unwrap();
    let signature = Secrets::parse("t0p-secret")
        .unwrap()
        .sign(&id, 1_614_265_330, BODY.as_bytes());
    assert_eq!(
        fields,
        [
            "connection: close".to_owned(),
            format!("content-length: {}", BODY.len()),
            "content-type: application/json".to_owned(),
            format!("host: {}", receiver.addr),
            "user-agent: logferry/0.0.0".to_owned(),
            "webhook-id: 01JD_chat".to_owned(),
            format!("webhook-signature: {signature}"),
            "webhook-timestamp: 1614265330".to_owned(),
        ]
    );
    assert_eq!(body, BODY);
}

#[tokio::test]
async fn a_status_decides() {
    let retry = |seconds: Option<u64>| Outcome::Retry {
        after: seconds.map(Duration::from_secs),
    };
    for (answer, outcome) in [
        (Answer::status(200), Outcome::Delivered),
        (Answer::status(404), Outcome::Rejected),
        (Answer::status(410), Outcome::Gone),
        (Answer::status(500), retry(None)),
        (Answer::with(429, "retry-after: 7\r\n"), retry(Some(7))),
        (
            Answer::with(503, "Retry-After: 86400\r\n"),
            retry(Some(3600)),
        ),
        (Answer::with(500, "retry-after: 7\r\n"), retry(None)),
        (Answer::with(503, "retry-after: soon\r\n"), retry(None)),
        (
            Answer::Endless("HTTP/1.1 200 X\r\n\r\n".to_owned()),
            Outcome::Delivered,
        ),
        (
            Answer::Text("HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\n".to_owned()),
            Outcome::Delivered,
        ),
    ] {
        let receiver = Receiver::plain(answer.clone()).await;
        let report = post(&loopback(), &receiver.url("127.0.0.1", "/")).await;
        assert_eq!(report.outcome, outcome, "{answer:?}");
    }
}

#[tokio::test]
async fn what_is_no_answer_is_tried_again() {
    for answer in [
        Answer::Close,
        Answer::Text("SSH-2.0-OpenSSH_9.2\r\n".to_owned()),
        Answer::Text("HTTP/1.1 200".to_owned()),
        Answer::Endless("HTTP/1.1 200 X\r\nx: ".to_owned()),
    ] {
        let receiver = Receiver::plain(answer.clone()).await;
        let report = post(&loopback(), &receiver.url("127.0.0.1", "/t0ken")).await;
        assert_eq!(report.outcome, Outcome::Retry { after: None }, "{answer:?}");
        let error = report.error.unwrap();
        assert!(matches!(error, AttemptError::Http { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("t0"), "{error:?}");
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_costs_the_time_of_an_attempt() {
    let receiver = Receiver::plain(Answer::Hang).await;
    let limits = Limits {
        connect: Duration::from_millis(300),
        whole: Duration::from_millis(300),
    };
    let roots = Roots::load(None).unwrap();
    let client = Client::new(
        Names::default(),
        &roots,
        policy(&["127.0.0.0/8"]),
        limits,
        "x",
    );
    let report = post(&client, &receiver.url("127.0.0.1", "/")).await;
    assert_eq!(report.outcome, Outcome::Retry { after: None });
    assert!(matches!(report.error, Some(AttemptError::Timeout(_))));
    assert!(report.elapsed >= limits.whole);
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_does_not_answer() {
    let receiver = Receiver::start("127.0.0.3", Answer::status(200), None).await;
    // Nobody listens on the first: the port is the receiver's alone.
    let names = Names::one("chat.example", &[&["127.0.0.2", "127.0.0.3"]]);
    let client = client(names, policy(&["127.0.0.0/8"]));
    let report = post(&client, &receiver.url("chat.example", "/")).await;
    assert_eq!(report.outcome, Outcome::Delivered);
    assert_eq!(report.addr, Some(receiver.addr.ip()));
    let host = format!("host: chat.example:{}\r\n", receiver.addr.port());
    assert!(receiver.requests()[0].contains(&host));
}

#[tokio::test]
async fn a_name_without_address_and_an_unknown_one_are_tried_again() {
    let names = Names::one("empty.example", &[&[]]);
    let client = client(names, policy(&[]));
    let report = post(&client, "http://empty.example/").await;
    assert_eq!(report.outcome, Outcome::Retry { after: None });
    assert!(matches!(report.error, Some(AttemptError::NoAddress(_))));
    let report = post(&client, "http://unknown.example/").await;
    assert_eq!(report.outcome, Outcome::Retry { after: None });
    assert!(matches!(report.error, Some(AttemptError::Resolve { .. })));
}
