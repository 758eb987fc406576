//! Worker threads: each one runtime, its own sessions, its own connections to the nodes.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;
use tokio_util::sync::CancellationToken;

use crate::backend::{Clock, Hint, Home, Pool, PoolParts, Standings};
use crate::cluster::Topology;
use crate::metrics::WorkerMetrics;
use crate::session::{Accepted, Gateway, Inbox, Session, Worker};

use super::topology::Wanted;

/// One read's worth of bytes; a worker needs one such buffer.
const SCRATCH: usize = 64 << 10;
/// How often the end of a drain is looked for.
const DRAIN_TICK: Duration = Duration::from_millis(5);

/// What the control thread keeps of a worker.
struct Post {
    sockets: mpsc::UnboundedSender<Accepted>,
    /// Clients given to it and not gone.
    load: Arc<AtomicUsize>,
}

/// All worker threads, as the control thread sees them.
pub(super) struct Workers {
    posts: Vec<Post>,
    draining: CancellationToken,
}

/// What the control thread finds out about the cluster.
pub(super) struct Known {
    pub(super) topology: Arc<ArcSwap<Topology>>,
    /// The version of the topology, when it changes.
    pub(super) changes: watch::Receiver<u64>,
    pub(super) standings: Arc<ArcSwap<Standings>>,
    /// The node that carries plain subscriptions.
    pub(super) home: Home,
}

/// What a worker thread starts with.
struct Start {
    gateway: Arc<Gateway>,
    metrics: Arc<WorkerMetrics>,
    home: Home,
    snapshot: Arc<ArcSwap<Topology>>,
    changes: watch::Receiver<u64>,
    standings: Arc<ArcSwap<Standings>>,
    wanted: mpsc::Sender<Wanted>,
    sockets: mpsc::UnboundedReceiver<Accepted>,
    load: Arc<AtomicUsize>,
    draining: CancellationToken,
}

impl Workers {
    /// One worker for each inbox.
    pub(super) fn start(
        inboxes: Vec<Inbox>,
        gateway: &Arc<Gateway>,
        known: &Known,
        wanted: &mpsc::Sender<Wanted>,
    ) -> anyhow::Result<Self> {
        let draining = CancellationToken::new();
        let mut posts = Vec::with_capacity(inboxes.len());
        for (index, inbox) in inboxes.into_iter().enumerate() {
            let (sockets, accepted) = mpsc::unbounded_channel();
            let load = Arc::new(AtomicUsize::new(0));
            let metrics = gateway.metrics.worker(index).unwrap_or_default();
            let start = Start {
                gateway: gateway.clone(),
                metrics,
                home: known.home.clone(),
                snapshot: known.topology.clone(),
                changes: known.changes.clone(),
                standings: known.standings.clone(),
                wanted: wanted.clone(),
                sockets: accepted,
                load: load.clone(),
                draining: draining.clone(),
            };
            let thread = std::thread::Builder::new().name(format!("worker-{index}"));
            thread.spawn(move || start.run(inbox))?;
            posts.push(Post { sockets, load });
        }
        Ok(Self { posts, draining })
    }

    /// Clients connected now.
    pub(super) fn clients(&self) -> usize {
        self.posts.iter().map(|post| post.load.load(Ordering::Relaxed)).sum()
    }

    /// Gives a client to the worker with the fewest, so that the spread is even by construction.
    pub(super) fn hand_over(&self, socket: Accepted) {
        let Some(post) = self.posts.iter().min_by_key(|post| post.load.load(Ordering::Relaxed))
        else {
            return;
        };
        post.load.fetch_add(1, Ordering::Relaxed);
        if post.sockets.send(socket).is_err() {
            post.load.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Lets every session end after its replies, and waits for that, but not for ever.
    pub(super) async fn drain(&self, limit: Duration) {
        self.draining.cancel();
        let drained = async {
            while self.clients() > 0 {
                tokio::time::sleep(DRAIN_TICK).await;
            }
        };
        if tokio::time::timeout(limit, drained).await.is_err() {
            tracing::warn!(clients = self.clients(), "drain time is over");
        }
    }
}

impl Start {
    fn run(self, inbox: Inbox) {
        match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => runtime.block_on(self.work(inbox)),
            Err(error) => tracing::error!(%error, "a worker cannot start"),
        }
    }

    async fn work(mut self, inbox: Inbox) {
        let clock = Rc::new(Clock::new());
        let scratch = Rc::new(std::cell::RefCell::new(vec![0; SCRATCH].into_boxed_slice()));
        let pool = Pool::new(PoolParts {
            settings: self.gateway.live.clone(),
            credentials: self.gateway.credentials.clone(),
            metrics: self.metrics.clone(),
            clock: clock.clone(),
            scratch: scratch.clone(),
            home: self.home.clone(),
            standings: self.standings.clone(),
            hint: hint(self.wanted.clone()),
        });
        let worker =
            Worker::new(self.gateway.clone(), self.metrics.clone(), pool.clone(), clock, scratch);
        spawn_local(worker.flusher.clone().run());
        spawn_local(pool.clone().attend());
        spawn_local(worker.clone().attend());
        spawn_local(worker.clone().watch());
        spawn_local(worker.clone().make_room());
        spawn_local(worker.clone().tidy());
        spawn_local(inbox.answer(worker.clone()));
        spawn_local(follow(worker.clone(), self.snapshot.clone(), self.changes.clone()));
        spawn_local(follow_settings(worker.clone()));
        loop {
            tokio::select! {
                socket = self.sockets.recv() => match socket {
                    Some(socket) => self.open(&worker, socket),
                    None => break,
                },
                () = self.draining.cancelled(), if !worker.is_draining() => worker.drain(),
            }
        }
    }

    fn open(&self, worker: &Rc<Worker>, mut socket: Accepted) {
        let present = Present {
            load: self.load.clone(),
            metrics: self.metrics.clone(),
            _seat: socket.seat.take(),
        };
        let session = Session::new(worker.clone(), socket);
        // A client that is gone already needs no session.
        if let Ok(session) = session {
            // An `async` block would hold the session twice: as it was captured, and as it is awaited.
            spawn_local(session.map(move |()| drop(present)));
        }
    }
}

/// A client's presence in its worker's load and among the clients of its address, however its session ends.
struct Present {
    load: Arc<AtomicUsize>,
    metrics: Arc<WorkerMetrics>,
    _seat: Option<Arc<()>>,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
        if std::thread::panicking() {
            self.metrics.panicked();
        }
    }
}

/// Passes the pool's hints on. When the refresher has many already, one more says nothing new.
fn hint(wanted: mpsc::Sender<Wanted>) -> Box<dyn Fn(Hint<'_>)> {
    Box::new(move |hint| {
        let _ = wanted.try_send(Wanted { reason: hint.reason, heard_of: Some(hint.node.into()) });
    })
}

/// Takes over every topology that is published.
async fn follow(
    worker: Rc<Worker>,
    snapshot: Arc<ArcSwap<Topology>>,
    mut changes: watch::Receiver<u64>,
) {
    loop {
        changes.mark_unchanged();
        worker.clock.tick();
        worker.pool.adopt(snapshot.load_full());
        worker.topology_changed();
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Tells the worker of every reload.
async fn follow_settings(worker: Rc<Worker>) {
    let mut changes = worker.gateway.live.changes();
    // One may have come while the worker started.
    changes.mark_changed();
    while changes.changed().await.is_ok() {
        worker.settings_changed();
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use crate::session::AcceptedSocket;

    use super::*;

    /// Workers that take clients and never serve them.
    fn idle(count: usize) -> (Workers, Vec<mpsc::UnboundedReceiver<Accepted>>) {
        let (posts, inboxes) = (0..count)
            .map(|_| {
                let (sockets, inbox) = mpsc::unbounded_channel();
                (Post { sockets, load: Arc::default() }, inbox)
            })
            .unzip();
        (Workers { posts, draining: CancellationToken::new() }, inboxes)
    }

    #[test]
    fn clients_are_spread_evenly_and_fill_gaps() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = || {
            let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let address = socket.local_addr().unwrap();
            Accepted { socket: AcceptedSocket::Tcp(socket, address), tls: None, seat: None }
        };
        let (workers, inboxes) = idle(4);
        let loads = || -> Vec<usize> {
            workers.posts.iter().map(|post| post.load.load(Ordering::Relaxed)).collect()
        };
        (0..40).for_each(|_| workers.hand_over(client()));
        assert_eq!(loads(), [10, 10, 10, 10]);
        workers.posts[2].load.fetch_sub(6, Ordering::Relaxed);
        (0..6).for_each(|_| workers.hand_over(client()));
        assert_eq!(loads(), [10, 10, 10, 10]);
        assert_eq!(workers.clients(), 40);
        let received: Vec<usize> = inboxes.iter().map(mpsc::UnboundedReceiver::len).collect();
        assert_eq!(received, [10, 10, 16, 10]);
    }
}
