//! Secrets are read when they are needed and shown nowhere.

use super::*;

#[tokio::test]
async fn a_secret_is_read_at_each_attempt() {
    let mut bed = Bed::new().await;
    let receiver = Receiver::start(OK).await;
    let file = bed.dir.path().join("secret");
    std::fs::write(&file, "s3cret-one\n").unwrap();
    let more = format!("secret_file = \"{}\"", file.display());
    bed.trigger("chat", &receiver.url(), &more);
    let running = bed.start().await;
    for (number, secret) in [(1, "s3cret-one"), (2, "s3cret-two\ns3cret-one\n")] {
        std::fs::write(&file, secret).unwrap();
        bed.events(1).await;
        running.wake.notify_one();
        delivered(&receiver, 1..=number).await;
        let received = receiver.received();
        let last = received.last().unwrap();
        let id = webhook::MessageId::new(last.id()).unwrap();
        let timestamp = last.fields["webhook-timestamp"].parse().unwrap();
        let secrets = webhook::Secrets::parse(secret).unwrap();
        let signature = secrets.sign(&id, timestamp, last.text.as_bytes());
        assert_eq!(last.fields["webhook-signature"], signature);
    }
    // Without it, the webhook waits.
    std::fs::remove_file(&file).unwrap();
    bed.events(1).await;
    running.wake.notify_one();
    until("the reason is shown", async || {
        let error = running.trigger("chat")["last_error"].clone();
        error
            .as_str()
            .is_some_and(|error| error.contains("secret: ") && error.contains("cannot be read"))
    })
    .await;
    running.stop().await;
}

/// Everything that the program may write somewhere: status, metrics, lists, files of the state directory.
#[tokio::test]
async fn neither_secrets_nor_urls_are_shown() {
    let mut bed = Bed::new().await;
    let receiver = Receiver::start(OK).await;
    receiver.behave(&[OK], Manner::Reset);
    let file = bed.dir.path().join("triggers.d/secret");
    std::fs::write(&file, "s3cret\n").unwrap();
    let more = format!("secret_file = \"{}\"", file.display());
    bed.trigger("chat", &receiver.url(), &more);
    bed.trigger("nobody", "http://127.0.0.1:1/t0ken?key=t0ken", &more);
    bed.trigger("wrong", "http://169.254.169.254/t0ken", &more);
    let running = bed.start().await;
    bed.events(2).await;
    running.wake.notify_one();
    until("given up", async || {
        bed.listed()
            .await
            .iter()
            .filter(|row| row.state == "dead")
            .count()
            >= 3
    })
    .await;
    let mut shown = running.shown.value().to_string();
    assert!(shown.contains("169.254.169.254"), "{shown}");
    prometheus_client::encoding::text::encode(&mut shown, &running.telemetry.registry).unwrap();
    let listed = serde_json::to_string(&bed.listed().await).unwrap();
    write!(shown, "{listed} {:?}", check(&bed.config, &bed.triggers())).unwrap();
    let tested = commands::test_value(&bed.config, &bed.triggers(), "nobody")
        .await
        .unwrap();
    write!(shown, "{}", tested.unwrap()).unwrap();
    running.stop().await;
    for entry in std::fs::read_dir(bed.dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            shown.push_str(&String::from_utf8_lossy(&std::fs::read(path).unwrap()));
        }
    }
    assert!(
        shown.contains("logferry_scanner_webhook_attempts_total"),
        "{shown}"
    );
    for secret in ["s3cret", "t0ken"] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
}

#[tokio::test]
async fn a_test_sends_the_real_shape_and_tells_no_body() {
    let bed = Bed::new().await;
    let receiver = Receiver::start(OK).await;
    receiver.behave(&[OK, Manner::Status(500)], OK);
    bed.trigger("chat", &receiver.url(), "");
    let test = async || {
        let tested = commands::test_value(&bed.config, &bed.triggers(), "chat").await;
        let mut value = tested.unwrap().unwrap();
        assert!(value["latency_ms"].take().is_u64());
        value
    };
    let value = json!({
        "ok": true, "status": 200, "latency_ms": null, "resolved_ip": "127.0.0.1", "error": null,
    });
    assert_eq!(test().await, value);
    let value = json!({
        "ok": false, "status": 500, "latency_ms": null, "resolved_ip": "127.0.0.1", "error": "answered 500",
    });
    assert_eq!(test().await, value);
    let sent = &receiver.received()[0];
    assert_eq!(sent.body["data"]["test"], true);
    assert_eq!(sent.body["type"], "event.trigger.fired");
    assert!(sent.body["data"]["event"]["ts"].is_string());
    assert!(sent.id().starts_with("test-") && sent.id().ends_with("_chat"));
    let missing = commands::test_value(&bed.config, &bed.triggers(), "none").await;
    assert_eq!(missing.unwrap(), None);
}
