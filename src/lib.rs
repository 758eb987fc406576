//! slotway: a stateless gateway that gives any client which knows one server a whole Redis or Valkey Cluster.
//!
//! # The path of a request
//!
//! ```text
//!  client                                                                            node
//!    |  runtime::listener::Listener::accept      the worker with the fewest clients    |
//!    v                                                                                 |
//!  session::Session::read            one read, into the worker's buffer                |
//!    | resp::RequestParser::parse    where the arguments stand                         |
//!    v                                                                                 |
//!  session::Conversation::serve      the path on one screen:                           |
//!    | command::Commands::resolve      its row; or unknown, arity                      |
//!    | Conversation::is_free           no rule is about it; or acl::User::check        |
//!    | route::plan                     one slot, one part per slot, any node, here     |
//!    | Replies::expect                 a place in the session's order                  |
//!    v                                                                                 |
//!  backend::Pool::send               slot -> node -> pipeline                          |
//!    | Pipeline::push                copied once, behind other sessions' requests      |
//!    v                                                                                 |
//!  backend::Driver::write            one write for all sessions of this turn --------> |
//!                                                                                      |
//!  backend::Driver::read             one read, many replies <------------------------- |
//!    | resp::ReplyScanner::scan      where the reply ends; it is not looked into       |
//!    | redirect::refusal             MOVED, ASK ..: Pool::refused sends again or holds |
//!    v                                                                                 |
//!  Replies::settle                   its place; merge::Merge::fold if it is a part     |
//!    v                                                                                 |
//!  session::Flusher::run             one write per session and turn
//! ```
//!
//! # Rooms
//!
//! From the bottom up; a room imports only rooms above it in this list, and `tests/layering.rs` holds the
//! exact table.
//!
//! | Room | Its job |
//! |---|---|
//! | [`config`] | typed settings; every mistake reported at once |
//! | [`metrics`] | every metric, one writer each, summed at the scrape |
//! | [`resp`] | bytes to messages and back, no I/O |
//! | [`tls`] | certificates and keys: whom to believe, and how to be believed |
//! | [`merge`] | many partial replies become one |
//! | [`command`] | what every command is: one row each |
//! | [`acl`] | who may run what: users and their rules |
//! | [`cluster`] | who serves a slot: an immutable snapshot |
//! | [`route`] | a request becomes a plan; names slots, knows no connections |
//! | [`backend`] | a worker's connections to the nodes; moves bytes, knows no commands |
//! | [`observe`] | what watches requests, beside their path: audit log, slow log, hot and big keys, traces |
//! | [`session`] | one client, from first byte to last |
//! | [`admin`] | HTTP for machines and people |
//! | [`runtime`] | threads and lifetimes |
//! | [`launch`] | a local cluster of real servers |
//! | [`doctor`] | examines a living cluster: what is wrong, why, and what to do |
//! | [`survey`] | one look at a whole cluster from outside: its shards, and how far each node has come |
//! | [`drill`] | tests failover on a living cluster, and measures what clients see of it |
//! | [`backup`] | a cluster's data to a folder or object storage, and a new cluster made of it |
//! | `simulation` | for tests: a cluster and its clients in memory and simulated time, from a seed |
//!
//! # Invariants
//!
//! * **Replies leave in request order** (`session::replies`), and requests of one session for one slot reach
//!   the node in request order. What is under way was routed under one version of the slot table, and nothing
//!   of it is being redirected or held; else the session pauses until it has all its replies
//!   (`Conversation::must_pause`). The pause costs one round trip, and makes overtaking impossible to write.
//! * **A write never runs twice in silence.** A refusal by a node means that nothing ran, so the request is
//!   sent again. A connection lost after the first byte was written means that nobody knows: reads are sent
//!   again, everything else is answered `UNCERTAIN` (`backend::Pool::lost`).
//! * **A shared connection carries no state**: no SELECT, WATCH or subscription ever goes down a pipeline, and
//!   ASKING is written together with the request it covers. Subscriptions have connections of their own
//!   (`backend::subscription`), one for each worker and node.
//! * **A connection is one user's of the nodes.** Requests of a client whose user is sent as another than the gateway's
//!   own go down connections that were logged in so, and no others (`backend::login`). A client that becomes another
//!   pauses until it has all its replies.
//! * **A message counts from one node at a time**, so none is heard twice; a topic that moves is there before it
//!   is left (`backend::subscription::topics`).
//! * **A client that caches never keeps an old value.** Word of a change leaves behind every reply that may have
//!   carried the value from before it (`session::tracking`), and where word may have been missed, everything is
//!   said to have changed (`backend::lines`).
//! * **What was taken for a client reaches it or goes back.** A wait that is to end early is never just dropped:
//!   the node that may have answered is asked (`session::blocking`).
//! * **A replica answers nothing that the client's own writes could change**: what writes waits until replicas have
//!   answered, and what reads after a write goes to the primary until a replica has it (`session::reads`).
//! * **Nothing is allocated for what is announced**, only for what has arrived.
//! * **Every loop that can hog a worker is bounded** (`ROUNDS`), and then yields.
//! * **A reload takes over everything or nothing**, and a new process serves nobody until it is ready: a mistake in
//!   a file costs a line in the log (`runtime::reload`, `runtime::succession`).
//! * **A transaction runs whole in each slot, or not at all there**, and when the gateway cannot be sure that a
//!   watched key is unchanged, it has changed (`session::transaction`).
//! * Inside a worker, state is shared by `Rc` and `RefCell`, and never borrowed across an await. An
//!   [`backend::Asker`] is called with nothing borrowed in `backend`, and does not send.
//!
//! # What crosses threads
//!
//! From the control thread to the workers: accepted sockets; snapshots of the settings, of the topology, of how
//! replicas stand, of the commands that are known, each with the word that it changed; the word to drain.
//!
//! From a worker to the control thread: "look at the topology" (bounded); spans of traced requests (bounded: more
//! are left out).
//!
//! Between workers (bounded): questions about clients and scripts; how many listen to which channel; changed keys, for
//! a client that is told in another's place.
//!
//! Looked at by all: the users' snapshot and its version, and the log of denials; which node is home to the
//! subscriptions (one `ArcSwap`); what CLIENT PAUSE and MONITOR want of every request (`session::scrutiny`, one counter
//! to look at); what users have sent ahead of their rates, and what clients hold in memory (`session::rates`,
//! `session::memory`, atomics); metrics (atomics with one writer each); what each worker has seen of its requests
//! (`observe::Sights`, one `ArcSwap` each, once a second).
//!
//! To a thread of its own: the replies of a large computation over slots, whose result comes back; records of the
//! audit log (bounded).
//!
//! No locks on the request path, no global state.
//!
//! # Where the code taught better than the plan
//!
//! * A worker's first write of a turn goes out of one task, the [`session::Flusher`], not out of each session's
//!   own: a reply wakes no task at all unless the session waits for it.
//! * Requests stay in their pipeline's buffer until they are answered (`backend::outbox`), so a redirected
//!   request is sent again without every request having been copied for that case.
//! * Order across redirections is kept per session rather than per slot. Replies leave in order anyway, so
//!   waiting for one slot's reply delays nothing that could have left earlier.
//! * A worker's slot table is its own (`backend::routes`): a redirection is learned there at once, without
//!   touching the snapshot that all workers share.
//! * A node that is silent was to be given up. It may only be busy with a long command, so it keeps what it was sent
//!   until it answers or is replaced, and gets nothing new (`backend::health`): fewer writes end as `UNCERTAIN`.
//! * What waits for a slot is not sent again all at once: the oldest goes ahead, the others follow when it was served
//!   (`backend::hold`).
//! * A replica's lag is a time, not a number of bytes (`backend::replicas`): it has what its primary held then. So one
//!   comparison says whether an answer is within the bound and whether it knows what the client wrote. That a key is
//!   missing there is not believed, for a replica of an older server does not know of a migration.
//! * A transaction over several slots was to hold a connection for each of them, with its commands queued there,
//!   until all could run. Now every node gets its block with `DISCARD` at the end first, on the shared
//!   connections: the same certainty, and a pipeline over a hundred slots needs no connection at all.
//! * SCAN's cursor has a mark of 21 bits for the primary and for all that was scanned before it, where the plan
//!   had a slot and 7 bits (`route::cursor`): a slot that moves behind a scan starts it over instead of being
//!   missed.
//! * A script is brought before it is asked for (`session::scripts`), not only after NOSCRIPT, so that what
//!   follows it in a pipeline does not overtake it.
//! * Who waits on several slots watches the keys on one connection per node (`backend::tracking`), but takes the
//!   element through the shared pipeline of its own protocol: redirections end where they always do, and replies
//!   need no translation.
//!
//! # Deliberately absent
//!
//! State that outlives a connection; a second command table; translation between protocols (each client's
//! replies come from connections of its own protocol); retries of writes whose outcome is unknown; a lock.

pub mod config;
pub mod metrics;
pub mod resp;

pub mod tls;

pub mod merge;

pub mod command;

pub mod acl;

pub mod cluster;

pub mod route;

pub mod backend;

pub mod observe;

pub mod session;

pub mod admin;

pub mod runtime;

pub mod launch;

pub mod doctor;

pub mod survey;

pub mod drill;

pub mod backup;
#[cfg(test)]
mod simulation;
