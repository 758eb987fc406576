//! What all sessions of one worker share.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Cache, Guard};
use foldhash::fast::RandomState;
use slab::Slab;
use tokio::sync::Semaphore;

use crate::backend::connect::Credentials;
use crate::backend::{Clock, Pool, Scratch, Subscriptions, micros};
use crate::cluster::{Software, Tags, Topology};
use crate::command::Commands;
use crate::config::{Limits, Live, Present, Settings};
use crate::metrics::{Metrics, Rejection, Totals, WorkerMetrics};
use crate::observe::audit::Audit;
use crate::observe::{Lens, Sights};
use crate::route::Itinerary;

use super::access::Access;
use super::blocking::Queue;
use super::client::Client;
use super::colleagues::Colleagues;
use super::failures::Failures;
use super::flusher::Flusher;
use super::known::Known;
use super::memory::{Memory, Total};
use super::pubsub::Rooms;
use super::rates::Rates;
use super::replies::Shared;
use super::scripts::Scripts;
use super::scrutiny::Scrutiny;
use super::steps::{Account, Acquaintances, Shapes};
use super::tuning::{Tuning, share_of_scripts};
use super::watch::Watch;

/// How often idle clients are looked after, unless a shorter limit asks for more.
const ATTENTION: Duration = Duration::from_secs(1);
/// Large computations of one worker that run at once; others wait for their turn.
const COMPUTING: usize = 2;
/// The most often.
const CLOSE_ATTENTION: Duration = Duration::from_millis(50);

/// A quarter of the shortest limit, so that none is missed by more than that.
fn attention(settings: &Settings) -> Duration {
    let Limits { idle_timeout, auth_timeout, output_soft_time, .. } = settings.limits;
    let limits = [idle_timeout, auth_timeout, output_soft_time, settings.pubsub.output_soft_time];
    limits
        .into_iter()
        .filter(|limit| !limit.is_zero())
        .min()
        .map_or(ATTENTION, |least| (least / 4).clamp(CLOSE_ATTENTION, ATTENTION))
}

/// What a gateway process is, the same for all its workers.
pub struct Gateway {
    /// The settings, as they are now.
    pub live: Arc<Live>,
    /// Every metric, for INFO.
    pub metrics: Arc<Metrics>,
    /// As whom it logs in to the nodes.
    pub credentials: Arc<ArcSwap<Credentials>>,
    /// 40 hexadecimal digits, new with each start, as a server's `run_id`.
    pub run_id: String,
    /// What happened that somebody may have to answer for.
    pub audit: Audit,
    /// What its workers saw: hot keys, big keys, slow requests.
    pub sights: Arc<Sights>,
    /// Where spans of traced requests go.
    #[cfg(feature = "traces")]
    pub traces: Arc<crate::observe::traces::Traces>,
    pub(super) access: Access,
    pub(super) rates: Rates,
    pub(super) colleagues: Colleagues,
    software: ArcSwap<Software>,
    pub(super) known: Known,
    pub(super) scrutiny: Scrutiny,
    next_client: AtomicU64,
    /// What was counted before the counts began anew.
    forgotten: ArcSwap<Totals>,
    /// The topology that a worker is looking after for all.
    looked_after: AtomicU64,
    next_stage: AtomicU64,
    /// What clients hold in memory.
    held: Arc<Total>,
    is_tidied: AtomicBool,
}

impl Gateway {
    /// A process that starts now.
    ///
    /// # Errors
    /// The system has no thread for the audit log.
    pub fn new(
        live: Arc<Live>,
        metrics: Arc<Metrics>,
        access: Access,
        colleagues: Colleagues,
        credentials: Arc<ArcSwap<Credentials>>,
    ) -> std::io::Result<Arc<Self>> {
        let run_id = std::iter::repeat_with(|| fastrand::digit(16)).take(40).collect();
        let software = ArcSwap::from_pointee(Software::OLDEST);
        let known = Known::new(&live.now());
        let rates = Rates::new(&live.now().limits);
        let sights = Sights::new(colleagues.count(), live.clone());
        Ok(Arc::new(Self {
            live,
            audit: Audit::start(metrics.clone())?,
            sights,
            #[cfg(feature = "traces")]
            traces: Arc::new(crate::observe::traces::Traces::new(metrics.clone())),
            metrics,
            credentials,
            run_id,
            access,
            rates,
            colleagues,
            software,
            known,
            scrutiny: Scrutiny::new(),
            next_client: AtomicU64::new(1),
            forgotten: ArcSwap::default(),
            looked_after: AtomicU64::new(0),
            next_stage: AtomicU64::new(1),
            held: Arc::default(),
            is_tidied: AtomicBool::new(false),
        }))
    }

    /// What holds now. Look again rather than keep it.
    pub fn settings(&self) -> Guard<Arc<Settings>> {
        self.live.now()
    }

    /// Returns when every worker has had a turn: none of them hangs.
    pub async fn feel_pulse(&self) {
        self.colleagues.feel_pulse().await;
    }

    /// What the nodes run, for clients that ask.
    pub fn nodes_run(&self, software: Software) {
        self.software.store(Arc::new(software));
    }

    /// What a node answered to `COMMAND`.
    pub fn node_knows(&self, reply: &[u8]) {
        let before = self.known.current().load_full();
        self.known.hear(reply);
        let now = self.known.current().load_full();
        if !Arc::ptr_eq(&before, &now) {
            self.access.reconsider(&now);
        }
    }

    /// What clients are told that it is: `standalone` or `cluster`.
    pub(super) fn mode(&self) -> &'static str {
        match self.settings().listen.present {
            Present::Standalone => "standalone",
            Present::Cluster => "cluster",
        }
    }

    pub(super) fn software(&self) -> Software {
        **self.software.load()
    }

    /// What INFO counts.
    pub(super) fn totals(&self) -> Totals {
        self.metrics.totals().since(&self.forgotten.load())
    }

    /// INFO counts from now on. Metrics are not for clients to change.
    pub(super) fn count_anew(&self) {
        self.forgotten.store(Arc::new(self.metrics.totals()));
    }

    /// Whether the worker that asks is the first with this version of the topology: what is to be done once for
    /// the process is its to do.
    pub(super) fn is_first_with(&self, version: u64) -> bool {
        self.looked_after.fetch_max(version, Ordering::Relaxed) < version
    }

    /// A name for what is on its way between two slots, unlike that of any other gateway.
    pub(super) fn next_stage(&self) -> String {
        let number = self.next_stage.fetch_add(1, Ordering::Relaxed);
        format!("{}:{number}", self.run_id.get(..16).unwrap_or_default())
    }

    /// Whether the worker that asks is the first one, and so looks after what gateways leave behind.
    pub(super) fn claims_tidying(&self) -> bool {
        !self.is_tidied.swap(true, Ordering::Relaxed)
    }

    /// Clients are numbered over the whole process.
    pub(super) fn next_client_id(&self) -> u64 {
        self.next_client.fetch_add(1, Ordering::Relaxed)
    }
}

/// One worker thread's share.
pub struct Worker {
    /// The process it belongs to.
    pub gateway: Arc<Gateway>,
    /// Its connections to the nodes.
    pub pool: Rc<Pool>,
    /// Its metrics.
    pub metrics: Arc<WorkerMetrics>,
    /// Its clock.
    pub clock: Rc<Clock>,
    /// Its read buffer.
    pub scratch: Scratch,
    /// Who writes to its clients.
    pub flusher: Rc<Flusher>,
    pub(super) watch: Rc<Watch>,
    pub(super) rooms: Rc<Rooms>,
    commands: RefCell<Cache<Arc<ArcSwap<Commands>>, Arc<Commands>>>,
    pub(super) clients: RefCell<Slab<Rc<Client>>>,
    pub(super) scripts: Scripts,
    pub(super) acquaintances: RefCell<Acquaintances>,
    itinerary: RefCell<Rc<Itinerary>>,
    /// Those who wait for keys, by the database of these.
    queues: RefCell<HashMap<u16, Rc<Queue>, RandomState>>,
    pub(super) tuning: Tuning,
    /// What requests of several steps hold.
    pub(super) gathered: Rc<Account>,
    /// Large computations that may run at once beside it.
    pub(super) computing: Semaphore,
    pub(super) failures: Failures,
    /// What its clients hold.
    pub(super) memory: Rc<Memory>,
    /// What the reply sides of its sessions share.
    pub(super) shared: Rc<Shared>,
    /// Working memory for key positions.
    pub(super) positions: RefCell<Vec<u32>>,
    /// That a transaction over several slots is not atomic was logged.
    pub(super) told_of_spread: Cell<bool>,
    /// Hash tags for the gateway's own keys, once some are needed.
    pub(super) tags: OnceCell<Tags>,
    /// Where nodes said that keys stand.
    pub(super) shapes: RefCell<Shapes>,
    draining: Cell<bool>,
    /// A task waits for the end of a pause.
    pub(super) awaits_pause: Cell<bool>,
}

impl Worker {
    /// A worker without clients.
    pub fn new(
        gateway: Arc<Gateway>,
        metrics: Arc<WorkerMetrics>,
        pool: Rc<Pool>,
        clock: Rc<Clock>,
        scratch: Scratch,
    ) -> Rc<Self> {
        let settings = gateway.settings();
        let gathered = Account::new(settings.routing.gathered_bytes_all);
        let scripts = Scripts::new(share_of_scripts(&gateway, &settings));
        let commands = RefCell::new(Cache::new(gateway.known.current()));
        let upstream = Subscriptions::new(pool.clone());
        let rooms = Rooms::new(upstream, metrics.clone(), &settings.pubsub);
        let tuning = Tuning::of(&settings);
        let (most, workers) = (settings.limits.client_memory, gateway.colleagues.count());
        let memory = Memory::new(most, workers, &gateway.held, &metrics);
        let lens = Lens::new(
            gateway.live.clone(),
            gateway.sights.clone(),
            gateway.known.current(),
            gateway.metrics.clone(),
        );
        let watch = Watch::new(pool.clone(), lens, &gateway);
        let shared =
            Shared::new(metrics.clone(), clock.clone(), memory.clone(), watch.clone(), &settings);
        drop(settings);
        Rc::new(Self {
            gateway,
            memory,
            queues: RefCell::default(),
            watch,
            pool,
            metrics,
            clock,
            scratch,
            flusher: shared.flusher.clone(),
            shared,
            rooms,
            commands,
            clients: RefCell::default(),
            scripts,
            acquaintances: RefCell::default(),
            itinerary: RefCell::default(),
            tuning,
            gathered,
            computing: Semaphore::new(COMPUTING),
            failures: Failures::default(),
            positions: RefCell::default(),
            told_of_spread: Cell::new(false),
            shapes: RefCell::default(),
            tags: OnceCell::new(),
            draining: Cell::new(false),
            awaits_pause: Cell::new(false),
        })
    }

    /// The commands known now; a snapshot for one turn.
    pub(super) fn commands(&self) -> Arc<Commands> {
        self.commands.borrow_mut().load().clone()
    }

    /// Those who wait for keys of this database.
    pub(super) fn queue(&self, database: u16) -> Rc<Queue> {
        let mut queues = self.queues.borrow_mut();
        let new = || Queue::new(self.pool.clone(), database);
        queues.entry(database).or_insert_with(new).clone()
    }

    /// The topology now, and the order in which SCAN visits its primaries.
    pub(super) fn itinerary(&self) -> (Arc<Topology>, Rc<Itinerary>) {
        let topology = self.pool.topology();
        let mut itinerary = self.itinerary.borrow_mut();
        if itinerary.version() != topology.version {
            *itinerary = Rc::new(Itinerary::of(&topology));
        }
        (topology, itinerary.clone())
    }

    /// No session takes a new request from now on; each ends when its replies have left.
    pub fn drain(&self) {
        self.draining.set(true);
        self.wake_all();
    }

    /// Lets every session look at its state.
    pub(super) fn wake_all(&self) {
        for (_, client) in &*self.clients.borrow() {
            client.wake();
        }
    }

    /// Whether [`Self::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Watches over requests, for as long as the worker lives.
    pub async fn watch(self: Rc<Self>) {
        self.watch.run(&self.metrics).await;
    }

    /// Looks after idle clients, for as long as the worker lives: closes those past their time, and takes
    /// back memory from the others.
    pub async fn attend(self: Rc<Self>) {
        loop {
            let pause = attention(&self.gateway.settings());
            tokio::time::sleep(pause).await;
            let (idle, login) = {
                let limits = &self.gateway.settings().limits;
                (micros(limits.idle_timeout), micros(limits.auth_timeout))
            };
            self.pool.buffers.ease();
            let now = self.clock.tick();
            let clients: Vec<Rc<Client>> =
                self.clients.borrow().iter().map(|(_, client)| client.clone()).collect();
            for client in clients {
                if client.is_deaf() {
                    client.wake();
                }
                let listens = client.subscriptions.get().total() > 0;
                client.replies.expect_reader(listens);
                let silent = now.saturating_sub(client.active.get());
                if login > 0
                    && !client.authenticated.get()
                    && now.saturating_sub(client.connected) > login
                {
                    self.metrics.session_rejected(Rejection::AuthTimeout);
                    client.kill();
                } else if listens {
                    // It may do so in silence as long as it likes.
                } else if idle > 0 && silent > idle && client.replies.is_drained() {
                    self.metrics.session_rejected(Rejection::Idle);
                    client.kill();
                } else if silent >= micros(pause) {
                    client.replies.shrink();
                }
            }
        }
    }
}
