//! A million lines that rotate far faster than anybody reads: what Docker did not delete unread is there, once; what
//! is missing is a recorded gap; the books balance.

use swarm::ContainerSpec;

use crate::books::{assert_balance, number};
use crate::stage::{Stage, wait_last_line};

const LINES: u64 = 1_000_000;

#[test]
fn records_what_rotation_took_from_the_file_reader() {
    burst("file");
}

/// The same through the API, where dockerd itself skips and replays.
#[test]
fn records_what_rotation_took_from_the_api() {
    burst("api");
}

fn burst(read: &str) {
    let Some(mut stage) = Stage::plan("burst").read(read).set() else {
        return;
    };
    stage.worker.start_collector().unwrap();
    let rotation = |s: ContainerSpec| s.driver("json-file", &["max-size=10m", "max-file=3"]);
    let count = LINES.to_string();
    stage.play(
        rotation,
        &["--profile", "clean", "--count", &count, "--rate", "0"],
    );
    stage.wait_exit();
    // The last line that Docker stored is the last to be written.
    let stored = stage.stored();
    wait_last_line(&stage.worker.log(), stored[0].lines.last().unwrap());
    let status = stage.worker.collector_status().unwrap();
    stage.worker.stop().unwrap();

    let lines = swarm::merged_lines(&stage.worker.log()).unwrap();
    let numbers: Vec<u64> = lines.iter().map(|line| sequence(line)).collect();
    let disorder = numbers.windows(2).find(|w| w[0] >= w[1]);
    assert_eq!(disorder, None, "a line is repeated or out of order");
    // What stands in the files at the end must have been read.
    assert!(numbers.len() >= stored[0].lines.len());

    let holes =
        numbers.windows(2).filter(|w| w[1] != w[0] + 1).count() + usize::from(numbers[0] != 0);
    let missing = LINES - numbers.len() as u64;
    let gaps = stage.worker.collector_gaps().unwrap();
    assert_eq!(
        missing == 0,
        gaps.is_empty(),
        "{missing} lines missing, gaps: {gaps:?}"
    );
    // Each hole has a gap of its own; one gap may follow another without a line between them.
    assert!(
        gaps.len() >= holes,
        "{missing} lines missing in {holes} holes, gaps: {gaps:?}"
    );
    for gap in &gaps {
        assert!(gap["cause"].is_string() && gap["at"].is_string(), "{gap}");
        assert_eq!(gap["stream"], stored[0].name.as_str(), "{gap}");
    }

    let container = &status["containers"][0];
    assert_balance(container);
    let books = &container["books"];
    assert_eq!(
        number(&books["written"]),
        numbers.len() as u64,
        "{container:#}"
    );
    assert_eq!(number(&books["gaps"]), gaps.len() as u64, "{container:#}");
    let size = std::fs::metadata(stage.worker.log()).unwrap().len();
    assert_eq!(number(&books["bytes"]), size, "{container:#}");
}

/// The `seq="N"` of a line, or `seq=N` where it has no parameters.
fn sequence(line: &[u8]) -> u64 {
    let shown = || String::from_utf8_lossy(line).into_owned();
    let at =
        memchr::memmem::find(line, b"seq=").unwrap_or_else(|| panic!("no number in {}", shown()));
    let digits = line[at + 4..].iter().skip_while(|b| **b == b'"');
    let digits = digits.take_while(|b| b.is_ascii_digit()).copied().collect();
    let number = String::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok());
    number.unwrap_or_else(|| panic!("no number in {}", shown()))
}
