//! HyperLogLogs in the servers' form: merging them, and estimating how many different elements they have seen.
//!
//! A value is a header of 16 bytes (`HYLL`, the encoding, and a cached estimate) and 16384 registers, either
//! dense, six bits each, or sparse, as runs of equal registers. The estimator is the one by Otmar Ertl, "New
//! cardinality estimation algorithms for HyperLogLog sketches" (2017), as the servers use it.

use super::MergeError;

const REGISTERS: usize = 16_384;
const HEADER: usize = 16;
const DENSE_BYTES: usize = REGISTERS / 4 * 3;
/// Bits of a hash that do not choose the register; a register holds at most one more.
const LONGEST: usize = 50;
/// `0.5 / ln(2)`.
const ALPHA: f64 = 0.721_347_520_444_481_7;
/// The last byte of the header's cached estimate: it is out of date.
const STALE: u8 = 1 << 7;
/// Longest runs that the sparse form can write.
const SHORT_ZEROS: usize = 64;
const MOST_EQUAL: usize = 4;

const DENSE: u8 = 0;
const SPARSE: u8 = 1;

const NO_HYPERLOGLOG: MergeError =
    MergeError::Value("WRONGTYPE Key is not a valid HyperLogLog string value.");
const CORRUPTED: MergeError = MergeError::Value("INVALIDOBJ Corrupted HLL object detected");

/// The union of HyperLogLogs.
#[derive(Clone, Debug)]
pub struct Registers {
    values: Vec<u8>,
    /// Some value was dense; then the servers store the union densely.
    dense: bool,
}

impl Default for Registers {
    fn default() -> Self {
        Self { values: vec![0; REGISTERS], dense: false }
    }
}

impl Registers {
    /// Adds a stored value.
    ///
    /// # Errors
    /// It is no HyperLogLog, or a damaged one.
    pub fn add(&mut self, value: &[u8]) -> Result<(), MergeError> {
        let (header, registers) = value.split_at_checked(HEADER).ok_or(NO_HYPERLOGLOG)?;
        match header {
            [b'H', b'Y', b'L', b'L', DENSE, ..] if registers.len() == DENSE_BYTES => {
                self.dense = true;
                self.add_dense(registers);
                Ok(())
            }
            [b'H', b'Y', b'L', b'L', SPARSE, ..] => self.add_sparse(registers),
            _ => Err(NO_HYPERLOGLOG),
        }
    }

    /// How many different elements were probably added to all values together.
    #[must_use]
    pub fn estimate(&self) -> i64 {
        let mut histogram = [0_u32; LONGEST + 2];
        for value in &self.values {
            if let Some(count) = histogram.get_mut(usize::from(*value)) {
                *count += 1;
            }
        }
        let registers = REGISTERS as f64;
        let [zeros, between @ .., full] = &histogram;
        let mut z = registers * tau((registers - f64::from(*full)) / registers);
        for count in between.iter().rev() {
            z = (z + f64::from(*count)) / 2.0;
        }
        z += registers * sigma(f64::from(*zeros) / registers);
        (ALPHA * registers * registers / z).round() as i64
    }

    /// The union as a value that a server takes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let encoding = if self.dense { DENSE } else { SPARSE };
        let mut out = vec![b'H', b'Y', b'L', b'L', encoding, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, STALE];
        if self.dense {
            self.write_dense(&mut out)
        } else {
            self.write_sparse(&mut out)
        }
        out
    }

    fn raise(&mut self, at: usize, value: u8) {
        if let Some(known) = self.values.get_mut(at) {
            *known = value.max(*known);
        }
    }

    /// Four registers stand in three bytes, the lowest bits first.
    fn add_dense(&mut self, registers: &[u8]) {
        let (groups, _) = registers.as_chunks::<3>();
        for ([one, two, three], at) in groups.iter().zip((0..).step_by(4)) {
            self.raise(at, one & 63);
            self.raise(at + 1, one >> 6 | (two & 15) << 2);
            self.raise(at + 2, two >> 4 | (three & 3) << 4);
            self.raise(at + 3, three >> 2);
        }
    }

    /// `00nnnnnn` is a run of zeros, `01nnnnnn nnnnnnnn` a long one, `1vvvvvnn` a run of a value.
    fn add_sparse(&mut self, runs: &[u8]) -> Result<(), MergeError> {
        let mut at = 0;
        let mut bytes = runs.iter();
        while let Some(&byte) = bytes.next() {
            if byte & 0x80 != 0 {
                let value = (byte >> 2 & 31) + 1;
                let end = at + usize::from(byte & 3) + 1;
                if end > REGISTERS {
                    return Err(CORRUPTED);
                }
                (at..end).for_each(|register| self.raise(register, value));
                at = end;
            } else if byte & 0x40 != 0 {
                let low = bytes.next().ok_or(CORRUPTED)?;
                at += (usize::from(byte & 63) << 8 | usize::from(*low)) + 1;
            } else {
                at += usize::from(byte) + 1;
            }
        }
        if at == REGISTERS { Ok(()) } else { Err(CORRUPTED) }
    }

    fn write_dense(&self, out: &mut Vec<u8>) {
        let (groups, _) = self.values.as_chunks::<4>();
        for [one, two, three, four] in groups {
            out.push(one | two << 6);
            out.push(two >> 2 | three << 4);
            out.push(three >> 4 | four << 2);
        }
    }

    fn write_sparse(&self, out: &mut Vec<u8>) {
        for run in self.values.chunk_by(|one, other| one == other) {
            let value = run.first().copied().unwrap_or(0);
            if value == 0 {
                write_zeros(run.len(), out);
                continue;
            }
            for equal in run.chunks(MOST_EQUAL) {
                out.push(0x80 | (value - 1) << 2 | (equal.len() - 1) as u8);
            }
        }
    }
}

fn write_zeros(count: usize, out: &mut Vec<u8>) {
    let last = count - 1;
    if count <= SHORT_ZEROS {
        out.push(last as u8);
    } else {
        out.extend_from_slice(&[0x40 | (last >> 8) as u8, last as u8]);
    }
}

/// Ertl's sigma: what the registers that are still zero contribute.
fn sigma(share: f64) -> f64 {
    if share == 1.0 {
        return f64::INFINITY;
    }
    let (mut power, mut weight, mut sum) = (share, 1.0, share);
    loop {
        power *= power;
        let before = sum;
        sum += power * weight;
        weight += weight;
        if before == sum {
            return sum;
        }
    }
}

/// Ertl's tau: what the registers that can rise no more contribute.
fn tau(share: f64) -> f64 {
    if share == 0.0 || share == 1.0 {
        return 0.0;
    }
    let (mut root, mut weight, mut sum) = (share, 1.0, 1.0 - share);
    loop {
        root = root.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - root) * (1.0 - root) * weight;
        if before == sum {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(seed: u64, filled: usize, greatest: u8, dense: bool) -> Registers {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut registers = Registers { dense, ..Registers::default() };
        for _ in 0..filled {
            registers.raise(random.usize(..REGISTERS), random.u8(1..=greatest));
        }
        registers
    }

    #[test]
    fn values_come_back_from_both_forms() {
        for seed in 0..20 {
            let filled = 1 << (seed % 15);
            for (greatest, dense) in [(32, false), (51, true)] {
                let registers = random(seed, filled, greatest, dense);
                let mut again = Registers::default();
                again.add(&registers.encode()).unwrap();
                assert_eq!(again.values, registers.values);
                assert_eq!(again.dense, dense);
            }
        }
    }

    #[test]
    fn an_empty_one_takes_one_run() {
        let empty = Registers::default();
        assert_eq!(empty.encode(), b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80\x7f\xff");
        assert_eq!(empty.estimate(), 0);
    }

    #[test]
    fn a_union_has_the_greater_registers() {
        let (one, other) = (random(1, 3_000, 32, false), random(2, 5_000, 51, true));
        let mut union = Registers::default();
        union.add(&one.encode()).unwrap();
        union.add(&other.encode()).unwrap();
        let expected: Vec<u8> =
            one.values.iter().zip(&other.values).map(|(one, other)| *one.max(other)).collect();
        assert_eq!(union.values, expected);
        assert!(union.dense);
    }

    #[test]
    fn few_elements_are_counted_exactly() {
        // As long as no two elements meet in a register the estimate is their number.
        for count in [1_usize, 2, 10, 100] {
            let mut registers = Registers::default();
            (0..count).for_each(|at| {
                registers.raise(at * 100, 1 + (at as u8).trailing_zeros().min(9) as u8)
            });
            assert_eq!(registers.estimate(), count as i64);
        }
    }

    #[test]
    fn full_registers_do_not_end_the_world() {
        let full = Registers { values: vec![51; REGISTERS], dense: true };
        assert!(full.estimate() > 1 << 60);
    }

    #[test]
    fn what_is_no_hyperloglog_is_refused() {
        let good = Registers::default().encode();
        let changed = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            bytes
        };
        let table = [
            (Vec::new(), NO_HYPERLOGLOG),
            (b"hello".to_vec(), NO_HYPERLOGLOG),
            (good[..15].to_vec(), NO_HYPERLOGLOG),
            (changed(0, b'h'), NO_HYPERLOGLOG),
            (changed(4, 2), NO_HYPERLOGLOG),
            // Dense, but not of the right length.
            (changed(4, 0), NO_HYPERLOGLOG),
            // Registers are missing, or too many, or a run is cut.
            (good[..16].to_vec(), CORRUPTED),
            (good[..17].to_vec(), CORRUPTED),
            (changed(17, 0), CORRUPTED),
            ([&good[..], &[0]].concat(), CORRUPTED),
            ([&good[..], &[0x80]].concat(), CORRUPTED),
        ];
        for (value, expected) in table {
            assert_eq!(Registers::default().add(&value), Err(expected), "{value:?}");
        }
    }
}
