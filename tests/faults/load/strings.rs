//! Registers, counters and pairs of counters.

use std::collections::HashMap;

use super::{COUNTERS, Class, GROUP, Journal, OWN_REGISTERS, PAIRS, Request, Seat, WRITERS};
use crate::harness::Reply;
use crate::history::counters::Count;
use crate::history::registers::{Read, Write};
use crate::history::{Span, Told};
use crate::names;

/// A writer's own registers: what it sent last, and what it knows to be written.
#[derive(Default)]
struct Own {
    sent: HashMap<u32, u64>,
    known: HashMap<u32, u64>,
}

/// A request about an own register, as it was sent.
enum Turn {
    Write(u32, u64),
    /// With the number of the last write that was sent before it.
    Read(u32, u64),
}

impl Seat<'_> {
    /// Writes registers of its own, reads them and everybody's.
    pub(super) fn keep_registers(mut self) -> Journal {
        let mut own = Own::default();
        while self.goes_on() {
            match self.random.u32(0..10) {
                0..=2 => self.read_one(),
                3 => self.read_many(),
                _ => self.write_and_read(&mut own),
            }
        }
        self.leave()
    }

    fn anybodys(&mut self) -> u32 {
        let groups = (self.terms.clients as u32).div_ceil(GROUP);
        let client = self.random.u32(0..groups) * GROUP + self.random.u32(0..WRITERS);
        client * OWN_REGISTERS + self.random.u32(0..OWN_REGISTERS)
    }

    fn read_one(&mut self) {
        let register = self.anybodys();
        let key = names::register(register);
        let line = format!("GET {key}");
        let (span, told) = self.ask_one(Request::new(Class::Get, key, line));
        if let Told::Done(reply) = told {
            self.note_read(register, span, &reply);
        }
    }

    fn read_many(&mut self) {
        let registers: Vec<u32> = (0..6).map(|_| self.anybodys()).collect();
        let keys: Vec<String> = registers.iter().map(|number| names::register(*number)).collect();
        let line = format!("MGET {}", keys.join(" "));
        let request = Request::new(Class::Mget, keys[0].clone(), line.clone());
        let (span, told) = self.ask_one(request);
        let Told::Done(reply) = told else { return };
        let values = reply.items();
        if values.len() != keys.len() {
            return self.wrong(&line, &reply);
        }
        for (register, value) in registers.into_iter().zip(values) {
            self.note_read(register, span, &value);
        }
    }

    fn note_read(&mut self, register: u32, span: Span, reply: &Reply) {
        if let Some(seen) = self.number(register, reply) {
            self.journal.reads.push(Read::by_another(register, span, seen));
        }
    }

    /// The number of the write that a reply tells of; zero: none.
    fn number(&mut self, register: u32, reply: &Reply) -> Option<u64> {
        if reply.is_nil() {
            return Some(0);
        }
        match names::value(reply.payload()) {
            Some((of, number)) if of == register && reply.kind() == b'$' => Some(number),
            _ => {
                self.wrong(&format!("GET of register {register}"), reply);
                None
            }
        }
    }

    /// Up to five requests about few registers, in one piece, so that their order shows.
    fn write_and_read(&mut self, own: &mut Own) {
        let first = self.number * OWN_REGISTERS + self.random.u32(0..OWN_REGISTERS);
        let other = self.number * OWN_REGISTERS + self.random.u32(0..OWN_REGISTERS);
        let (mut turns, mut requests) = (Vec::new(), Vec::new());
        for _ in 0..self.random.usize(1..=5) {
            let register = if self.random.bool() { first } else { other };
            let key = names::register(register);
            let last = own.sent.entry(register).or_default();
            if self.random.bool() {
                *last += 1;
                let line = format!("SET {key} {}", names::register_value(register, *last));
                turns.push(Turn::Write(register, *last));
                requests.push(Request::new(Class::Set, key, line));
            } else {
                turns.push(Turn::Read(register, *last));
                let line = format!("GET {key}");
                requests.push(Request::new(Class::Get, key, line));
            }
        }
        let told = self.ask(&requests, false);
        for (turn, (span, told)) in turns.into_iter().zip(told) {
            self.note_own(own, turn, span, told);
        }
    }

    fn note_own(&mut self, own: &mut Own, turn: Turn, span: Span, told: Told<Reply>) {
        match turn {
            Turn::Write(register, number) => {
                let told = match told {
                    Told::Done(reply) if reply.text() == "OK" => {
                        own.known.insert(register, number);
                        Told::Done(())
                    }
                    Told::Done(reply) => {
                        self.wrong(&format!("SET of register {register}"), &reply);
                        Told::Unknown
                    }
                    Told::Refused => Told::Refused,
                    Told::Unknown => Told::Unknown,
                };
                self.journal.writes.push(Write { key: register, number, span, told });
            }
            Turn::Read(register, most) => {
                let Told::Done(reply) = told else { return };
                let Some(seen) = self.number(register, &reply) else { return };
                let least = own.known.get(&register).copied().unwrap_or_default();
                self.journal.reads.push(Read { key: register, span, seen, least, most });
            }
        }
    }

    /// Counts with everybody else.
    pub(super) fn count(mut self) -> Journal {
        while self.goes_on() {
            let one = |key: String| {
                let line = format!("INCR {key}");
                Request::new(Class::Incr, key, line)
            };
            let count = self.random.usize(1..=4);
            let requests: Vec<Request> =
                (0..count).map(|_| one(names::counter(self.random.u32(0..COUNTERS)))).collect();
            let told = self.ask(&requests, false);
            for (request, (span, told)) in requests.into_iter().zip(told) {
                let told = self.sum(&request.line, told);
                self.journal.counts.push(Count { key: request.key, span, told });
            }
        }
        self.leave()
    }

    fn sum(&mut self, asked: &str, told: Told<Reply>) -> Told<u64> {
        match told {
            Told::Refused => Told::Refused,
            Told::Unknown => Told::Unknown,
            Told::Done(reply) => match reply.text().parse() {
                Ok(sum) if reply.kind() == b':' => Told::Done(sum),
                _ => {
                    self.wrong(asked, &reply);
                    Told::Unknown
                }
            },
        }
    }

    /// Counts two up in one transaction: nobody ever sees them differ.
    pub(super) fn count_in_pairs(mut self) -> Journal {
        while self.goes_on() {
            let keys = names::pair(self.random.u32(0..PAIRS));
            let lines = [
                "MULTI".to_owned(),
                format!("INCR {}", keys[0]),
                format!("INCR {}", keys[1]),
                "EXEC".to_owned(),
            ];
            let request = |line: String| Request::new(Class::Multi, keys[0].clone(), line);
            let told = self.ask(&lines.map(request), true);
            let Some((span, told)) = told.into_iter().next_back() else { continue };
            let told = match told {
                Told::Done(reply) => self.both(&keys, &reply),
                Told::Refused => Told::Refused,
                Told::Unknown => Told::Unknown,
            };
            for key in keys {
                self.journal.counts.push(Count { key, span, told });
            }
        }
        self.leave()
    }

    fn both(&mut self, keys: &[String; 2], reply: &Reply) -> Told<u64> {
        let sums: Vec<Option<u64>> =
            reply.items().iter().map(|sum| sum.text().parse().ok()).collect();
        match sums.as_slice() {
            [Some(one), Some(other)] if one == other => Told::Done(*one),
            _ => {
                self.wrong(&format!("a transaction on {keys:?}"), reply);
                Told::Unknown
            }
        }
    }
}
