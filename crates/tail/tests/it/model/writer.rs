//! What is done to the files: written, rotated, cut, replaced, packed, removed.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;

use super::{MAX_LINE, Model, Slot, Written};

impl Model {
    fn text(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..1 + self.rng.below(8) {
            self.line += 1;
            match self.rng.below(12) {
                0 => out.extend_from_slice(b"\n"),
                1 => {
                    let len = self.rng.below(u64::from(MAX_LINE) * 4) as usize;
                    out.extend_from_slice(format!("{} long ", self.line).as_bytes());
                    out.extend(std::iter::repeat_n(b'x', len));
                    out.push(b'\n');
                }
                2 => {
                    out.extend_from_slice(self.line.to_string().as_bytes());
                    out.extend_from_slice(b"\r\0\xff\n");
                }
                _ => out
                    .extend_from_slice(format!("{} a line of some length\n", self.line).as_bytes()),
            }
        }
        if self.rng.chance(20) {
            // The writer died in mid-line, or is not through.
            out.truncate(out.len() - 1);
        }
        out
    }

    pub(super) fn append(&mut self) {
        let bytes = self.text();
        self.write(&bytes);
    }

    /// Ends a line of the live file of which parts were handed out: whatever else there is waits for that.
    pub(super) fn end_long_line(&mut self) {
        let Some(live) = self.live else { return };
        let last = self.written[live]
            .bytes
            .rsplit(|&byte| byte == b'\n')
            .next();
        if last.is_some_and(|line| line.len() > MAX_LINE as usize) {
            self.write(b"\n");
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        let live = match self.live {
            Some(live) => live,
            None => {
                self.written.push(Written::default());
                self.looked = false;
                self.live = Some(self.written.len() - 1);
                self.written.len() - 1
            }
        };
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .unwrap()
            .write_all(bytes)
            .unwrap();
        self.written[live].bytes.extend_from_slice(bytes);
        self.say(format!(
            "append {} to #{live} at {}",
            bytes.len(),
            self.written[live].bytes.len() - bytes.len()
        ));
    }

    fn shift(&mut self) {
        for number in (1..=self.rotated.len()).rev() {
            let gzip = self.rotated[number - 1].gzip;
            fs::rename(
                self.slot_path(number, gzip),
                self.slot_path(number + 1, gzip),
            )
            .unwrap();
        }
    }

    pub(super) fn rotate(&mut self) {
        let Some(live) = self.live.take() else { return };
        self.shift();
        fs::rename(&self.path, self.slot_path(1, false)).unwrap();
        self.rotated.insert(
            0,
            Slot {
                written: live,
                gzip: false,
                copy: false,
            },
        );
        self.looked = false;
        self.say(format!("rotate #{live}"));
    }

    pub(super) fn copytruncate(&mut self) {
        let Some(live) = self.live else { return };
        self.shift();
        fs::copy(&self.path, self.slot_path(1, false)).unwrap();
        OpenOptions::new()
            .write(true)
            .open(&self.path)
            .unwrap()
            .set_len(0)
            .unwrap();
        self.rotated.insert(
            0,
            Slot {
                written: live,
                gzip: false,
                copy: true,
            },
        );
        self.written.push(Written::default());
        self.live = Some(self.written.len() - 1);
        self.looked = false;
        self.say(format!("copytruncate #{live}"));
    }

    pub(super) fn truncate(&mut self) {
        let Some(live) = self.live else { return };
        OpenOptions::new()
            .write(true)
            .open(&self.path)
            .unwrap()
            .set_len(0)
            .unwrap();
        self.lose(live);
        self.written.push(Written::default());
        self.live = Some(self.written.len() - 1);
        self.say(format!("truncate #{live}"));
    }

    pub(super) fn delete(&mut self) {
        let Some(live) = self.live.take() else { return };
        fs::remove_file(&self.path).unwrap();
        if self.follower.is_none() || !self.looked {
            self.lose(live);
        }
        self.looked = false;
        self.say(format!("delete #{live}"));
    }

    /// Another inode, the same content: a restored or edited-in-place file.
    pub(super) fn replace(&mut self) {
        let Some(live) = self.live else { return };
        if self.written[live].bytes.is_empty() {
            return;
        }
        let other = self.path.with_file_name("restored");
        fs::copy(&self.path, &other).unwrap();
        fs::rename(&other, &self.path).unwrap();
        self.looked = false;
        self.say(format!("replace #{live}"));
    }

    pub(super) fn late(&mut self) {
        let Some(slot) = self.rotated.first().cloned() else {
            return;
        };
        // A rotated file of a few bytes that is written into and compressed unseen can't be told from a new one.
        if slot.gzip || slot.copy || self.written[slot.written].bytes.len() < 64 {
            return;
        }
        let bytes = self.text();
        OpenOptions::new()
            .append(true)
            .open(self.slot_path(1, false))
            .unwrap()
            .write_all(&bytes)
            .unwrap();
        self.written[slot.written].bytes.extend_from_slice(&bytes);
        self.say(format!("late {} to #{}", bytes.len(), slot.written));
    }

    pub(super) fn compress(&mut self) {
        let plain: Vec<usize> = (0..self.rotated.len())
            .filter(|&at| !self.rotated[at].gzip)
            .collect();
        if plain.is_empty() {
            return;
        }
        let at = plain[self.rng.below(plain.len() as u64) as usize];
        let (from, to) = (self.slot_path(at + 1, false), self.slot_path(at + 1, true));
        let bytes = fs::read(&from).unwrap();
        let modified = fs::metadata(&from).unwrap().modified().unwrap();
        let mut encoder =
            flate2::write::GzEncoder::new(File::create(&to).unwrap(), flate2::Compression::fast());
        encoder.write_all(&bytes).unwrap();
        encoder.finish().unwrap().set_modified(modified).unwrap();
        fs::remove_file(&from).unwrap();
        self.rotated[at].gzip = true;
        self.say(format!("gzip #{}", self.rotated[at].written));
    }

    pub(super) fn drop_oldest(&mut self) {
        let Some(slot) = self.rotated.last().cloned() else {
            return;
        };
        fs::remove_file(self.slot_path(self.rotated.len(), slot.gzip)).unwrap();
        self.rotated.pop();
        if self.follower.is_none() || !self.looked || slot.gzip {
            self.lose(slot.written);
        }
        self.say(format!("remove #{}", slot.written));
    }
}
