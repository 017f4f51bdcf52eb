//! How gaps and damage are printed.

use archive::EpochId;

use super::*;

fn gap(epoch: Option<EpochId>, to: Option<u64>, bytes: Option<u64>) -> GapLine {
    GapLine {
        worker: "web-1".to_owned(),
        stream: "decky".to_owned(),
        epoch,
        from: Some(7),
        to,
        bytes,
        cause: "lag-cap".to_owned(),
        at: "2026-06-20T14:03:07Z".to_owned(),
    }
}

#[test]
fn a_gap_has_its_keys_in_order_and_null_where_unknown() {
    let epoch = EpochId::parse(&"ab".repeat(16)).unwrap();
    let known = gap(Some(epoch), Some(17), Some(10));
    assert_eq!(
        serde_json::to_string(&Gap::from(&known)).unwrap(),
        format!(
            "{{\"worker\":\"web-1\",\"stream\":\"decky\",\"epoch\":\"{epoch}\",\"from\":7,\"to\":17,\"bytes\":10,\
             \"cause\":\"lag-cap\",\"at\":\"2026-06-20T14:03:07Z\"}}"
        )
    );
    assert_eq!(
        Gap::from(&known).to_string(),
        format!("2026-06-20T14:03:07Z web-1/decky {epoch} from 7 to 17 bytes 10 lag-cap")
    );
    let unknown = gap(None, None, None);
    assert_eq!(
        serde_json::to_string(&Gap::from(&unknown)).unwrap(),
        "{\"worker\":\"web-1\",\"stream\":\"decky\",\"epoch\":null,\"from\":7,\"to\":null,\"bytes\":null,\
         \"cause\":\"lag-cap\",\"at\":\"2026-06-20T14:03:07Z\"}"
    );
    assert_eq!(
        Gap::from(&unknown).to_string(),
        "2026-06-20T14:03:07Z web-1/decky - from 7 to - bytes - lag-cap"
    );
}

#[test]
fn damage_names_the_segment_and_the_offset() {
    let damage = Damage {
        segment: "/d/archive/web-1/decky/e/00000000000000000000.log".into(),
        offset: 4096,
        what: "bytes are not those that were closed".to_owned(),
    };
    assert_eq!(
        Damaged::from(&damage).to_string(),
        "/d/archive/web-1/decky/e/00000000000000000000.log: offset 4096: bytes are not those that were closed"
    );
}
