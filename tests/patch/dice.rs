//! Numbers that look random and repeat for the same seed (SplitMix64), so that a failure names its seed.

/// A source of numbers.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is at least 1.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True one time in `n`.
    pub(crate) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn i16(&mut self) -> i16 {
        self.next() as i16
    }

    pub(crate) fn i32(&mut self) -> i32 {
        self.next() as i32
    }

    pub(crate) fn i64(&mut self) -> i64 {
        self.next() as i64
    }

    /// Up to `most` elements.
    pub(crate) fn list<T>(&mut self, most: usize, mut element: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| element(self)).collect()
    }

    pub(crate) fn bytes(&mut self, most: usize) -> Vec<u8> {
        self.list(most, |dice| dice.next() as u8)
    }
}
