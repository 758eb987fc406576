//! What one worker counts, and the method called where each event happens.

mod caching;
mod calm;
mod totals;

use std::sync::Arc;

use super::label::{Family, Limit, Outcome, Redirect, Rejection};
use super::node::{NodeMetrics, NodeTable};
use super::series::{
    Counter, Few, Gauge, PerFamily, PerLimit, PerOutcome, PerRedirect, PerRejection, Seconds,
    series,
};

series! {
    /// Each field beside the name and the help of its metric.
    struct WorkerSeries {
        sessions: Gauge = "slotway_sessions",
            "Client connections open now.";
        sessions_opened: Counter = "slotway_sessions_opened_total",
            "Client connections accepted.";
        sessions_rejected: PerRejection<Counter> = "slotway_sessions_rejected_total",
            "Client connections closed by the gateway, by reason.";
        accept_pauses: Counter = "slotway_accept_pauses_total",
            "Pauses in accepting clients for want of file descriptors or memory.";
        limits_reached: PerLimit<Counter> = "slotway_limits_reached_total",
            "Times that a limit made a request wait or refused it, by limit.";
        client_memory: Gauge = "slotway_client_memory_bytes",
            "Bytes of requests and replies that are held for clients now, without those of clients that hold little.";
        rate_seconds: Seconds = "slotway_rate_wait_seconds",
            "How long requests waited because their user was ahead of its rate.";
        blocked: Gauge = "slotway_blocked_clients",
            "Clients with a request that waits for data.";
        elements_returned: Counter = "slotway_returned_elements_total",
            "Elements that were put back because the client that waited for them had gone.";
        client_read: Counter = "slotway_client_read_bytes_total",
            "Bytes read from clients.";
        client_written: Counter = "slotway_client_written_bytes_total",
            "Bytes written to clients.";
        requests: PerFamily<PerOutcome<Counter>> = "slotway_requests_total",
            "Requests answered, by command family and outcome.";
        request_seconds: PerFamily<Seconds> = "slotway_request_duration_seconds",
            "Time from a request's arrival to its answer, by command family.";
        request_parts: Few = "slotway_request_parts",
            "Parts of the requests that were split over slots or nodes.";
        partial_failures: Counter = "slotway_partial_failures_total",
            "Split requests of which some parts failed and others did not.";
        gathers: Counter = "slotway_gathers_total",
            "Requests that were computed from several slots.";
        transactions_spread: Counter = "slotway_transactions_spread_total",
            "Transactions over several slots: each slot's part is atomic, the whole is not.";
        acl_denials: Counter = "slotway_acl_denials_total",
            "Requests that the user's rules denied.";
        login_failures: Counter = "slotway_login_failures_total",
            "Logins with a wrong user or password.";
        node_seconds: Seconds = "slotway_node_duration_seconds",
            "The part of a request's time between sending it to a node and the node's reply.";
        node_read: Counter = "slotway_node_read_bytes_total",
            "Bytes read from nodes.";
        node_written: Counter = "slotway_node_written_bytes_total",
            "Bytes written to nodes.";
        pending: Gauge = "slotway_pending_requests",
            "Requests sent to nodes and not answered yet.";
        pipelines: Gauge = "slotway_pipelines",
            "Shared connections to nodes that are open now.";
        pipelines_opened: Counter = "slotway_pipelines_opened_total",
            "Shared connections to nodes that were opened.";
        pipelines_lost: Counter = "slotway_pipelines_lost_total",
            "Shared connections to nodes that broke.";
        connect_failures: Counter = "slotway_connect_failures_total",
            "Attempts to connect to a node that failed.";
        logins_refused: Counter = "slotway_node_logins_refused_total",
            "Times that a node did not let in the user of `cluster.logins` for whom a connection was to be made.";
        probes: Counter = "slotway_probes_total",
            "Health probes sent to nodes that had not answered for a while.";
        probe_failures: Counter = "slotway_probe_failures_total",
            "Health probes that a node did not answer in time.";
        redirects: PerRedirect<Counter> = "slotway_redirects_total",
            "Answers by which a node declined a request, by kind.";
        retries: Counter = "slotway_retries_total",
            "Requests sent to a node again.";
        retries_postponed: Counter = "slotway_retries_postponed_total",
            "Times that held requests of a slot were not sent again yet, because there were many retries already.";
        held: Gauge = "slotway_held_requests",
            "Requests that wait for a node or a slot to come back.";
        holds: Counter = "slotway_holds_total",
            "Requests that had to wait for a node or a slot to come back.";
        hold_seconds: Seconds = "slotway_hold_duration_seconds",
            "How long held requests waited.";
        hold_rejections: Counter = "slotway_hold_rejections_total",
            "Requests refused because too many were held already.";
        scripts_brought: Counter = "slotway_scripts_brought_total",
            "Scripts sent to nodes that did not have them, or might not have.";
        replica_reads: Counter = "slotway_replica_reads_total",
            "Requests that a replica answered.";
        replica_fallbacks: Counter = "slotway_replica_fallbacks_total",
            "Requests that a replica was asked, and then the primary: the replica refused, lagged or had nothing.";
        uncertain: Counter = "slotway_uncertain_total",
            "Requests whose node was lost after they were sent and that may not be repeated.";
        subscriptions: Gauge = "slotway_subscriptions",
            "Channels and patterns that clients are subscribed to now.";
        messages_delivered: Counter = "slotway_messages_delivered_total",
            "Published messages passed on to clients, once for each subscription.";
        subscription_gaps: Counter = "slotway_subscription_gaps_total",
            "Channels and patterns of which messages may have been missed, because a node was lost or a slot moved.";
        slow_subscribers: Counter = "slotway_slow_subscribers_total",
            "Subscribers disconnected because they left too many messages unread.";
        leases: Gauge = "slotway_leases",
            "Connections to nodes that single clients have for themselves, or that are kept for them.";
        tracking_connections: Gauge = "slotway_tracking_connections",
            "Connections to nodes that single clients hold to learn which cached keys have changed.";
        invalidations: Counter = "slotway_invalidations_total",
            "Messages by which clients learned that cached keys have changed.";
        cache_flushes: Counter = "slotway_cache_flushes_total",
            "Clients told to drop all they had cached, because a node was lost or a slot moved.";
        panics: Counter = "slotway_panics_total",
            "Panics, each of which ended one session.";
    }
}

/// What one worker counts. Only its worker may call the methods; anyone may read.
// Aligned so that two workers never write to one cache line, nor to a pair fetched together.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerMetrics {
    series: WorkerSeries,
    nodes: NodeTable,
}

impl WorkerMetrics {
    /// A client connected.
    #[inline]
    pub fn session_opened(&self) {
        self.series.sessions_opened.add(1);
        self.series.sessions.add(1);
    }

    /// A client's connection ended.
    #[inline]
    pub fn session_closed(&self) {
        self.series.sessions.add(-1);
    }

    /// The gateway closed a client's connection. One that was opened is closed as well.
    #[inline]
    pub fn session_rejected(&self, reason: Rejection) {
        self.series.sessions_rejected.at(reason).add(1);
    }

    /// Accepting pauses: there are no file descriptors left, or no memory for sockets.
    pub fn accepting_paused(&self) {
        self.series.accept_pauses.add(1);
    }

    /// A limit made a request wait, or refused it.
    #[inline]
    pub fn limit_reached(&self, limit: Limit) {
        self.series.limits_reached.at(limit).add(1);
    }

    /// So many bytes are held for clients.
    pub fn memory_held(&self, bytes: usize) {
        self.series.client_memory.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// A request waits for so long because its user is ahead of its rate.
    #[inline]
    pub fn rate_waited(&self, micros: u32) {
        self.series.rate_seconds.record(micros);
    }

    /// The number of clients with a request that waits for data changed by `delta`.
    #[inline]
    pub fn blocked(&self, delta: i64) {
        self.series.blocked.add(delta);
    }

    /// What was taken for a client that has gone is put back.
    #[inline]
    pub fn element_returned(&self) {
        self.series.elements_returned.add(1);
    }

    /// Bytes came from a client.
    #[inline]
    pub fn client_read(&self, bytes: usize) {
        self.series.client_read.add(bytes as u64);
    }

    /// Bytes went to a client.
    #[inline]
    pub fn client_written(&self, bytes: usize) {
        self.series.client_written.add(bytes as u64);
    }

    /// Bytes came from a node.
    #[inline]
    pub fn node_read(&self, bytes: usize) {
        self.series.node_read.add(bytes as u64);
    }

    /// Bytes went to a node.
    #[inline]
    pub fn node_written(&self, bytes: usize) {
        self.series.node_written.add(bytes as u64);
    }

    /// A request is answered, `micros` microseconds after it arrived.
    #[inline]
    pub fn request_settled(&self, family: Family, outcome: Outcome, micros: u32) {
        self.series.requests.at(family).at(outcome).add(1);
        self.series.request_seconds.at(family).record(micros);
    }

    /// A node answered, `micros` microseconds after the request was sent to it.
    #[inline]
    pub fn node_settled(&self, micros: u32) {
        self.series.node_seconds.record(micros);
    }

    /// A request became several, sent to several slots or nodes.
    #[inline]
    pub fn request_split(&self, parts: usize) {
        self.series.request_parts.record(u32::try_from(parts).unwrap_or(u32::MAX));
    }

    /// Some parts of a split request failed and others did not.
    #[inline]
    pub fn partial_failure(&self) {
        self.series.partial_failures.add(1);
    }

    /// A request is computed from what several slots hold.
    #[inline]
    pub fn request_gathered(&self) {
        self.series.gathers.add(1);
    }

    /// A transaction over several slots runs.
    #[inline]
    pub fn transaction_spread(&self) {
        self.series.transactions_spread.add(1);
    }

    /// A node declined a request.
    #[inline]
    pub fn redirected(&self, kind: Redirect) {
        self.series.redirects.at(kind).add(1);
    }

    /// A script is sent to a node, because a client counts on it.
    #[inline]
    pub fn script_brought(&self) {
        self.series.scripts_brought.add(1);
    }

    /// A shared connection to a node is ready for requests.
    #[inline]
    pub fn pipeline_opened(&self) {
        self.series.pipelines_opened.add(1);
        self.series.pipelines.add(1);
    }

    /// A shared connection ended: `lost` when nobody here wanted it to.
    #[inline]
    pub fn pipeline_closed(&self, lost: bool) {
        self.series.pipelines.add(-1);
        self.series.pipelines_lost.add(u64::from(lost));
    }

    /// A connection to a node could not be made.
    #[inline]
    pub fn connect_failed(&self) {
        self.series.connect_failures.add(1);
    }

    /// The number of requests in flight changed by `delta`.
    #[inline]
    pub fn pending(&self, delta: i64) {
        self.series.pending.add(delta);
    }

    /// The user's rules denied a request.
    #[inline]
    pub fn acl_denied(&self) {
        self.series.acl_denials.add(1);
    }

    /// A client gave a wrong user or password.
    #[inline]
    pub fn login_failed(&self) {
        self.series.login_failures.add(1);
    }

    /// The number of subscriptions of clients changed by `delta`.
    #[inline]
    pub fn subscriptions(&self, delta: i64) {
        self.series.subscriptions.add(delta);
    }

    /// A message was passed on to so many subscriptions.
    #[inline]
    pub fn messages_delivered(&self, count: usize) {
        self.series.messages_delivered.add(count as u64);
    }

    /// Messages of a channel or a pattern may have been missed.
    #[inline]
    pub fn subscription_interrupted(&self) {
        self.series.subscription_gaps.add(1);
    }

    /// The gateway closed a subscriber's connection because it read too slowly.
    #[inline]
    pub fn slow_subscriber_rejected(&self) {
        self.session_rejected(Rejection::OutputLimit);
        self.series.slow_subscribers.add(1);
    }

    /// So many leases are taken or kept.
    pub fn leases(&self, count: usize) {
        self.series.leases.set(count as i64);
    }

    /// A panic ended a session.
    pub fn panicked(&self) {
        self.series.panics.add(1);
    }

    /// What this worker counts for the node at `address` (`host:port`): ask once per node and
    /// keep the answer.
    pub fn node(&self, address: &str) -> Arc<NodeMetrics> {
        self.nodes.entry(address)
    }

    /// The node left the cluster: its series leave the exposition.
    pub fn forget_node(&self, address: &str) {
        self.nodes.forget(address);
    }

    pub(super) fn series(&self) -> &WorkerSeries {
        &self.series
    }

    pub(super) fn nodes(&self) -> &NodeTable {
        &self.nodes
    }
}
