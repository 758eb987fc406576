//! No traces.

use std::cell::OnceCell;
use std::rc::{Rc, Weak};

use crate::backend::{Micros, Noticed, Ticket};
use crate::metrics::Outcome;

use super::super::client::Client;
use super::super::worker::Gateway;

pub(in crate::session) struct Tracing;

#[derive(Clone, Default)]
pub(in crate::session) struct Trail(());

#[derive(Default)]
pub(in crate::session) struct Traced(());

impl Tracing {
    pub(in crate::session) fn new(_: &Gateway) -> Self {
        Self
    }

    pub(in crate::session) fn aim(&self) {}

    #[inline]
    pub(in crate::session) fn begin(
        &self,
        _: &OnceCell<Weak<Client>>,
        _: Ticket,
        _: Micros,
    ) -> Trail {
        Trail(())
    }

    pub(in crate::session) fn noticed(&self, _: &Client, _: &Noticed, _: &Trail) {}
}

impl Trail {
    #[inline]
    pub(in crate::session) fn mark(&self, ticket: Ticket) -> Ticket {
        ticket
    }

    pub(in crate::session) fn noticed(&self, _: &Noticed) {}

    pub(in crate::session) fn leased(&self, _: &Rc<str>, _: &[u8], _: (Micros, Micros), _: &[u8]) {}
}

impl Traced {
    #[inline]
    pub(in crate::session) fn add(&mut self, _: Ticket, _: Trail) {}

    pub(in crate::session) fn trail(&self, _: Ticket) -> Trail {
        Trail(())
    }

    pub(in crate::session) fn latest(&self) -> Trail {
        Trail(())
    }

    #[inline]
    pub(in crate::session) fn settled(&mut self, _: u32, _: Outcome, _: Micros) {}
}
