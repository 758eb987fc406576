//! The frame of an RDB file, looked at while it flows by: how it begins, how many keys it has, its end mark and checksum.
//!
//! The form is that of the servers' `rdb.c`. What stands between is the servers' business, and passed over.

use crc::{CRC_64_REDIS, Crc, Digest, Table};
use serde::{Deserialize, Serialize};

/// `REDIS0010`, `VALKEY080`.
const MAGIC: usize = 9;
/// The checksum, behind the end mark.
const CHECKSUM: usize = 8;
/// Opcodes that may stand before the first key, and the end mark.
const FUNCTION: u8 = 0xf5;
const AUX: u8 = 0xfa;
const SIZES: u8 = 0xfb;
const SELECT: u8 = 0xfe;
const END: u8 = 0xff;

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// Reads a file in pieces, and holds no more than a few bytes of it.
pub(super) struct Checker {
    crc: Digest<'static, u64, Table<16>>,
    length: u64,
    /// The last bytes so far, which may be the checksum.
    held: Vec<u8>,
    /// The byte before them, which may be the end mark.
    before: Option<u8>,
    head: Head,
}

/// What a sound file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Soundness {
    pub(super) bytes: u64,
    /// How it begins: `REDIS0010`.
    pub(super) format: String,
    /// Its own checksum; absent if the server was told to make none.
    pub(super) crc64: Option<u64>,
    /// Absent where modules have something to say before the first key.
    pub(super) holds: Option<Counts>,
}

/// How much there was when it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) keys: u64,
    /// Of the keys, those that expire.
    pub(super) expiring: u64,
    /// Libraries of functions.
    pub(super) functions: u64,
}

/// Why a file is no whole RDB file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsound {
    #[error("it does not begin as an RDB file does")]
    Begin,
    #[error("it has no end mark; it was cut off")]
    End,
    #[error("its own checksum is {stored:016x}, but its bytes give {found:016x}")]
    Checksum { stored: u64, found: u64 },
}

impl Checker {
    pub(super) fn new() -> Self {
        let head = Head::default();
        Self { crc: CRC.digest(), length: 0, held: Vec::new(), before: None, head }
    }

    pub(super) fn feed(&mut self, piece: &[u8]) {
        self.length += piece.len() as u64;
        self.head.feed(piece);
        match piece.split_last_chunk::<CHECKSUM>() {
            Some((rest, last)) => {
                let held = std::mem::replace(&mut self.held, last.to_vec());
                self.digest(&held);
                self.digest(rest);
            }
            None => {
                self.held.extend_from_slice(piece);
                let past = self.held.len().saturating_sub(CHECKSUM);
                let past: Vec<u8> = self.held.drain(..past).collect();
                self.digest(&past);
            }
        }
    }

    fn digest(&mut self, bytes: &[u8]) {
        self.crc.update(bytes);
        self.before = bytes.last().copied().or(self.before);
    }

    /// After the last piece.
    pub(super) fn finish(self) -> Result<Soundness, Unsound> {
        let format = self.head.format.filter(|format| is_format(format)).ok_or(Unsound::Begin)?;
        if self.before != Some(END) || self.length < (MAGIC + 1 + CHECKSUM) as u64 {
            return Err(Unsound::End);
        }
        let stored = self.held.try_into().map(u64::from_le_bytes).map_err(|_| Unsound::End)?;
        let found = self.crc.finalize();
        if stored != 0 && stored != found {
            return Err(Unsound::Checksum { stored, found });
        }
        let crc64 = (stored != 0).then_some(stored);
        Ok(Soundness {
            bytes: self.length,
            format,
            crc64,
            holds: self.head.is_counted.then_some(self.head.counts),
        })
    }
}

/// `REDIS` and four digits, or `VALKEY` and three.
fn is_format(text: &str) -> bool {
    let digits = text.strip_prefix("REDIS").or_else(|| text.strip_prefix("VALKEY"));
    digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Reads up to the number of keys, and then no further.
#[derive(Default)]
struct Head {
    format: Option<String>,
    /// The beginning of what is being read.
    token: Vec<u8>,
    /// Bytes of a string to pass over.
    skip: u64,
    /// Strings to pass over.
    strings: u8,
    database: u64,
    counts: Counts,
    is_counted: bool,
    is_read: bool,
}

impl Head {
    fn feed(&mut self, mut piece: &[u8]) {
        while !self.is_read {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(piece.len());
            self.skip -= skipped as u64;
            let Some((byte, rest)) = piece.split_at(skipped).1.split_first() else { return };
            piece = rest;
            self.token.push(*byte);
            if self.take() {
                self.token.clear();
            }
        }
    }

    /// Understands the token if it is whole, and says whether it was.
    fn take(&mut self) -> bool {
        if self.format.is_none() {
            let is_whole = self.token.len() == MAGIC;
            if is_whole {
                self.format = Some(String::from_utf8_lossy(&self.token).into_owned());
            }
            return is_whole;
        }
        if self.strings > 0 {
            let Some(length) = string_length(&self.token) else { return false };
            (self.skip, self.strings) = (length, self.strings - 1);
            return true;
        }
        let Some((opcode, rest)) = self.token.split_first() else { return false };
        match *opcode {
            AUX => self.strings = 2,
            FUNCTION => {
                self.strings = 1;
                self.counts.functions += 1;
            }
            SELECT => match length(rest) {
                Some((number, _)) => self.database = number,
                None => return false,
            },
            SIZES => match length(rest).and_then(|(keys, rest)| Some((keys, length(rest)?.0))) {
                Some((keys, expiring)) => {
                    self.counts = Counts { keys, expiring, ..self.counts };
                    // A cluster has one database; the sizes of another one say nothing of it.
                    (self.is_counted, self.is_read) = (self.database == 0, true);
                }
                None => return false,
            },
            END => (self.is_counted, self.is_read) = (true, true),
            _ => self.is_read = true,
        }
        true
    }
}

/// A length as RDB writes it, and what follows; `None` if more bytes are needed.
pub(super) fn length(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    match (first >> 6, first) {
        (0, _) => Some((u64::from(first & 0x3f), rest)),
        (1, _) => {
            let (second, rest) = rest.split_first()?;
            Some((u64::from(first & 0x3f) << 8 | u64::from(*second), rest))
        }
        (2, 0x81) => rest.split_first_chunk().map(|(it, rest)| (u64::from_be_bytes(*it), rest)),
        (2, _) => {
            rest.split_first_chunk().map(|(it, rest)| (u64::from(u32::from_be_bytes(*it)), rest))
        }
        // A number in the place of a string; the caller knows those.
        _ => Some((0, rest)),
    }
}

/// How many bytes of a string follow its length; `None` if more bytes are needed.
fn string_length(bytes: &[u8]) -> Option<u64> {
    match bytes.first()? {
        // Small numbers, as one, two or four bytes.
        0xc0 => Some(1),
        0xc1 => Some(2),
        0xc2 => Some(4),
        // Compressed: the length here, and the length it once had.
        0xc3 => {
            let (compressed, rest) = length(bytes.get(1..)?)?;
            length(rest).map(|_| compressed)
        }
        _ => length(bytes).map(|(length, _)| length),
    }
}

/// What follows a length; `None` if more bytes are needed.
pub(super) fn after_length(bytes: &[u8]) -> Option<&[u8]> {
    length(bytes).map(|(_, rest)| rest)
}

/// What follows a string; `None` if more bytes are needed.
pub(super) fn after_string(bytes: &[u8]) -> Option<&[u8]> {
    let content = match bytes.first()? {
        0xc0..=0xc2 => bytes.get(1..)?,
        0xc3 => after_length(after_length(bytes.get(1..)?)?)?,
        _ => after_length(bytes)?,
    };
    content.get(usize::try_from(string_length(bytes)?).ok()?..)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of Redis 7.0 with its checksum.
    fn file(body: &[u8]) -> Vec<u8> {
        let mut file = [b"REDIS0010", body, &[END]].concat();
        let sum = CRC.checksum(&file).to_le_bytes();
        file.extend(sum);
        file
    }

    fn body() -> Vec<u8> {
        let mut body = vec![AUX, 9];
        body.extend(b"redis-ver\x067.0.15");
        // A number as a string, a compressed string, a long string.
        body.extend([AUX, 1, b'a', 0xc1, 1, 2, FUNCTION, 0xc3, 3, 0x40, 200, 7, 7, 7]);
        body.extend([FUNCTION, 0x41, 0x00]);
        body.extend([b'f'; 256]);
        body.extend([SELECT, 0, SIZES, 0x80, 0, 1, 0, 0, 5, 0, 1, b'k', 1, b'v']);
        body
    }

    fn check(file: &[u8], piece: usize) -> Result<Soundness, Unsound> {
        let mut checker = Checker::new();
        file.chunks(piece).for_each(|piece| checker.feed(piece));
        checker.finish()
    }

    #[test]
    fn a_sound_file_is_known_however_it_arrives() {
        let file = file(&body());
        let found = check(&file, file.len()).unwrap();
        assert_eq!(found.format, "REDIS0010");
        assert_eq!(found.holds, Some(Counts { keys: 65_536, expiring: 5, functions: 2 }));
        assert_eq!(found.crc64, Some(CRC.checksum(&file[..file.len() - 8])));
        assert_eq!(found.bytes, file.len() as u64);
        for piece in 1..40 {
            assert_eq!(check(&file, piece), Ok(found.clone()), "pieces of {piece}");
        }
    }

    #[test]
    fn the_checksum_is_that_of_the_servers() {
        assert_eq!(CRC.checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn an_empty_file_has_no_keys() {
        assert_eq!(check(&file(b""), 4).unwrap().holds, Some(Counts::default()));
        // A module speaks first: nobody here knows how long it speaks.
        assert_eq!(check(&file(&[0xf7, 1, 2]), 4).unwrap().holds, None);
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_found() {
        let whole = file(&body());
        for cut in 0..whole.len() {
            assert!(check(&whole[..cut], 16).is_err(), "cut at {cut}");
        }
        for place in 0..whole.len() {
            let mut broken = whole.clone();
            broken[place] ^= 0x10;
            assert!(check(&broken, 16).is_err(), "changed at {place}");
        }
    }

    #[test]
    fn a_file_without_checksum_is_taken() {
        let mut file = file(&body());
        let end = file.len() - 8;
        file[end..].fill(0);
        assert_eq!(check(&file, 16).unwrap().crc64, None);
        file[0] = b'X';
        assert_eq!(check(&file, 16), Err(Unsound::Begin));
    }
}
