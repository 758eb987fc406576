//! The path of a request on one screen: look up, authorize, plan, send.
//!
//! Invariant: requests of one session that are under way were routed under one version of the slot table
//! and none of them is being redirected or held; else the session pauses until all are settled. So what
//! follows a request for the same slot never overtakes it.

use bytes::Bytes;

use crate::backend::{LARGE, Terms, Ticket};
use crate::cluster::Slot;
use crate::command::{Class, CommandSpec, Commands, Retry};
use crate::merge::Merge;
use crate::metrics::Family;
use crate::resp::{Request, RequestParser};
use crate::route::{KeyByKey, Plan, Split, plan};

use super::authorize::NO_LOGIN;
use super::blocking;
use super::conversation::{Conversation, Flow};
use super::family::family;
use super::local;
use super::places::About;
use super::{pubsub, steps, transaction};

impl Conversation {
    /// Serves one request; its reply, from here or from a node, leaves at its place in the order.
    /// `whole` is the request's frame when it arrived in a buffer of its own.
    pub(super) fn serve(
        &mut self,
        commands: &Commands,
        request: Request<'_>,
        whole: Option<&Bytes>,
    ) -> Flow {
        let watched = self.worker.gateway.scrutiny.is_on();
        if watched && self.is_held_back(commands, &request) {
            self.rests = true;
            return Flow::Wait;
        }
        let flow = self.resolve_and_serve(commands, request, whole);
        if watched && flow != Flow::Wait {
            self.show(commands, &request);
        }
        if flow == Flow::Wait {
            // Then it pauses until all before it are settled.
            self.asker.disturbed();
        } else {
            self.has_paid = false;
            self.step_wanted();
        }
        flow
    }

    fn resolve_and_serve(
        &mut self,
        commands: &Commands,
        request: Request<'_>,
        whole: Option<&Bytes>,
    ) -> Flow {
        let spec = match commands.resolve(&request) {
            Ok(spec) => spec,
            Err(error) => {
                self.client.ran_nothing();
                if self.must_log_in_first(commands, &error) {
                    return self.fail(Family::Other, NO_LOGIN);
                }
                return transaction::unresolved(self, &error);
            }
        };
        self.client.ran(spec);
        if !self.is_free()
            && let Some(flow) = self.bar(spec, &request)
        {
            return flow;
        }
        let audited = spec.is_administrative().then(|| self.replies.next_number());
        let flow = self.serve_allowed(spec, &request, whole);
        if let Some(number) = audited.filter(|_| flow != Flow::Wait) {
            self.audit_command(spec, &request, number);
        }
        flow
    }

    fn serve_allowed(
        &mut self,
        spec: &CommandSpec,
        request: &Request<'_>,
        whole: Option<&Bytes>,
    ) -> Flow {
        if self.transaction.is_open() {
            return transaction::take(self, spec, request);
        }
        if self.client.is_special.get()
            && let Some(flow) = pubsub::before(self, spec)
        {
            return flow;
        }
        let plan =
            plan(spec, request, self.worker.reach(), &mut self.worker.positions.borrow_mut());
        if self.worker.spreads_reads()
            && self.choose_reader(spec, request, plan.as_ref().ok()) == Flow::Wait
        {
            return Flow::Wait;
        }
        match plan {
            Ok(Plan::Forward { slot, .. }) if self.replies.is_delicate(slot) => return Flow::Wait,
            Ok(Plan::Forward { slot, several }) => {
                let ticket = self.replies.expect(self.about(spec, request));
                if spec.class == Class::Script {
                    self.mind_script(spec, request, slot);
                }
                if several {
                    self.replies.mark_delicate(ticket, slot);
                }
                let replica = self.reads.take_leeway();
                let terms = self.terms(spec, Some(slot), request);
                // No replica keeps track of what was read.
                let replica = replica.filter(|_| terms.own.is_none());
                let terms = Terms { replica, ..terms };
                self.forward(ticket, terms, request, whole);
            }
            Ok(Plan::Split(split)) if self.must_wait(&split) => return Flow::Wait,
            Ok(Plan::Split(split)) => self.send_split(spec, &split, request),
            Ok(Plan::AnyNode) => {
                let ticket = self.replies.expect(self.about(spec, request));
                self.forward(ticket, self.terms(spec, None, request), request, whole);
            }
            Ok(Plan::Wait { slot }) => return blocking::begin(self, spec, request, slot),
            Ok(Plan::Steps) => return steps::begin(self, spec, request),
            Ok(Plan::Transaction) => return transaction::control(self, spec, request),
            Ok(Plan::PubSub) => return pubsub::serve(self, spec, request),
            Ok(Plan::Local) => return local::answer(self, spec, request),
            Err(_) if self.moves_between_databases(spec) => {
                return self.move_key(spec, request, whole);
            }
            Err(error) => return self.fail(family(spec), error.to_string()),
        }
        Flow::Next
    }

    pub(super) fn forward(
        &self,
        ticket: Ticket,
        terms: Terms,
        request: &Request<'_>,
        whole: Option<&Bytes>,
    ) {
        match whole {
            // An inline request's frame is not the bytes it came as.
            Some(bytes) if bytes.len() >= LARGE && bytes.len() == request.frame().len() => {
                self.worker.pool.send_bytes(terms, &self.asker, ticket, bytes.clone());
            }
            _ => self.worker.pool.send(terms, &self.asker, ticket, |out| {
                out.extend_from_slice(request.frame());
            }),
        }
    }

    fn send_split(&self, spec: &CommandSpec, split: &Split, request: &Request<'_>) {
        self.worker.metrics.request_split(split.parts().len());
        let first = self.replies.expect_merge(self.about(spec, request), split.merge());
        for part in split.parts().iter().filter(|part| part.keys() > 1) {
            self.replies.mark_delicate(first, part.slot);
        }
        for (part, number) in split.parts().iter().zip(0..) {
            let terms = self.terms(spec, Some(part.slot), request);
            let ticket = Ticket { part: number, ..first };
            self.worker
                .pool
                .send(terms, &self.asker, ticket, |out| split.write_part(request, part, out));
        }
    }

    fn must_wait(&self, split: &Split) -> bool {
        split.parts().iter().any(|part| self.replies.is_delicate(part.slot))
    }

    pub(super) fn about(&self, spec: &CommandSpec, request: &Request<'_>) -> About {
        About { family: family(spec), muted: self.is_muted(), size: request.frame().len() }
    }

    pub(super) fn terms(
        &self,
        spec: &CommandSpec,
        slot: Option<Slot>,
        request: &Request<'_>,
    ) -> Terms {
        let repeatable = match spec.retry_for(request) {
            Retry::Read => true,
            Retry::Idempotent => self.worker.gateway.settings().backend.retry_idempotent,
            Retry::Never | Retry::Local => false,
        };
        let splittable = spec.class == Class::Split;
        let scripted = spec.class == Class::Script;
        // Without a key there is nothing to keep track of.
        let own = slot.and_then(|_| self.own());
        Terms { repeatable, splittable, scripted, own, ..Terms::new(slot, self.manner()) }
    }

    /// Sends what a node answered with TRYAGAIN again, key by key: a single key never gets it.
    pub(super) fn send_divided(&self) {
        for (ticket, bytes) in self.replies.take_divided() {
            if self.divide(ticket, &bytes).is_none() {
                self.asker.settle(
                    ticket,
                    b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
                );
            }
        }
    }

    fn divide(&self, ticket: Ticket, bytes: &Bytes) -> Option<()> {
        let commands = self.worker.commands();
        let mut parser = RequestParser::new();
        parser.parse(bytes, &self.worker.limits(), true).ok()?;
        let request = parser.request(bytes);
        let spec = commands.resolve(&request).ok()?;
        let keys = KeyByKey::of(spec, &request)?;
        let slot = spec.keys.first(&request).and_then(|at| request.arg(at)).map(Slot::of);
        let order = (0..keys.units()).collect();
        let whole = || Merge::new(spec.merge, order, std::iter::once(keys.units()));
        let tickets = self.replies.divide(ticket, whole)?;
        for (ticket, unit) in tickets.zip(0..) {
            let terms = self.terms(spec, slot, &request);
            self.worker
                .pool
                .send(terms, &self.asker, ticket, |out| keys.write_unit(&request, unit, out));
        }
        Some(())
    }

    /// Sends a request that only reads as it came: to the owner of this slot, or without one to any primary.
    pub(super) fn pass_on(
        &self,
        spec: &CommandSpec,
        request: &Request<'_>,
        slot: Option<Slot>,
    ) -> Flow {
        if self.is_aside() {
            let as_it_is = |reply: &[u8], out: &mut Vec<u8>| out.extend_from_slice(reply);
            steps::ask_aside(self, spec, (slot, request.frame()), as_it_is);
            return Flow::Next;
        }
        let ticket = self.replies.expect(self.about(spec, request));
        let terms = Terms { repeatable: true, ..Terms::new(slot, self.manner()) };
        self.forward(ticket, terms, request, None);
        Flow::Next
    }

    /// Sends the request to any primary, and rewrites its reply.
    pub(super) fn ask_any(
        &self,
        spec: &CommandSpec,
        request: &Request<'_>,
        rewrite: impl FnOnce(&[u8], &mut Vec<u8>) + 'static,
    ) {
        self.ask_any_with(spec, request, request.frame(), rewrite);
    }

    /// The same with another question in the request's place.
    pub(super) fn ask_any_with(
        &self,
        spec: &CommandSpec,
        request: &Request<'_>,
        question: &[u8],
        rewrite: impl FnOnce(&[u8], &mut Vec<u8>) + 'static,
    ) {
        if self.is_aside() {
            return steps::ask_aside(self, spec, (None, question), rewrite);
        }
        let ticket = self.replies.expect_rewrite(self.about(spec, request), Box::new(rewrite));
        let terms = Terms { repeatable: true, ..Terms::new(None, self.manner()) };
        self.worker.pool.send(terms, &self.asker, ticket, |out| out.extend_from_slice(question));
    }
}
