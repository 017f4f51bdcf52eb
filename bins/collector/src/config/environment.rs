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
    pub(super) session_ttl: Option<Duration>,
    pub(super) artifacts: Option<PathBuf>,
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
    let session_ttl = seconds("DECNET_COLLECTOR_SESSION_AGG_TTL_SEC");
    let path = |name: &str| {
        let value = environment(name).filter(|value| !value.is_empty());
        value.map(PathBuf::from)
    };
    Given {
        log: path("DECNET_INGEST_LOG_FILE"),
        window,
        events: list("DECNET_COLLECTOR_RL_EVENT_TYPES"),
        drop_services: list("DECNET_COLLECTOR_DROP_APPS"),
        relist,
        session_ttl,
        artifacts: path("DECNET_ARTIFACTS_ROOT"),
    }
}
