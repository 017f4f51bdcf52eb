//! kill -9 at random moments under load: the `.log` is what it would have been without.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use crate::records::Altered;
use crate::stage::Stage;

const KILLS: usize = 50;

fn killed_collector(read: &str, seed: u64) {
    let Some(mut stage) = Stage::plan("killed").read(read).set() else {
        return;
    };
    for profile in ["hostile", "identical"] {
        let args = ["--profile", profile, "--count", "60000", "--rate", "4000"];
        stage.play(|s| s, &args);
    }
    let mut random = SmallRng::seed_from_u64(seed);
    for _ in 0..KILLS {
        stage.worker.launch_collector().unwrap();
        // A random moment is the subject here, not a synchronisation.
        std::thread::park_timeout(Duration::from_millis(random.random_range(0..400)));
        stage.worker.kill_collector().unwrap();
    }
    stage.worker.start_collector().unwrap();
    stage.wait_exit();
    let sources = stage.stored();
    stage.arrives(&sources);
    stage.assert_records(&sources, Altered::ByDocker);
}

#[test]
fn fifty_kills_of_the_collector_reading_files() {
    killed_collector("file", 1);
}

#[test]
fn fifty_kills_of_the_collector_reading_the_api() {
    killed_collector("api", 2);
}
