//! What a node has executed, by its own account: its append-only file, which is written before it answers.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::{fs, io};

use crate::names;

/// What stands in a node's files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Numbers of the writes to each register.
    writes: HashMap<u32, HashSet<u64>>,
    /// How far each counter got.
    counts: HashMap<String, u64>,
    pushes: HashSet<u64>,
    /// Queues of which something was taken.
    pops: HashSet<u32>,
}

impl Record {
    /// Reads the append-only file of the server that has this folder. It need not run.
    ///
    /// # Errors
    /// When there are no such files.
    pub(crate) fn of_server(folder: &Path) -> io::Result<Self> {
        let folder = folder.join("appendonlydir");
        let mut files: Vec<_> = fs::read_dir(&folder)?.collect::<io::Result<Vec<_>>>()?;
        // The base comes before what was appended to it, and that in the order of its numbers.
        files.sort_by_key(|file| {
            let name = file.file_name().into_string().unwrap_or_default();
            let number = name.split('.').nth(2).and_then(|number| number.parse::<u64>().ok());
            (!name.ends_with(".base.aof"), number)
        });
        let mut record = Self::default();
        for file in
            files.iter().filter(|file| file.path().extension().is_some_and(|is| is == "aof"))
        {
            record.add(&fs::read(file.path())?);
        }
        Ok(record)
    }

    pub(crate) fn has_write(&self, key: u32, number: u64) -> bool {
        self.writes.get(&key).is_some_and(|numbers| numbers.contains(&number))
    }

    pub(crate) fn has_count(&self, key: &str, value: u64) -> bool {
        self.counts.get(key).is_some_and(|count| *count >= value)
    }

    pub(crate) fn has_push(&self, element: u64) -> bool {
        self.pushes.contains(&element)
    }

    pub(crate) fn has_pop(&self, queue: u32) -> bool {
        self.pops.contains(&queue)
    }

    #[cfg(test)]
    pub(crate) fn note_write(&mut self, key: u32, number: u64) {
        self.writes.entry(key).or_default().insert(number);
    }

    fn add(&mut self, mut bytes: &[u8]) {
        // A server that was killed may have written a part of its last command.
        while let Some((words, rest)) = command(bytes) {
            self.execute(&words);
            bytes = rest;
        }
    }

    fn execute(&mut self, words: &[&[u8]]) {
        let [name, key, arguments @ ..] = words else { return };
        let Ok(key) = std::str::from_utf8(key) else { return };
        let first = arguments.first().copied().unwrap_or_default();
        match name.to_ascii_uppercase().as_slice() {
            b"SET" => self.set(key, first),
            b"RESTORE" | b"RESTORE-ASKING" => {
                if let Some(value) = arguments.get(1).and_then(|dump| dumped(dump)) {
                    self.set(key, value.as_bytes());
                }
            }
            b"INCR" => *self.counts.entry(key.to_owned()).or_default() += 1,
            b"RPUSH" | b"LPUSH" => {
                let elements = arguments.iter().filter_map(|element| names::element(element));
                self.pushes.extend(elements.map(|(_, element)| element));
            }
            b"LPOP" | b"RPOP" => self.pops.extend(names::queue(key)),
            _ => {}
        }
    }

    fn set(&mut self, key: &str, value: &[u8]) {
        if let Some((register, number)) = names::value(value) {
            self.writes.entry(register).or_default().insert(number);
        } else if let Some(count) =
            std::str::from_utf8(value).ok().and_then(|text| text.parse().ok())
        {
            self.counts.insert(key.to_owned(), count);
        }
    }
}

/// The words of the command that the bytes begin with, and what comes after it.
fn command(bytes: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    // Servers of version 7 note the time between commands.
    let mut bytes = bytes;
    while bytes.first() == Some(&b'#') {
        bytes = line(bytes)?.1;
    }
    let (count, mut rest) = number_after(b'*', bytes)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let (length, after) = number_after(b'$', rest)?;
        let (word, after) = after.split_at_checked(length)?;
        words.push(word);
        rest = after.strip_prefix(b"\r\n")?;
    }
    Some((words, rest))
}

fn number_after(mark: u8, bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (text, rest) = line(bytes.strip_prefix(&[mark])?)?;
    Some((std::str::from_utf8(text).ok()?.parse().ok()?, rest))
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memmem::find(bytes, b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

/// The short string that DUMP has written: its type, its length or the width of a number, itself.
fn dumped(dump: &[u8]) -> Option<String> {
    let (kind, rest) = dump.split_first()?;
    let (form, rest) = rest.split_first().filter(|_| *kind == 0)?;
    let number = |width: usize| {
        let mut bytes = [0; 4];
        bytes[..width].copy_from_slice(rest.get(..width)?);
        Some(u32::from_le_bytes(bytes).to_string())
    };
    match form {
        0xc0 => number(1),
        0xc1 => number(2),
        0xc2 => number(4),
        length => String::from_utf8(rest.get(..usize::from(*length))?.to_vec()).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(lines: &[&[&[u8]]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for words in lines {
            bytes.extend(format!("*{}\r\n", words.len()).bytes());
            for word in *words {
                bytes.extend(format!("${}\r\n", word.len()).bytes());
                bytes.extend_from_slice(word);
                bytes.extend(b"\r\n");
            }
        }
        bytes
    }

    #[test]
    fn what_was_executed() {
        let register = names::register(3);
        let file = [
            written(&[&[b"SELECT", b"0"], &[b"SET", register.as_bytes(), b"3#17"]]),
            b"#TS:1700000000\r\n".to_vec(),
            written(&[
                &[b"INCR", b"c:1"],
                &[b"INCR", b"c:1"],
                &[b"set", b"c:2", b"41"],
                &[b"incr", b"c:2"],
                &[b"RESTORE", b"c:3", b"0", b"\0\xc1\x39\x05\x0a\0checksum"],
                &[b"RESTORE-ASKING", b"r:4", b"0", b"\0\x044#10\x0a\0checksum", b"REPLACE"],
                &[b"RPUSH", b"q:5", b"5|a", b"5|b"],
                &[b"LPOP", b"q:5"],
            ]),
            b"*2\r\n$4\r\nINCR\r\n$3\r\nc:".to_vec(),
        ]
        .concat();
        let mut record = Record::default();
        record.add(&file);
        assert!(record.has_write(3, 17) && !record.has_write(3, 16) && record.has_write(4, 10));
        let counts = [("c:1", 2), ("c:2", 42), ("c:3", 1337)];
        for (key, count) in counts {
            assert!(record.has_count(key, count) && !record.has_count(key, count + 1), "{key}");
        }
        assert!(record.has_push(10) && record.has_push(11) && !record.has_push(12));
        assert!(record.has_pop(5) && !record.has_pop(6));
    }
}
