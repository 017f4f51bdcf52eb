//! The environment names of DECNET's collector, which beat the file.

use std::{path::PathBuf, time::Duration};

/// What the environment says; `None` where it says nothing.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) log: Option<PathBuf>,
    pub(super) window: Option<Duration>,
    pub(super) events: Option<Vec<String>>,
    pub(super) drop_services: Option<Vec<String>>,
    pub(super) relist: Option<Duration>,
}

/// Reads the names. A value that is no number is ignored with a notice, as DECNET does.
pub(super) fn read(
    environment: &dyn Fn(&str) -> Option<String>,
    notices: &mut Vec<String>,
) -> Given {
    let list = |name: &str| {
        environment(name).map(|value| {
            let items = value
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            items.map(str::to_owned).collect()
        })
    };
    let mut seconds = |name: &str| {
        let value = environment(name)?;
        let parsed = value
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|seconds| seconds.is_finite());
        let span = parsed.and_then(|s| Duration::try_from_secs_f64(s.max(0.0)).ok());
        if span.is_none() {
            notices.push(format!(
                "{name}={value:?} is not a number of seconds and is ignored"
            ));
        }
        span
    };
    let window = seconds("DECNET_COLLECTOR_RL_WINDOW_SEC");
    // A listing without a pause would keep the daemon busy for nothing.
    let relist = seconds("DECNET_COLLECTOR_RECONCILE_S").map(|span| span.max(super::MIN_RELIST));
    if environment("DECNET_BUS_ENABLED").is_some_and(|value| value == "true") {
        notices.push("DECNET_BUS_ENABLED: the bus is not built yet".to_owned());
    }
    Given {
        log: environment("DECNET_INGEST_LOG_FILE")
            .filter(|v| !v.is_empty())
            .map(PathBuf::from),
        window,
        events: list("DECNET_COLLECTOR_RL_EVENT_TYPES"),
        drop_services: list("DECNET_COLLECTOR_DROP_APPS"),
        relist,
    }
}
