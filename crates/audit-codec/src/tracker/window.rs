//! The numbers of one session: everything below `base` is settled, a bit for each of the next ones says that it came.

/// Bit `i` of the map stands for number `base + i`; the number `base` itself has not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    base: u32,
    map: [u64; WORDS],
}

impl Window {
    pub(super) fn new(base: u32) -> Self {
        let map = [0; WORDS];
        Self { base, map }
    }

    /// The first number that is not settled.
    pub(super) fn base(&self) -> u32 {
        self.base
    }

    /// The number after the last one that came.
    pub(super) fn top(&self) -> u32 {
        let above = |(index, word): (usize, &u64)| {
            (*word != 0).then(|| index as u32 * 64 + 64 - word.leading_zeros())
        };
        let bits = self.map.iter().enumerate().rev().find_map(above);
        self.base.wrapping_add(bits.unwrap_or(0))
    }

    /// Whether a number is missing below one that came.
    pub(super) fn has_hole(&self) -> bool {
        self.map.iter().any(|word| *word != 0)
    }

    /// Number `number` came. `lost` hears of the runs of numbers that fall out of the window, in order. Gives whether
    /// the number came before, or too late.
    pub(super) fn see(&mut self, number: u32, mut lost: impl FnMut(u32, u32)) -> bool {
        let distance = number.wrapping_sub(self.base);
        // Numbers wrap: what is more than half the circle ahead lies behind.
        if distance >= 1 << 31 {
            return true;
        }
        if distance >= WINDOW {
            // The whole run of which the first number falls out, not one number at a time.
            let least = distance - (WINDOW - 1);
            let seen = (least..WINDOW).find(|bit| {
                let (word, mask) = place(*bit);
                self.map[word] & mask != 0
            });
            let steps = seen.unwrap_or(distance);
            self.settle(self.base.wrapping_add(steps), &mut lost);
            self.advance();
        }
        let bit = number.wrapping_sub(self.base);
        let (word, mask) = place(bit);
        let before = self.map[word] & mask != 0;
        self.map[word] |= mask;
        self.advance();
        before
    }

    /// Gives up waiting for what is missing below `top`.
    pub(super) fn declare(&mut self, top: u32, mut lost: impl FnMut(u32, u32)) {
        let distance = top.wrapping_sub(self.base);
        if distance < 1 << 31 {
            self.settle(top, &mut lost);
            self.advance();
        }
    }

    /// Moves the base to `to`; runs of numbers that did not come are lost.
    fn settle(&mut self, to: u32, lost: &mut impl FnMut(u32, u32)) {
        let steps = to.wrapping_sub(self.base);
        let (mut from, mut count) = (self.base, 0);
        for step in 0..steps.min(WINDOW) {
            let (word, mask) = place(step);
            if self.map[word] & mask == 0 {
                if count == 0 {
                    from = self.base.wrapping_add(step);
                }
                count += 1;
            } else if count > 0 {
                lost(from, count);
                count = 0;
            }
        }
        // Beyond the window nothing can have come.
        let beyond = steps.saturating_sub(WINDOW);
        if count == 0 {
            from = self.base.wrapping_add(WINDOW);
        }
        if count + beyond > 0 {
            lost(from, count + beyond);
        }
        self.shift(steps);
    }

    /// Moves the base over what has come.
    fn advance(&mut self) {
        let ones = |map: &[u64; WORDS]| {
            let mut sum = 0;
            for word in map {
                sum += word.trailing_ones();
                if *word != u64::MAX {
                    break;
                }
            }
            sum
        };
        self.shift(ones(&self.map));
    }

    fn shift(&mut self, by: u32) {
        let mut map = [0; WORDS];
        for bit in by..WINDOW {
            let (word, mask) = place(bit);
            if self.map[word] & mask != 0 {
                let (word, mask) = place(bit - by);
                map[word] |= mask;
            }
        }
        self.base = self.base.wrapping_add(by);
        self.map = map;
    }

    /// For [`Window::restore`].
    pub(super) fn state(&self) -> Vec<u8> {
        let mut state = self.base.to_le_bytes().to_vec();
        for word in self.map {
            state.extend_from_slice(&word.to_le_bytes());
        }
        state
    }

    pub(super) fn restore(state: &[u8]) -> Option<Self> {
        let (base, rest) = state.split_first_chunk()?;
        let (words, []) = rest.as_chunks::<8>() else {
            return None;
        };
        let mut map = [0; WORDS];
        if words.len() != WORDS {
            return None;
        }
        for (word, octets) in map.iter_mut().zip(words) {
            *word = u64::from_le_bytes(*octets);
        }
        let base = u32::from_le_bytes(*base);
        // The base has not come, or it would have moved on.
        (map[0] & 1 == 0).then_some(Self { base, map })
    }
}

fn place(bit: u32) -> (usize, u64) {
    ((bit / 64) as usize, 1 << (bit % 64))
}

const WORDS: usize = 4;

/// How many newer numbers a missing one may come after.
pub const WINDOW: u32 = 64 * WORDS as u32;
