//! The newest connection of a stream wins, and what the older one wrote stands before.

use delivery::{Code, Control};

use crate::link::{at, epoch, hello};
use crate::support::{Master, frames, lines};

#[tokio::test]
async fn a_newer_connection_goes_on_where_the_older_one_was_fenced() {
    let mut master = Master::with("commit = { max_delay = \"10s\" }\n");
    master.start().await;
    let identity = master.enroll("web-1");
    let (mut older, _) = master.resumed(&identity, "decky", 1).await;
    let bytes = lines(0, 1000);
    older.client.send(&frames(0, 1000)).await;
    master.shows("frames_total", 1000).await;
    let begun = std::time::Instant::now();
    let (mut newer, resume) = master.resumed(&identity, "decky", 1).await;
    assert_eq!(resume.offset, at(bytes.len()));
    assert!(
        begun.elapsed().as_secs() < 8,
        "the window was not waited for"
    );
    older.acked(1, bytes.len()).await;
    assert_eq!(older.refused().await.code, Code::Superseded);
    newer.client.send(&frames(1000, 1001)).await;
    newer.acked(1, lines(0, 1001).len()).await;
    assert!(master.stream("web-1", "decky", epoch(1)) == lines(0, 1001));
    master.shows("takeovers_total", 1).await;
    let facts = master.ledger("web-1", "decky");
    assert!(facts.iter().any(|fact| fact["kind"] == "takeover"));
}

#[tokio::test]
async fn of_many_that_want_a_stream_the_last_one_gets_it_and_a_fight_is_a_conflict() {
    let master = Master::started().await;
    let identity = master.enroll("web-1");
    let mut links = Vec::new();
    for _ in 0..9 {
        let mut link = master.link(&identity).await;
        link.say(&Control::Hello(hello("decky", epoch(1)))).await;
        links.push(link);
    }
    let mut last = links.pop().unwrap();
    for mut link in links {
        loop {
            match link.hear().await.unwrap() {
                Some(Control::Resume(resume)) => assert_eq!(resume.offset, at(0)),
                Some(Control::Refuse(refuse)) => {
                    assert_eq!(refuse.code, Code::Superseded);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(last.resume().await.offset, at(0));
    last.client.send(b"4 mine").await;
    last.acked(1, 5).await;
    assert!(master.metric("conflicts_total").await >= 3);
    assert!(master.log().contains("two hosts fight"));
    let facts = master.ledger("web-1", "decky");
    let conflicts = facts.iter().filter(|fact| fact["kind"] == "conflict");
    assert_eq!(conflicts.count(), 1);
    let takeovers = facts.iter().filter(|fact| fact["kind"] == "takeover");
    assert!(takeovers.count() <= 5);
}
