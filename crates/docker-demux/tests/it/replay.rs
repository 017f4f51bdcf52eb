//! Replays the fuzz corpora: nothing in them may panic, hang, or come out differently in other chunks.

use std::{fs, path::Path};

use docker_demux::{Frames, JsonFile, Lines, Options, Tty};

use crate::docker::seen;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let files = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    files
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect()
}

#[test]
fn frames_and_ttys() {
    let inputs = corpus("docker_demux");
    assert!(!inputs.is_empty());
    for input in inputs {
        for size in [1, 7, input.len().max(1)] {
            let options = Options {
                tty: true,
                local: true,
            };
            let (mut frames, mut tty, mut lines) =
                (Frames::new(options), Tty::new(options), Lines::default());
            let _ = input
                .chunks(size)
                .try_for_each(|chunk| frames.push(chunk, &mut lines));
            let _ = frames.finish(&mut lines);
            input
                .chunks(size)
                .for_each(|chunk| tty.push(chunk, &mut lines));
            tty.finish(&mut lines);
            assert!(seen(&lines).len() == lines.len());
        }
    }
}

#[test]
fn entries() {
    let inputs = corpus("jsonfile");
    assert!(!inputs.is_empty());
    for input in inputs {
        let options = Options {
            tty: false,
            local: false,
        };
        let (mut whole, mut lines) = (JsonFile::new(options), Lines::default());
        whole.push(&input, &mut lines);
        let (mut single, mut others, mut held) =
            (JsonFile::new(options), Lines::default(), Vec::new());
        for octet in &input {
            held.push(*octet);
            let consumed = single.push(&held, &mut others);
            held.drain(..consumed);
        }
        assert_eq!(seen(&lines), seen(&others));
        assert_eq!(
            (whole.progress(), whole.corrupt()),
            (single.progress(), single.corrupt())
        );
        let (mut first, mut parts) = (JsonFile::new(options), Lines::default());
        first.push(&input[..input.len() / 2], &mut parts);
        let at = first.progress();
        JsonFile::resume(options, at.ahead, at.open).push(&input[at.place as usize..], &mut parts);
        assert!(
            lines
                .iter()
                .map(|(_, octets)| octets)
                .eq(parts.iter().map(|(_, octets)| octets))
        );
    }
}
