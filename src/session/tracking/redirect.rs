//! Word of changed keys for another client of the gateway, whichever worker it belongs to.
//!
//! The way is bounded: who finds it full says later that any key may have changed, and nothing is missed.

use std::cell::Cell;
use std::rc::{Rc, Weak};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{JoinHandle, spawn_local};

use crate::resp::{Protocol, write};

use super::super::client::Client;
use super::notice::Notice;

/// Messages on their way to one client.
const WAITING: usize = 256;

/// Where word for a client comes in. Dropped, it is closed.
pub(in crate::session) struct Mailbox {
    sender: Sender<Notice>,
    task: JoinHandle<()>,
}

impl Mailbox {
    /// The way to this client.
    pub(in crate::session) fn of(client: &Rc<Client>) -> Sender<Notice> {
        let mut mailbox = client.mailbox.borrow_mut();
        let mailbox = mailbox.get_or_insert_with(|| {
            let (sender, notices) = channel(WAITING);
            Self { sender, task: spawn_local(deliver(notices, Rc::downgrade(client))) }
        });
        mailbox.sender.clone()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn deliver(mut notices: Receiver<Notice>, client: Weak<Client>) {
    while let Some(notice) = notices.recv().await {
        let Some(client) = client.upgrade() else { return };
        let protocol = client.manner().protocol;
        // In RESP2 only a client that subscribes to something can tell a message from a reply.
        if protocol == Protocol::Resp3 || client.subscriptions.get().total() > 0 {
            let (head, keys) = notice.message(protocol);
            client.replies.push(head, &keys);
        }
    }
}

/// The way to another client.
pub(in crate::session) struct Redirect {
    id: i64,
    sender: Sender<Notice>,
    /// It was full: the next that comes through is that any key may have changed.
    behind: Rc<Cell<bool>>,
    broken: bool,
    /// Who has read, for it is told when the other has gone.
    protocol: Protocol,
}

impl Redirect {
    pub(super) fn new(id: i64, sender: Sender<Notice>, protocol: Protocol) -> Self {
        Self { id, sender, behind: Rc::default(), broken: false, protocol }
    }

    /// Who has read speaks another protocol from now on.
    pub(super) fn spoken(self, protocol: Protocol) -> Self {
        Self { protocol, ..self }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Sends word. `false`: there is nobody any more.
    pub(super) fn send(&mut self, notice: Notice) -> bool {
        if self.behind.get() {
            return true;
        }
        match self.sender.try_send(notice) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.behind.set(true);
                spawn_local(catch_up(self.sender.clone(), self.behind.clone()));
                true
            }
            Err(TrySendError::Closed(_)) => {
                self.broken = true;
                false
            }
        }
    }

    /// What a client is told that speaks RESP3.
    pub(super) fn write_broken(&self, out: &mut Vec<u8>) {
        if self.protocol == Protocol::Resp3 {
            write::push(out, self.protocol, 2);
            write::bulk(out, "tracking-redir-broken");
            write::integer(out, self.id);
        }
    }
}

async fn catch_up(sender: Sender<Notice>, behind: Rc<Cell<bool>>) {
    let room = sender.reserve().await;
    behind.set(false);
    if let Ok(room) = room {
        room.send(Notice::ALL);
    }
}
