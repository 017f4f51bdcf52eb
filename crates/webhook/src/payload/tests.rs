//! Both shapes, and bodies that would be too long.

use serde_json::json;

use super::*;

const TRIGGER: Trigger<'static> = Trigger {
    id: "chat",
    name: "chat",
};

fn event() -> Map<String, Value> {
    let event = json!({
        "id": "01JD", "ts": "2026-11-21T10:00:00Z", "severity": "warn", "source": "logscanner",
        "message": "Failed password for root", "workload_id": "w1/omega", "stream": "stdout",
        "rule_name": "failed-password", "captures": {"user": "root"},
        "labels": {"team": "night", "severity": "own"},
    });
    event.as_object().unwrap().clone()
}

fn rendered(format: Format, event: &Map<String, Value>, truncated: u64, test: bool) -> Value {
    let notice = Notice {
        trigger: TRIGGER,
        event,
        truncated,
        test,
    };
    let body = render(format, &notice);
    assert!(body.len() <= MAX_PAYLOAD, "{}", body.len());
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn standard_shape() {
    assert_eq!(
        rendered(Format::Standard, &event(), 0, false),
        json!({
            "type": "event.trigger.fired",
            "timestamp": "2026-11-21T10:00:00Z",
            "data": {"trigger": {"id": "chat", "name": "chat"}, "event": event(), "test": false},
        })
    );
    assert_eq!(
        rendered(Format::Standard, &event(), 0, true)["data"]["test"],
        true
    );
}

#[test]
fn folded_events_are_counted() {
    let folded = rendered(Format::Standard, &event(), 7, false);
    assert_eq!(folded["data"]["truncated"], 7);
    let folded = rendered(Format::Alertmanager, &event(), 7, false);
    assert_eq!(folded["truncatedAlerts"], 7);
}

#[test]
fn alertmanager_shape() {
    let labels = json!({
        "alertname": "failed-password", "rule_name": "failed-password", "severity": "warn", "source": "logscanner",
        "stream": "stdout", "team": "night", "trigger": "chat", "workload_id": "w1/omega",
    });
    let mut body = rendered(Format::Alertmanager, &event(), 0, false);
    let fingerprint = body["alerts"][0]["fingerprint"].take();
    assert_eq!(fingerprint.as_str().unwrap().len(), 16);
    assert_eq!(
        body,
        json!({
            "version": "4",
            "groupKey": "{}/{trigger=\"chat\"}:{alertname=\"failed-password\"}",
            "truncatedAlerts": 0,
            "status": "firing",
            "receiver": "chat",
            "groupLabels": {"alertname": "failed-password"},
            "commonLabels": labels,
            "commonAnnotations": {},
            "externalURL": "",
            "alerts": [{
                "status": "firing",
                "labels": labels,
                "annotations": {"message": "Failed password for root", "id": "01JD", "capture_user": "root"},
                "startsAt": "2026-11-21T10:00:00Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "",
                "fingerprint": null,
            }],
        })
    );
    let test = rendered(Format::Alertmanager, &event(), 0, true);
    assert_eq!(test["commonLabels"]["test"], "true");
}

#[test]
fn alerts_of_one_kind_have_one_fingerprint() {
    let fingerprint = |event: &Map<String, Value>| {
        rendered(Format::Alertmanager, event, 0, false)["alerts"][0]["fingerprint"].clone()
    };
    let mut other = event();
    other.insert("message".to_owned(), "another line".into());
    assert_eq!(fingerprint(&event()), fingerprint(&other));
    other.insert("workload_id".to_owned(), "w2/omega".into());
    assert_ne!(fingerprint(&event()), fingerprint(&other));
}

#[test]
fn an_event_with_next_to_nothing_has_a_name() {
    let body = rendered(Format::Alertmanager, &Map::new(), 0, false);
    assert_eq!(body["commonLabels"]["alertname"], "event");
    let body = rendered(Format::Standard, &Map::new(), 0, false);
    assert_eq!(body["timestamp"], "");
}

#[test]
fn the_message_is_cut_first() {
    let message = "ä\u{1}\"".repeat(10_000);
    let mut long = event();
    long.insert("message".to_owned(), message.clone().into());
    let body = rendered(Format::Standard, &long, 0, false);
    let cut = &body["data"]["event"];
    let kept = cut["message"].as_str().unwrap();
    assert!(message.starts_with(kept.strip_suffix('…').unwrap()));
    assert!(
        body.to_string().len() > MAX_PAYLOAD - 100,
        "no more than needed"
    );
    assert_eq!(cut["truncated"], true);
    assert_eq!(cut["captures"], event()["captures"]);

    let body = rendered(Format::Alertmanager, &long, 0, false);
    assert_eq!(body["alerts"][0]["annotations"]["truncated"], "true");
}

#[test]
fn captures_go_next_and_then_whatever_else_is_long() {
    let mut long = event();
    let captures: Map<String, Value> = (0..20)
        .map(|at| (format!("c{at}"), "\u{1}".repeat(256).into()))
        .collect();
    long.insert("captures".to_owned(), captures.into());
    for format in [Format::Standard, Format::Alertmanager] {
        let body = rendered(format, &long, 0, false).to_string();
        assert!(!body.contains("c19") && body.contains("w1/omega"), "{body}");
    }
    for key in ["workload_id", "rule_name", "ts", "id", "something"] {
        long.insert(key.to_owned(), "\u{1}".repeat(9_000).into());
    }
    for format in [Format::Standard, Format::Alertmanager] {
        let body = rendered(format, &long, u64::MAX, true).to_string();
        assert!(body.contains("logscanner"), "{body}");
    }
}
