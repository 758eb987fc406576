//! Numbers from a seed, and what the targets make of them.

/// The generator known as splitmix64: tiny, and the same everywhere for the same seed.
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }

    fn letter(&mut self, letters: &[u8]) -> u8 {
        letters[self.below(letters.len())]
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    /// Up to `most` bytes, mostly few, often ones that mean something to the protocol.
    pub(crate) fn bytes(&mut self, most: usize) -> Vec<u8> {
        let most = if self.once_in(20) { most } else { most.min(12) };
        let length = self.below(most + 1);
        let plain = self.once_in(2);
        (0..length)
            .map(|_| if plain { self.letter(b"ab\r\n$*:+-0123\"' \\x") } else { self.byte() })
            .collect()
    }

    /// Changes, drops, repeats or inserts a few bytes.
    pub(crate) fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let place = self.below(bytes.len() + 1);
            match self.below(5) {
                0 => bytes.truncate(place),
                1 => bytes.insert(place, self.letter(b"*$+-:%~>|!=(,#_;.?\r\n0123456789")),
                2 if place < bytes.len() => bytes[place] = self.byte(),
                3 if place < bytes.len() => drop(bytes.remove(place)),
                _ => {
                    let end = (place + self.below(20)).min(bytes.len());
                    let copy = bytes[place..end].to_vec();
                    bytes.splice(place..place, copy);
                }
            }
        }
    }

    /// Where so many bytes are cut into pieces, the last cut at their end: after single bytes, a
    /// few, or many.
    pub(crate) fn cuts(&mut self, length: usize) -> Vec<usize> {
        let most = [1, 5, 64, 4096][self.below(4)];
        let mut cuts = vec![0];
        let mut end = 0;
        while end < length {
            end = (end + 1 + self.below(most)).min(length);
            cuts.push(end);
        }
        cuts
    }
}
