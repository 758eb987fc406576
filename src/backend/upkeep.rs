//! A pool's connections over time: dialled, driven, lost, and looked after by the clock.

use std::rc::Rc;
use std::time::Duration;

use crate::cluster::Health;
use crate::config;
use crate::resp::write;

use super::clock::{Micros, micros};
use super::connect::{self, ConnectError};
use super::driver::Driver;
use super::node::Node;
use super::pending::Orphan;
use super::pipeline::Pipeline;
use super::pool::{Hint, Pool, Reason};
use super::{Cause, Login, Manner, Question, UNCERTAIN};

/// How often deadlines and silent nodes are looked for.
const TICK: Duration = Duration::from_millis(100);
/// The same while requests are held.
const HOLD_TICK: Duration = Duration::from_millis(5);
/// A connection for the users of one login is kept for so long when they send nothing.
const IDLE: Micros = 60_000_000;

impl Pool {
    /// Looks after held requests, deadlines and silent nodes, for as long as the worker lives.
    pub async fn attend(self: Rc<Self>) {
        let mut looked = 0;
        let scouts = self.hold.borrow().reports();
        loop {
            let pause = if self.hold.borrow().is_empty() { TICK } else { HOLD_TICK };
            tokio::select! {
                biased;
                () = tokio::time::sleep(pause) => {}
                () = scouts.arrived.notified() => {}
                () = self.held.notified() => continue,
            }
            let now = self.parts.clock.tick();
            self.attend_held(now);
            if now - looked >= micros(TICK) {
                looked = now;
                self.give_up_late(now);
                self.look_after_pipelines(now);
                if !self.hold.borrow().is_empty() {
                    (self.parts.hint)(Hint { reason: Reason::Held, node: "" });
                }
            }
        }
    }

    /// A connection from dialling to its end.
    pub(super) async fn drive(self: Rc<Self>, pipeline: Rc<Pipeline>) {
        let handshake = self.handshake(pipeline.manner());
        let node = pipeline.node().clone();
        let why = match connect::dial(&node.address, &handshake).await {
            Ok(stream) => {
                self.parts.clock.tick();
                node.opened();
                node.barred.lift(pipeline.manner().login);
                node.metrics.set_up(true);
                node.metrics.pipeline_opened();
                self.parts.metrics.pipeline_opened();
                let why = Driver::new(self.clone(), pipeline.clone(), stream).await;
                node.ended();
                let lost = pipeline.pending() > 0;
                node.metrics.pipeline_closed(lost);
                self.parts.metrics.pipeline_closed(lost);
                tracing::info!(node = %node.address, reason = %why, pending = pipeline.pending(), "connection ended");
                Rc::from(format!("{}: {why}", node.address))
            }
            Err(error) => match self.bars(&node, pipeline.manner(), &error) {
                Some(why) => return self.turn_away(&pipeline, &why),
                None => self.unreachable(&node, &error),
            },
        };
        node.close(&pipeline);
        self.lost(&pipeline, &why);
    }

    /// Whether the node does not let this user in, for whom a connection could not be made, and serves all others.
    /// Says so in words for the client.
    pub(super) fn bars(
        &self,
        node: &Node,
        manner: Manner,
        error: &ConnectError,
    ) -> Option<Rc<str>> {
        if manner.login == Login::OWN || !error.bars_user() {
            return None;
        }
        self.parts.metrics.login_refused();
        let text = format!("the nodes refuse the login of this user (cluster.logins): {error}");
        let (why, settings): (Rc<str>, _) = (text.into(), self.settings());
        let pause = |failures| backoff(failures, &settings.backend);
        if node.barred.add(manner.login, why.clone(), self.parts.clock.tick(), pause) {
            tracing::warn!(node = %node.address, reason = %error, "node refuses the login of a user");
        }
        Some(why)
    }

    /// A node does not let the user in whose connection this was to be. A replica need not: its primary may.
    fn turn_away(self: &Rc<Self>, pipeline: &Rc<Pipeline>, why: &Rc<str>) {
        pipeline.node().close(pipeline);
        for Orphan { errand, .. } in pipeline.orphans() {
            if pipeline.manner().is_readonly {
                self.ask_primary(errand);
            } else {
                self.give_up(errand, &Cause::Barred(why.clone()));
            }
        }
    }

    /// A node could not be dialled: notes that, and says why in words.
    pub(super) fn unreachable(&self, node: &Node, error: &ConnectError) -> Rc<str> {
        let why: Rc<str> = error.to_string().into();
        if error.lacks_database() {
            // That is between it and those who want this database.
            return why;
        }
        node.metrics.set_up(false);
        node.metrics.connect_failed();
        self.parts.metrics.connect_failed();
        let settings = self.settings();
        let pause = |failures| backoff(failures, &settings.backend);
        if node.went_down(self.parts.clock.tick(), why.clone(), pause) {
            tracing::warn!(node = %node.address, reason = %why, "node cannot be reached");
        }
        why
    }

    /// A connection is gone: what had not been sent, or may be repeated, waits for a better one.
    pub(super) fn lost(self: &Rc<Self>, pipeline: &Rc<Pipeline>, why: &Rc<str>) {
        (self.parts.hint)(Hint { reason: Reason::Lost, node: &pipeline.node().address });
        let streaming = pipeline.is_streaming();
        for (at, Orphan { mut errand, touched }) in pipeline.orphans().into_iter().enumerate() {
            let Question { asker, ticket, terms, .. } = &errand.question;
            if at == 0 && streaming && !asker.retract(*ticket) {
                continue;
            }
            if pipeline.manner().is_readonly {
                self.ask_primary(errand);
                continue;
            }
            if touched && !terms.repeatable {
                self.parts.metrics.uncertain();
                let mut reply = Vec::new();
                write::error(&mut reply, UNCERTAIN);
                errand.notice(&self.attention, self.parts.clock.now(), reply.len());
                asker.settle(*ticket, &reply);
                continue;
            }
            if !touched && terms.pinned && errand.question.tries == 0 {
                // Its connection was being closed for want of work.
                errand.question.tries = 1;
                self.dispatch_to(pipeline.node(), errand, false);
                continue;
            }
            self.hold(errand, Cause::Lost(why.clone()));
        }
    }

    /// Cuts connections whose oldest request is past its deadline, or whose node is silent and was replaced.
    fn look_after_pipelines(self: &Rc<Self>, now: Micros) {
        let deadline = micros(self.settings().backend.request_timeout);
        let silence = micros(self.settings().backend.probe_interval);
        let pipelines: Vec<Rc<Pipeline>> =
            self.routes.borrow().nodes().flat_map(|node| node.pipelines()).collect();
        for pipeline in pipelines {
            let node = pipeline.node();
            let reads = pipeline.manner().is_readonly && node.copies.get();
            let owns = reads || node.owns.get() || self.is_home_node(node);
            match pipeline.waiting() {
                // What a session has for itself may lead to a node that is still to be given its first slot.
                None if !owns && !pipeline.is_own() => {
                    pipeline.cut("the node serves no slot any more".into());
                }
                None if pipeline.is_for_few() && pipeline.has_rested(now, IDLE) => {
                    pipeline.cut("its users have been idle".into());
                    node.close(&pipeline);
                }
                None => {}
                Some((born, _)) if now.saturating_sub(born) > deadline => {
                    pipeline.cut(
                        format!("no reply within {:?}", self.settings().backend.request_timeout)
                            .into(),
                    );
                }
                Some((_, heard)) if now.saturating_sub(heard) > silence => {
                    self.probe(node);
                    (self.parts.hint)(Hint { reason: Reason::Silent, node: &node.address });
                    if !owns && !self.is_live_replica(&node.address) {
                        pipeline.cut("silent, and the node serves no slot any more".into());
                    }
                }
                Some(_) => {}
            }
        }
        self.routes.borrow_mut().forget_idle();
    }

    /// Whether the cluster takes the node for a working replica. What is sent to one is for that node alone, and
    /// may take its time: `SAVE`, for instance.
    fn is_live_replica(&self, address: &str) -> bool {
        let topology = self.topology();
        let mut replicas = topology.shards().iter().flat_map(|shard| &shard.replicas);
        replicas.any(|node| *node.address == *address && node.health == Health::Online)
    }
}

/// The pause before dialling again: doubled with each failure, less up to a quarter so that workers and
/// gateways do not dial together.
pub(super) fn backoff(failures: u32, settings: &config::Backend) -> Micros {
    let longest = micros(settings.reconnect_max);
    let pause = micros(settings.reconnect_min).saturating_mul(1 << failures.min(16)).min(longest);
    pause - fastrand::u64(0..=pause / 4)
}
