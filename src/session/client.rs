//! What is known of a client besides its requests: who it is and since when.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use crate::acl::{User, Users};
use crate::backend::{Manner, Micros};
use crate::command::CommandSpec;
use crate::observe::Who;
use crate::resp::Protocol;

use super::blocking::{Ending, Wait};
use super::pubsub::{Subscribed, Tally};
use super::replies::{End, Replies};
use super::socket::Ends;
use super::tracking::{Mailbox, Options};
use super::transaction::Watching;
use super::worker::Worker;

/// Microseconds in a second.
const SECOND: Micros = 1_000_000;

/// One connected client, as CLIENT LIST shows it.
pub struct Client {
    pub(super) id: u64,
    pub(super) ends: Ends,
    pub(super) connected: Micros,
    pub(super) active: Cell<Micros>,
    /// What its requests mean to a node: its protocol, the database that it has selected, and who it is there.
    manner: Cell<Manner>,
    /// It needs no login, or not any more.
    pub(super) authenticated: Cell<bool>,
    /// It has logged in, or needed no login when it connected.
    pub(super) logged_in: Cell<bool>,
    /// Who it is, with the rules as they were when it last sent a request.
    pub(super) user: RefCell<Arc<User>>,
    pub(super) name: RefCell<String>,
    pub(super) library: RefCell<String>,
    pub(super) library_version: RefCell<String>,
    /// Name of the row of its latest request; empty before the first one, or when the row was learned.
    command: Cell<&'static str>,
    /// The name of the row then.
    learned: RefCell<String>,
    pub(super) replies: Rc<Replies>,
    /// How many channels and patterns it listens to.
    pub(super) subscriptions: Cell<Tally>,
    /// Which ones, as long as its session lasts.
    pub(super) subscribed: RefCell<Weak<Subscribed>>,
    /// It listens, or has just published: its next request is looked at for that.
    pub(super) is_special: Cell<bool>,
    /// Its next request waits for its user's turn.
    pub(super) awaits_turn: Cell<bool>,
    /// Its request that waits on purpose, if there is one.
    pub(super) wait: RefCell<Option<Rc<Wait>>>,
    /// How many commands stand behind its MULTI, if it has said that.
    pub(super) collected: Cell<Option<usize>>,
    /// What it watches, as long as it does.
    pub(super) watching: RefCell<Weak<Watching>>,
    /// How it wants to be told of changes to what it has read, if it does.
    pub(super) tracking: RefCell<Option<Rc<Options>>>,
    /// Where it is told of changes to what others have read.
    pub(super) mailbox: RefCell<Option<Mailbox>>,
}

impl Client {
    /// Whether a request of it waits on purpose.
    pub(super) fn is_blocked(&self) -> bool {
        self.wait.borrow().is_some()
    }

    /// Tells such a request to end. False: there is none, or it was told before.
    pub(super) fn end_wait(&self, how: Ending) -> bool {
        self.wait.borrow().as_ref().is_some_and(|wait| wait.end(how))
    }

    /// Whether it waits, and only a look at its socket tells that it has gone.
    pub(super) fn is_deaf(&self) -> bool {
        self.wait.borrow().as_ref().is_some_and(|wait| wait.is_deaf())
    }

    /// It listens to so many from now on.
    pub(super) fn subscribes(&self, tally: Tally) {
        self.subscriptions.set(tally);
        self.is_special.set(true);
    }

    /// Whether there still is its user, and that user may listen to everything that the client listens to.
    pub(super) fn is_welcome(&self, users: &Users) -> bool {
        let subscribed = self.subscribed.borrow().upgrade();
        users
            .again(&self.user.borrow())
            .is_some_and(|user| subscribed.is_none_or(|subscribed| subscribed.is_allowed_to(user)))
    }

    /// What its requests mean to a node.
    pub(super) fn manner(&self) -> Manner {
        self.manner.get()
    }

    /// Its requests mean this from now on. None that meant something else is under way.
    pub(super) fn means(&self, manner: Manner) {
        self.manner.set(manner);
    }

    /// Lets the session's task look at its state.
    pub(super) fn wake(&self) {
        self.replies.wake();
    }

    /// Ends the session in its next turn.
    pub(super) fn kill(&self) {
        self.replies.kill(End::Killed);
    }
}

impl Client {
    /// A client that has just connected.
    pub(super) fn new(worker: &Worker, ends: Ends, replies: Rc<Replies>) -> Rc<Self> {
        let now = worker.clock.tick();
        let users = worker.gateway.access.users();
        let open = users.are_open();
        Rc::new(Self {
            id: worker.gateway.next_client_id(),
            ends,
            connected: now,
            active: Cell::new(now),
            manner: Cell::new(Manner::new(Protocol::Resp2, 0)),
            authenticated: Cell::new(open),
            logged_in: Cell::new(open),
            user: RefCell::new(users.default_user()),
            name: RefCell::default(),
            library: RefCell::default(),
            library_version: RefCell::default(),
            command: Cell::default(),
            learned: RefCell::default(),
            replies,
            subscriptions: Cell::default(),
            subscribed: RefCell::default(),
            is_special: Cell::default(),
            awaits_turn: Cell::default(),
            wait: RefCell::default(),
            collected: Cell::default(),
            watching: RefCell::default(),
            tracking: RefCell::default(),
            mailbox: RefCell::default(),
        })
    }

    /// Its latest request is one of this row.
    pub(super) fn ran(&self, spec: &CommandSpec) {
        match &spec.name {
            Cow::Borrowed(name) => self.command.set(name),
            // It does not outlive its row.
            Cow::Owned(name) => {
                self.command.set("");
                self.learned.borrow_mut().clone_from(name);
            }
        }
    }

    /// How one of its requests is called, in all logs.
    pub(super) fn request_id(&self, number: u32) -> String {
        format!("{}-{number}", self.id)
    }

    /// Who it is, for what is noted of its requests.
    pub(super) fn who(&self) -> Who {
        Who {
            client: self.ends.client.to_string(),
            name: self.name.borrow().clone(),
            user: String::from_utf8_lossy(self.user.borrow().name()).into_owned(),
        }
    }

    /// The name of its latest request; empty when that was none.
    pub(super) fn command(&self) -> String {
        match self.command.get() {
            "" => self.learned.borrow().clone(),
            name => name.to_owned(),
        }
    }

    /// Whether its latest request was one of the CLIENT family.
    pub(super) fn is_about_itself(&self) -> bool {
        self.command.get().starts_with("CLIENT")
    }

    /// Its latest request was none.
    pub(super) fn ran_nothing(&self) {
        self.command.set("");
        self.learned.borrow_mut().clear();
    }

    /// What others see of it; `None` when it is on its way out.
    pub(super) fn portrait(&self, now: Micros) -> Option<Portrait> {
        if self.replies.end().is_some() {
            return None;
        }
        let (requests, bytes) = self.replies.waiting();
        Some(Portrait {
            id: self.id,
            ends: self.ends.clone(),
            age: now.saturating_sub(self.connected) / SECOND,
            idle: now.saturating_sub(self.active.get()) / SECOND,
            protocol: self.manner().protocol,
            database: self.manner().database,
            name: self.name.borrow().clone(),
            library: self.library.borrow().clone(),
            library_version: self.library_version.borrow().clone(),
            command: self.command(),
            subscriptions: self.subscriptions.get(),
            user: String::from_utf8_lossy(self.user.borrow().name()).into_owned(),
            waiting: (requests, bytes),
            blocked: self.is_blocked(),
            collected: self.collected.get(),
            watched: self.watching.borrow().upgrade().map_or(0, |watching| watching.count()),
            tracking: self.tracking.borrow().clone(),
            broken: self.replies.is_redirection_broken(),
        })
    }
}

/// A client at one moment. Displayed, it is its line in CLIENT LIST.
#[derive(Clone, Debug)]
pub(super) struct Portrait {
    pub(super) id: u64,
    pub(super) ends: Ends,
    /// Seconds since it connected.
    pub(super) age: u64,
    /// Seconds since its last byte.
    pub(super) idle: u64,
    pub(super) protocol: Protocol,
    pub(super) database: u16,
    pub(super) name: String,
    pub(super) library: String,
    pub(super) library_version: String,
    pub(super) command: String,
    pub(super) subscriptions: Tally,
    pub(super) user: String,
    /// Replies and bytes that wait to leave.
    pub(super) waiting: (usize, usize),
    /// Its request waits on purpose.
    pub(super) blocked: bool,
    /// Commands behind its MULTI, if it has said that.
    pub(super) collected: Option<usize>,
    /// Keys that it watches.
    pub(super) watched: usize,
    /// How it is told of changes to what it has read.
    pub(super) tracking: Option<Rc<Options>>,
    /// The client that was to be told in its place has gone.
    pub(super) broken: bool,
}

impl Portrait {
    /// As a server shows them, in its order.
    fn flags(&self) -> String {
        let broadcast = self.tracking.as_ref().is_some_and(|options| options.broadcast);
        let flags = [
            (self.subscriptions.total() > 0, 'P'),
            (self.collected.is_some(), 'x'),
            (self.blocked, 'b'),
            (self.tracking.is_some(), 't'),
            (self.broken, 'R'),
            (broadcast, 'B'),
        ];
        let set: String = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).collect();
        if set.is_empty() { "N".to_owned() } else { set }
    }
}

impl fmt::Display for Portrait {
    /// The fields and their order are those of a 7.4 server. What the gateway has nothing of is 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, ends: Ends { client, local }, age, idle, name, .. } = self;
        let flags = self.flags();
        let redirect = self.tracking.as_ref().map_or(-1, |options| options.redirect);
        write!(f, "id={id} addr={client} laddr={local} fd=0 name={name}")?;
        let Tally { channels, patterns, shards } = self.subscriptions;
        write!(f, " age={age} idle={idle} flags={flags} db={}", self.database)?;
        write!(f, " sub={channels} psub={patterns} ssub={shards}")?;
        let collected = self.collected.map_or(-1, |commands| commands as i64);
        write!(f, " multi={collected} watch={}", self.watched)?;
        f.write_str(" qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0")?;
        let (replies, bytes) = self.waiting;
        write!(f, " oll={replies} omem={bytes} tot-mem={bytes} events=r")?;
        let command = match &*self.command {
            "" => "NULL".to_owned(),
            name => name.to_ascii_lowercase().replace(' ', "|"),
        };
        let protocol = match self.protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        };
        let (library, version, user) = (&self.library, &self.library_version, &self.user);
        write!(f, " cmd={command} user={user} redir={redirect} resp={protocol}")?;
        write!(f, " lib-name={library} lib-ver={version}")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::socket::Address;
    use super::*;

    pub(in crate::session) fn portrait(id: u64) -> Portrait {
        Portrait {
            id,
            ends: Ends {
                client: Address::Ip("127.0.0.1:50000".parse().unwrap()),
                local: Address::Ip("[::1]:6379".parse().unwrap()),
            },
            age: 100,
            idle: 5,
            protocol: Protocol::Resp2,
            database: 0,
            name: String::new(),
            library: String::new(),
            library_version: String::new(),
            command: String::new(),
            subscriptions: Tally::default(),
            user: "default".to_owned(),
            waiting: (0, 0),
            blocked: false,
            collected: None,
            watched: 0,
            tracking: None,
            broken: false,
        }
    }

    #[test]
    fn the_line_of_a_client() {
        assert_eq!(
            portrait(7).to_string(),
            "id=7 addr=127.0.0.1:50000 laddr=[::1]:6379 fd=0 name= age=100 idle=5 flags=N db=0 \
             sub=0 psub=0 ssub=0 multi=-1 watch=0 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 \
             obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=NULL user=default redir=-1 resp=2 \
             lib-name= lib-ver="
        );
        let named = Portrait {
            protocol: Protocol::Resp3,
            database: 3,
            name: "worker-1".to_owned(),
            library: "redis-py".to_owned(),
            library_version: "8.0.0".to_owned(),
            command: "CLIENT LIST".to_owned(),
            subscriptions: Tally { channels: 1, patterns: 2, shards: 3 },
            waiting: (3, 90),
            blocked: true,
            collected: Some(2),
            watched: 3,
            ..portrait(8)
        };
        let line = named.to_string();
        for field in [
            " name=worker-1 ",
            " flags=Pxb db=3 ",
            " sub=1 psub=2 ssub=3 multi=2 watch=3 ",
            " oll=3 omem=90 ",
            " cmd=client|list ",
            " resp=3 lib-name=redis-py lib-ver=8.0.0",
        ] {
            assert!(line.contains(field), "{field}: {line}");
        }
    }
}
