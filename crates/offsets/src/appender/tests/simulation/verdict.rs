//! What must hold after each life: the lines that stand are those of the batches that were written.

use std::io::Read;

use super::*;

impl World {
    pub(super) async fn check(&mut self, appender: &Appender, recovered: &[Recovered]) {
        let n = appender.store().get("n").await.unwrap();
        let n: usize = n.map_or(0, |n| String::from_utf8(n).unwrap().parse().unwrap());
        assert!(
            n == self.acked || n == self.acked + 1,
            "the checkpoint says {n}, acknowledged were {}",
            self.acked
        );
        self.acked = n;
        self.batches.truncate(n);
        for index in 0..2 {
            let expected: Vec<u8> = self
                .batches
                .iter()
                .flat_map(|parts| parts[index].clone())
                .collect();
            let found = self.ours(index);
            if found != expected && self.is_uncertain(index, recovered) {
                self.settle_for(index, &found);
                continue;
            }
            assert!(
                found == expected,
                "target {index}: {}",
                difference(&found, &expected)
            );
        }
        self.packed = [false; 2];
    }

    /// A file in which nothing stood before the batch, and which was compressed, can't be told from
    /// others: the only case in which a batch may be uncertain here, where nothing is deleted.
    fn is_uncertain(&self, index: usize, recovered: &[Recovered]) -> bool {
        let target = &self.house.targets()[index];
        let uncertain =
            |one: &Recovered| matches!(one, Recovered::Uncertain { path, .. } if path == target);
        let uncertain = recovered.iter().any(uncertain);
        assert!(
            !uncertain || self.packed[index],
            "nothing was compressed: {recovered:?}"
        );
        uncertain
    }

    /// Accepts that only some first lines of the last batch stand.
    fn settle_for(&mut self, index: usize, found: &[u8]) {
        let Some(mut last) = self.batches.pop() else {
            panic!("uncertain without a batch")
        };
        let before: Vec<u8> = self
            .batches
            .iter()
            .flat_map(|parts| parts[index].clone())
            .collect();
        let rest = found.strip_prefix(&before[..]).map(<[u8]>::to_vec);
        let rest = rest.filter(|rest| last[index].starts_with(rest));
        assert!(rest.is_some(), "not even the batches before stand");
        last[index] = rest.unwrap_or_default();
        self.batches.push(last);
    }

    /// Our lines in all files of a target. Lines with a capital F in them are others', or spoilt by
    /// others; blank ones are ends of others' torn lines; what has no end in a rotated file is torn.
    fn ours(&self, index: usize) -> Vec<u8> {
        let mut ours = Vec::new();
        let live = self.house.targets()[index].clone();
        for path in self.rotated[index].iter().chain([&live]) {
            let mut bytes = fs::read(path).unwrap_or_default();
            if path.extension().is_some_and(|extension| extension == "gz") {
                let packed = std::mem::take(&mut bytes);
                flate2::read::GzDecoder::new(&packed[..])
                    .read_to_end(&mut bytes)
                    .unwrap();
            }
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                if line.ends_with(b"\n") && line != b"\n" && !line.contains(&b'F') {
                    ours.extend_from_slice(line);
                }
            }
        }
        ours
    }
}

fn difference(found: &[u8], expected: &[u8]) -> String {
    let same = found
        .iter()
        .zip(expected)
        .take_while(|(a, b)| a == b)
        .count();
    let show = |bytes: &[u8]| {
        let from = same.saturating_sub(40).min(bytes.len());
        String::from_utf8_lossy(&bytes[from..bytes.len().min(from + 120)]).into_owned()
    };
    format!(
        "{} bytes for {}, differing from {same}: {:?} for {:?}",
        found.len(),
        expected.len(),
        show(found),
        show(expected)
    )
}
