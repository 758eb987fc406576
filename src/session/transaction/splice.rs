//! Commands in a transaction that the gateway answers itself: their replies are put into EXEC's array.
//!
//! They run when the nodes have run their part, and not at all when a watched key has changed. So EXEC is served
//! twice: it sends the blocks, the session pauses, and the second time the gateway's own commands are answered.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use tokio::task::spawn_local;

use crate::command::CommandSpec;
use crate::metrics::Family;
use crate::resp::{Request, RequestParser};
use crate::route::{Plan, plan};

use super::super::client::Client;
use super::super::conversation::{Aside, Conversation, Flow};
use super::super::family::family;
use super::super::{local, steps};
use super::exec::{Done, Stop};
use super::{State, control};

type Outcome = Result<Done, Stop>;

/// A transaction whose blocks are on their way.
pub(super) struct Running {
    here: Vec<Bytes>,
    /// All commands, those of the blocks among them.
    commands: usize,
    done: Rc<Cell<bool>>,
    outcome: Rc<RefCell<Option<Outcome>>>,
}

impl Running {
    /// Lets the blocks run, and wakes the session when they have ended.
    pub(super) fn start(
        client: Rc<Client>,
        (here, commands): (Vec<Bytes>, usize),
        blocks: impl Future<Output = Outcome> + 'static,
    ) -> Self {
        let (done, outcome) = (Rc::new(Cell::new(false)), Rc::new(RefCell::new(None)));
        let running = Self { here, commands, done: done.clone(), outcome: outcome.clone() };
        // As in `Conversation::answer_later`.
        let blocks = Box::pin(blocks);
        spawn_local(async move {
            let ended = blocks.await;
            outcome.replace(Some(ended));
            done.set(true);
            client.wake();
        });
        running
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.get()
    }

    pub(super) fn commands(&self) -> usize {
        self.commands
    }
}

/// EXEC for the second time.
pub(super) fn finish(conversation: &mut Conversation, spec: &CommandSpec) -> Flow {
    let State::Running(running) = std::mem::take(&mut conversation.transaction.state) else {
        return Flow::Next;
    };
    let protocol = conversation.protocol;
    let done = match running.outcome.take().unwrap_or(Err(Stop::Unexpected)) {
        Ok(done) => done,
        Err(stop) => {
            return conversation.answer(family(spec), |out| out.extend(stop.reply(protocol)));
        }
    };
    let mut flow = Flow::Next;
    let mut replies = Vec::new();
    for frame in &running.here {
        let (next, reply) = conversation.aside(|conversation| answer(conversation, frame));
        flow = if next == Flow::Close { next } else { flow };
        replies.push(reply);
    }
    conversation.answer_later(family(spec), async move {
        let mut here = Vec::new();
        for reply in replies {
            here.push(match reply {
                Aside::Ready(reply) => reply,
                Aside::Later(reply) => reply.await,
                Aside::Missing => return Stop::Unexpected.reply(protocol),
            });
        }
        done.reply(&here).unwrap_or_else(|stop| stop.reply(protocol))
    });
    conversation.disown_collected();
    flow
}

/// Answers one command, as if it stood outside of the transaction.
fn answer(conversation: &mut Conversation, frame: &Bytes) -> Flow {
    let worker = conversation.worker.clone();
    let commands = worker.commands();
    let mut parser = RequestParser::new();
    let request: Request<'_> = match parser.parse(frame, &worker.limits(), true) {
        Ok(_) => parser.request(frame),
        Err(error) => return conversation.fail(Family::Other, error.to_string()),
    };
    let spec = match commands.resolve(&request) {
        Ok(spec) => spec,
        Err(error) => return conversation.fail(Family::Other, error.line()),
    };
    let plan = plan(spec, &request, worker.reach(), &mut worker.positions.borrow_mut());
    match plan {
        Ok(Plan::Local) => local::answer(conversation, spec, &request),
        Ok(Plan::Steps) => steps::begin(conversation, spec, &request),
        Ok(Plan::Transaction) => control(conversation, spec, &request),
        Ok(_) => {
            let text = conversation.dialect().not_in_a_transaction(spec);
            conversation.fail(family(spec), text)
        }
        Err(error) => conversation.fail(family(spec), error.to_string()),
    }
}
