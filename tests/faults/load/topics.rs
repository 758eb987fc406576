//! Who publishes, and who listens.

use std::time::Duration;

use super::{Class, Journal, Request, Seat, TOPICS};
use crate::harness::Reply;
use crate::history::Told;
use crate::history::topics::{Heard, Sent};
use crate::names;

/// How long a listener waits before it looks whether it should go on.
const LISTENS: Duration = Duration::from_millis(200);

impl Seat<'_> {
    /// A publisher keeps to one topic, so that its messages have an order.
    pub(super) fn publish(mut self) -> Journal {
        let topic = self.number / 32 % TOPICS;
        let mut number = 0;
        while self.goes_on() {
            number += 1;
            let (key, message) = (names::topic(topic), names::message(topic, self.number, number));
            let line = format!("PUBLISH {key} {message}");
            let (span, told) = self.ask_one(Request::new(Class::Publish, key, line));
            let told = match told {
                Told::Done(_) => Told::Done(()),
                Told::Refused => Told::Refused,
                Told::Unknown => Told::Unknown,
            };
            self.journal.sent.push(Sent { publisher: self.number, number, span, told });
        }
        self.leave()
    }

    pub(super) fn listen(mut self) -> Journal {
        let mut subscriptions = 0;
        while self.goes_on() {
            if !self.line.is_connected() {
                self.subscribe();
                subscriptions += 1;
                self.line.be_patient(LISTENS);
            }
            // What has come is taken all at once, so that it never piles up.
            loop {
                match self.line.listen() {
                    Ok(Some(said)) => self.hear(self.number << 16 | subscriptions, &said),
                    Ok(None) => break,
                    Err(error) => {
                        self.journal.wrong.push(format!("while listening: {error}"));
                        break;
                    }
                }
                if self.terms.stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
            }
        }
        self.leave()
    }

    /// To each topic by a request of its own, for each is confirmed by itself.
    fn subscribe(&mut self) {
        let request = |topic| {
            let key = names::topic(topic);
            let line = format!("SUBSCRIBE {key}");
            Request::new(Class::Subscribe, key, line)
        };
        let _ = self.ask(&(0..TOPICS).map(request).collect::<Vec<_>>(), true);
    }

    fn hear(&mut self, listener: u32, said: &Reply) {
        let at = self.terms.clock.now();
        let items = said.items();
        let message = match items.as_slice() {
            [kind, topic, message] if kind.text() == "message" => {
                names::heard(&topic.text(), message.payload())
            }
            [kind, _, _] if kind.text() == "subscribe" => return,
            _ => None,
        };
        match message {
            Some((publisher, number)) => {
                self.journal.heard.push(Heard { listener, publisher, number, at });
            }
            None => self.wrong("SUBSCRIBE", said),
        }
    }
}
