//! Client-side caching: a client is told which of the keys that it has read have changed (`CLIENT TRACKING`).
//!
//! The nodes keep track, each on a connection that the session has for itself ([`Lines`]): requests about keys go
//! down those connections from then on, reads because they are kept track of there, writes so that they keep
//! their order and are known as the client's own.
//!
//! Invariant: a client never keeps an old value because word of a change was missed. What is read where no node
//! keeps track (over several slots, behind WATCH, while waiting) is told as changed right behind its reply; and
//! where word may have been missed, the client is told that any key may have changed.

mod notice;
mod options;
mod redirect;

use std::rc::Rc;

use tokio::sync::mpsc::Sender;
use tokio::task::spawn_local;

use crate::backend::{Agreement, Caching, Lines, Listener};
use crate::command::{Access, Class, CommandSpec};
use crate::resp::{Protocol, Request};

use super::client::Client;
use super::colleagues::Deed;
use super::conversation::Conversation;
use super::local::Selection;
use super::worker::Worker;

use redirect::Redirect;

pub(super) use notice::{Notice, Teller, Way};
pub(super) use options::{Mistake, Options};
pub(super) use redirect::Mailbox;

/// Whether the client will cache the reply to its next request (`CLIENT CACHING`); steps on after each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Announced {
    #[default]
    Nothing,
    /// This request said so of the next one.
    Next(Caching),
    /// It holds for this request.
    This(Caching),
}

impl Announced {
    /// A request has been served. It holds for one request, or for one transaction, and other requests about
    /// the client itself may come between.
    pub(super) fn step(&mut self, lasts: bool) {
        *self = match *self {
            Self::Next(caching) => Self::This(caching),
            Self::This(caching) if lasts => Self::This(caching),
            _ => Self::Nothing,
        };
    }

    /// What it says of the request that is being served.
    pub(super) fn caching(self) -> Caching {
        match self {
            Self::This(caching) => caching,
            Self::Nothing | Self::Next(_) => Caching::Untold,
        }
    }

    /// Whether something was said that holds for the next request.
    pub(super) fn is_said(self) -> bool {
        self != Self::Nothing
    }
}

impl Conversation {
    /// How requests about keys leave: down the session's own connections, if somebody is told of changes.
    pub(super) fn own(&self) -> Option<Caching> {
        self.replies.is_tracked().then(|| self.announced.caching())
    }

    /// A request has been served, or refused.
    pub(super) fn step_announced(&mut self) {
        if self.announced.is_said() {
            let lasts = self.transaction.is_open() || self.client.is_about_itself();
            self.announced.step(lasts);
        }
    }

    /// `CLIENT CACHING` between MULTI and EXEC: all that the transaction reads is kept track of.
    pub(super) fn announce_transaction(&mut self) {
        let opts_in = self.client.tracking.borrow().as_ref().is_some_and(|options| options.opt_in);
        self.announced = if opts_in { Announced::This(Caching::Yes) } else { Announced::Nothing };
    }

    /// Whether requests are under way on connections that the session is about to leave.
    pub(super) fn must_settle(&self) -> bool {
        self.client.tracking.borrow().is_some() && self.replies.unsettled() > 0
    }

    /// No client is told of changes any more. Nothing is under way.
    pub(super) fn stop_tracking(&mut self) {
        self.announced = Announced::Nothing;
        self.client.tracking.take();
        self.replies.track(None, Way::Nobody);
    }

    /// The client speaks another protocol from now on, or has selected another database, and so must its connections.
    /// Nothing is under way.
    pub(super) fn track_again(&self) {
        let Some(options) = self.client.tracking.borrow().clone() else { return };
        let way = match self.replies.track(None, Way::Nobody) {
            Way::There(redirect) => Way::There(redirect.spoken(self.protocol)),
            Way::Here | Way::Nobody => way(self.protocol),
        };
        let lines = lines(&self.worker, &self.client, &options, &way);
        self.replies.track(lines.clone(), way);
        self.replies.missed();
        if let Some(lines) = lines.filter(|_| options.broadcast) {
            let replies = self.replies.clone();
            spawn_local(async move {
                match lines.reach_all().await {
                    Ok(()) => replies.missed(),
                    Err(_) => replies.deafened(),
                }
            });
        }
    }

    /// The request's reply comes from where no node keeps track for this client: what it reads is told as changed
    /// right behind it.
    pub(super) fn disown(&self, spec: &CommandSpec, request: &Request<'_>) {
        if self.replies.is_tracked() && reads(spec) && !self.is_aside() {
            self.replies.follow(self.named(spec, request));
        }
    }

    /// The same for a transaction.
    pub(super) fn disown_collected(&mut self) {
        let keys = std::mem::take(&mut self.collected);
        if !keys.is_empty() && self.replies.is_tracked() {
            self.replies.follow(Notice::of(keys.iter().map(|key| &**key)));
        }
    }

    /// A command of a transaction: should that run where no node keeps track, what it reads is known.
    pub(super) fn collect_reads(&mut self, spec: &CommandSpec, request: &Request<'_>) {
        if !self.replies.is_tracked() || !reads(spec) {
            return;
        }
        let positions = &mut *self.worker.positions.borrow_mut();
        if spec.keys.positions(request, positions).is_ok() {
            let keys = positions.iter().filter_map(|&at| request.arg(at as usize));
            self.collected.extend(keys.map(Box::from));
        }
    }

    /// The request's keys.
    fn named(&self, spec: &CommandSpec, request: &Request<'_>) -> Notice {
        let positions = &mut *self.worker.positions.borrow_mut();
        match spec.keys.positions(request, positions) {
            Ok(()) => {
                let key = |at: &u32| request.arg(*at as usize).unwrap_or_default();
                Notice::of(positions.iter().map(key))
            }
            Err(_) => Notice::ALL,
        }
    }
}

/// Whether a client may cache what the command answers.
fn reads(spec: &CommandSpec) -> bool {
    spec.access == Access::Read || spec.class == Class::Script
}

/// Begins to tell a client of changes. Nothing is under way until this has ended.
pub(super) async fn begin(
    worker: Rc<Worker>,
    client: Rc<Client>,
    options: Options,
) -> Result<(), Mistake> {
    let protocol = client.manner().protocol;
    let way = match options.redirect {
        0 => way(protocol),
        id => Way::There(Redirect::new(id, find(&worker, id).await?, protocol)),
    };
    let lines = lines(&worker, &client, &options, &way);
    if options.broadcast
        && let Some(lines) = &lines
    {
        lines.reach_all().await?;
    }
    let before = client.tracking.replace(Some(Rc::new(options)));
    client.replies.track(lines, way);
    if before.is_some() {
        client.replies.missed();
    }
    Ok(())
}

/// How a client of this protocol is told itself.
fn way(protocol: Protocol) -> Way {
    match protocol {
        Protocol::Resp2 => Way::Nobody,
        Protocol::Resp3 => Way::Here,
    }
}

fn lines(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    options: &Options,
    way: &Way,
) -> Option<Rc<Lines>> {
    if matches!(way, Way::Nobody) {
        return None;
    }
    let agreement = Agreement { manner: client.manner(), options: options.words() };
    let listener: Rc<dyn Listener> = client.replies.clone();
    Some(Lines::new(worker.pool.clone(), agreement, Rc::downgrade(&listener)))
}

/// The way to another client, whichever worker it belongs to.
async fn find(worker: &Rc<Worker>, id: i64) -> Result<Sender<Notice>, Mistake> {
    let found = worker.gateway.colleagues.ask(Selection::of(id), Deed::Hear).await;
    found.into_iter().find_map(|found| found.mailbox).ok_or(Mistake::NoClient)
}
