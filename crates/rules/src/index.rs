//! Finds which of many texts are in a line, without regard to the case of ASCII letters.
//!
//! A line is probed at every n-th octet: the few octets there are a *block*, and a table says whether any text
//! has that block. With texts of at least n octets more than a block, wherever one stands a probe falls into it, so
//! each text is entered with n blocks, and compared where one of them is seen. Probes do not depend on each other, so a
//! processor makes several at once. Texts of similar length make a tier with its own n; there are three.

use std::{cmp::Reverse, collections::HashMap};

/// The shortest text and the length of a block of each tier.
const TIERS: [(usize, usize); 3] = [(6, 4), (4, 3), (2, 2)];

/// The longest distance of two probes: beyond it most of a line's cost is elsewhere.
const MAX_STRIDE: usize = 9;

/// Bits of a block's hash that choose its place in the table: 128 KiB, for a processor's second cache. With two thousand
/// blocks less than two probes in a hundred are in vain. A table of bits would be smaller, and cost twice as many instructions.
const TABLE: u32 = 17;

/// Bits of it that choose where its entries are.
const BUCKETS: u32 = 12;

/// Probes that are made before anything is decided.
const LANES: usize = 4;

/// The texts, and what is to be told when one is found.
#[derive(Debug, Default)]
pub(crate) struct Index {
    tiers: Vec<Tier>,
}

#[derive(Debug)]
struct Tier {
    /// Octets of a block.
    block: usize,
    /// From one probe to the next.
    stride: usize,
    /// Not zero where any text may have a block of this hash.
    table: Box<[u8; 1 << TABLE]>,
    /// Sorted by hash.
    entries: Vec<Entry>,
    /// Where the entries of a bucket begin.
    buckets: Vec<u32>,
    texts: Vec<Text>,
}

/// A block, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    hash: u32,
    text: u32,
    at: u32,
}

#[derive(Debug)]
struct Text {
    /// Folded.
    octets: Box<[u8]>,
    /// Whom it belongs to.
    owners: Box<[u32]>,
}

impl Index {
    /// Builds an index of folded texts of at least two octets, each with its owners.
    pub(crate) fn new(texts: impl IntoIterator<Item = (Vec<u8>, Vec<u32>)>) -> Self {
        let mut tiers: [Vec<Text>; TIERS.len()] = Default::default();
        for (octets, owners) in texts {
            let tier = TIERS.iter().position(|(least, _)| octets.len() >= *least);
            if let Some(tier) = tier {
                tiers[tier].push(Text {
                    octets: octets.into(),
                    owners: owners.into(),
                });
            }
        }
        let tiers = TIERS.iter().zip(tiers);
        Self {
            tiers: tiers
                .filter(|(_, texts)| !texts.is_empty())
                .map(|((_, block), texts)| Tier::new(*block, texts))
                .collect(),
        }
    }

    /// Calls `found` with the owners of each text that is in `line`, possibly more than once.
    pub(crate) fn search(&self, line: &[u8], mut found: impl FnMut(&[u32])) {
        let found = &mut found;
        for tier in &self.tiers {
            // What is known when it is compiled takes fewer instructions.
            match (tier.block, tier.stride) {
                (4, 3) => tier.search::<4, 3>(line, found),
                (4, 4) => tier.search::<4, 4>(line, found),
                (4, 5) => tier.search::<4, 5>(line, found),
                (4, 6) => tier.search::<4, 6>(line, found),
                (4, 7) => tier.search::<4, 7>(line, found),
                (4, 8) => tier.search::<4, 8>(line, found),
                (4, _) => tier.search::<4, MAX_STRIDE>(line, found),
                (3, 2) => tier.search::<3, 2>(line, found),
                (3, _) => tier.search::<3, 3>(line, found),
                (_, 1) => tier.search::<2, 1>(line, found),
                _ => tier.search::<2, 2>(line, found),
            }
        }
    }
}

impl Tier {
    fn new(block: usize, texts: Vec<Text>) -> Self {
        let shortest = texts.iter().map(|text| text.octets.len()).min();
        let stride = (shortest.unwrap_or(block) + 1 - block).min(MAX_STRIDE);
        let mut table = Box::new([0; 1 << TABLE]);
        let mut entries = Vec::with_capacity(texts.len() * stride);
        let mut users: HashMap<u32, u32> = HashMap::new();
        for text in &texts {
            for block in text.octets.windows(block) {
                *users.entry(hash(block)).or_default() += 1;
            }
        }
        for (text, Text { octets, .. }) in texts.iter().enumerate() {
            let start = rarest(octets, stride, block, &users);
            for at in start..start + stride {
                let hash = hash(&octets[at..at + block]);
                table[(hash >> (32 - TABLE)) as usize] = 1;
                // Patterns are short, and a set holds few of them: both fit.
                entries.push(Entry {
                    hash,
                    text: text as u32,
                    at: at as u32,
                });
            }
        }
        entries.sort_unstable();
        let bucket = |entry: &Entry| entry.hash >> (32 - BUCKETS);
        let first = |at| entries.partition_point(|entry| bucket(entry) < at) as u32;
        let buckets = (0..=1 << BUCKETS).map(first).collect();
        Self {
            block,
            stride,
            table,
            entries,
            buckets,
            texts,
        }
    }

    // Not inlined: the loop needs all registers that there are.
    #[inline(never)]
    fn search<const BLOCK: usize, const STRIDE: usize>(
        &self,
        line: &[u8],
        found: &mut impl FnMut(&[u32]),
    ) {
        let mut at = 0;
        // One slice for all lanes, whose bounds are checked once. The last lane's block is read as four octets, too.
        while let Some(lanes) = line.get(at..at + STRIDE * (LANES - 1) + 4) {
            let mut seen = [0; LANES];
            for (lane, seen) in seen.iter_mut().enumerate() {
                let octets = lanes[lane * STRIDE..lane * STRIDE + 4].try_into();
                *seen = self.probe(first::<BLOCK>(octets.unwrap_or_default()));
            }
            if seen.iter().fold(0, |all, seen| all | seen) != 0 {
                for (lane, seen) in seen.iter().enumerate() {
                    if *seen != 0 {
                        self.compare(line, at + lane * STRIDE, found);
                    }
                }
            }
            at += STRIDE * LANES;
        }
        while let Some(block) = line.get(at..at + BLOCK) {
            if self.probe(hash(block)) != 0 {
                self.compare(line, at, found);
            }
            at += STRIDE;
        }
    }

    /// Not zero if any text may have the block.
    #[inline(always)]
    fn probe(&self, hash: u32) -> u8 {
        self.table[(hash >> (32 - TABLE)) as usize]
    }

    #[inline(never)]
    fn compare(&self, line: &[u8], at: usize, found: &mut impl FnMut(&[u32])) {
        let hash = hash(&line[at..at + self.block]);
        let bucket = (hash >> (32 - BUCKETS)) as usize;
        let (first, end) = (self.buckets[bucket], self.buckets[bucket + 1]);
        let entries = &self.entries[first as usize..end as usize];
        for entry in entries.iter().filter(|entry| entry.hash == hash) {
            let text = &self.texts[entry.text as usize];
            let start = at.checked_sub(entry.at as usize);
            let here = start.and_then(|start| line.get(start..start + text.octets.len()));
            if here.is_some_and(|here| here.eq_ignore_ascii_case(&text.octets)) {
                found(&text.owners);
            }
        }
    }
}

/// The hash of up to four octets, the same for both cases of a letter.
fn hash(block: &[u8]) -> u32 {
    let mut octets = [0; 4];
    octets[..block.len()].copy_from_slice(block);
    match block.len() {
        4 => first::<4>(octets),
        3 => first::<3>(octets),
        _ => first::<2>(octets),
    }
}

/// The hash of the first so many of four octets.
#[inline(always)]
fn first<const BLOCK: usize>(octets: [u8; 4]) -> u32 {
    let number = u32::from_le_bytes(octets) << (32 - 8 * BLOCK as u32);
    // Setting this bit makes letters lower case. That it makes some other characters alike does no harm here.
    (number | 0x2020_2020).wrapping_mul(0x9e37_79b1)
}

/// Where the window starts whose blocks are those of the fewest other texts, and then least likely in a log.
fn rarest(text: &[u8], stride: usize, block: usize, users: &HashMap<u32, u32>) -> usize {
    let blocks: Vec<u32> = text
        .windows(block)
        .map(|block| users[&hash(block)])
        .collect();
    let rarity = |at: usize| -> u32 {
        text[at..at + stride + block - 1]
            .iter()
            .map(|octet| rare(*octet))
            .sum()
    };
    let starts = blocks.windows(stride).enumerate();
    let best = starts.min_by_key(|(at, users)| (users.iter().sum::<u32>(), Reverse(rarity(*at))));
    best.map_or(0, |(at, _)| at)
}

/// How rare an octet is, roughly.
fn rare(octet: u8) -> u32 {
    match octet {
        b' ' | b'e' | b'=' | b'"' => 0,
        b't' | b'a' | b'o' | b'n' | b'i' | b's' | b'r' | b'0' | b'1' | b'2' | b'-' | b'.' => 1,
        b'd' | b'l' | b'c' | b'u' | b'm' | b'p' | b'3'..=b'9' | b':' | b'_' | b'/' => 2,
        b'f' | b'g' | b'h' | b'b' | b'y' | b'w' | b'v' | b'[' | b']' | b',' | b'k' => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests;
