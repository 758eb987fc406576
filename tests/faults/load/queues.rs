//! Who pushes to queues, and who waits at them.

use super::{Class, Journal, QUEUES, Request, Seat};
use crate::history::Told;
use crate::history::queues::{Pop, Push};
use crate::names;

impl Seat<'_> {
    pub(super) fn push(mut self) -> Journal {
        let mut pushed = 0;
        while self.goes_on() {
            pushed += 1;
            let queue = self.random.u32(0..QUEUES);
            let (key, element) = (names::queue_key(queue), u64::from(self.number) << 40 | pushed);
            let line = format!("RPUSH {key} {}", names::queue_element(queue, element));
            let (span, told) = self.ask_one(Request::new(Class::Push, key, line));
            let told = match told {
                Told::Done(_) => Told::Done(()),
                Told::Refused => Told::Refused,
                Told::Unknown => Told::Unknown,
            };
            self.journal.pushes.push(Push { queue, element, span, told });
        }
        self.leave()
    }

    /// Waits for a second at most, at one queue or at two.
    pub(super) fn pop(mut self) -> Journal {
        while self.goes_on() {
            let count = self.random.usize(1..=2);
            let keys: Vec<String> =
                (0..count).map(|_| names::queue_key(self.random.u32(0..QUEUES))).collect();
            let line = format!("BLPOP {} 1", keys.join(" "));
            let request = Request::new(Class::Pop, keys[0].clone(), line.clone());
            let (span, told) = self.ask_one(request);
            let told = match told {
                Told::Refused => Told::Refused,
                Told::Unknown => Told::Unknown,
                Told::Done(reply) if reply.is_nil() => Told::Done(None),
                Told::Done(reply) => match taken(&keys, &reply.items()) {
                    Some(element) => Told::Done(Some(element)),
                    None => {
                        self.wrong(&line, &reply);
                        Told::Unknown
                    }
                },
            };
            self.journal.pops.push(Pop { span, told });
        }
        self.leave()
    }
}

/// The element, if it is of one of these queues.
fn taken(keys: &[String], items: &[crate::harness::Reply]) -> Option<u64> {
    let [key, element] = items else { return None };
    let (queue, element) = names::element(element.payload())?;
    (names::queue(&key.text()) == Some(queue) && keys.contains(&key.text())).then_some(element)
}
