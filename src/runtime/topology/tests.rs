use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{sleep, timeout};

use super::*;
use crate::config::{Live, Settings};

const PATIENCE: Duration = Duration::from_secs(20);
/// Time for a handshake, and for an answer.
const TIMEOUT: Duration = Duration::from_millis(300);
const LEAST_TIME: Duration = Duration::from_millis(10);

/// What every fake node answers to `CLUSTER SLOTS`: addresses are IP addresses.
const SLOTS: &str = "*1\r\n*3\r\n:0\r\n:1\r\n*3\r\n$1\r\nh\r\n:1\r\n$1\r\na\r\n";

/// What every fake node answers to `CONFIG GET cluster-databases`: it has never heard of that.
const DATABASES: &str = "*0\r\n";
/// What every fake node answers to `COMMAND`: it tells of none.
const COMMANDS: &str = "*0\r\n";

/// How a fake node answers `CLUSTER NODES`.
#[derive(Clone, Default)]
enum Mood {
    /// With this text.
    #[default]
    Well,
    /// After half of the answer the connection is closed in order.
    Half,
    /// After half of the answer the connection is reset.
    ResetHalfway,
    /// With something that is no reply.
    Rubbish,
    /// With a reply that has no end.
    Endless,
    /// Not at all, and the connection stays open.
    Silent,
    /// With an error.
    Refusing,
    /// The connection is closed after each answer.
    ClosingAfterwards,
}

fn entry(settings: Settings) -> Entry {
    Entry { settings: Live::new(settings), credentials: Arc::default() }
}

/// A fake node: what it says, and what it saw.
#[derive(Default)]
struct Node {
    nodes: RefCell<String>,
    /// The version that it says it has; empty: it may not be asked.
    version: Cell<&'static str>,
    healthy: Cell<bool>,
    mood: RefCell<Mood>,
    /// Times that it was asked.
    asked: Cell<usize>,
    connections: Cell<usize>,
    /// Questions that came while an answer was owed.
    hurried: Cell<usize>,
}

impl Node {
    /// A node that says `nodes` and, by that, that it is well.
    fn new(nodes: &str) -> Rc<Self> {
        let node = Self { healthy: true.into(), ..Self::default() };
        node.says(nodes);
        Rc::new(node)
    }

    fn says(&self, nodes: &str) {
        *self.nodes.borrow_mut() = nodes.to_owned();
    }

    fn is(&self, mood: Mood) {
        *self.mood.borrow_mut() = mood;
    }

    /// Serves until the handle is aborted; then its port is closed and its connections break.
    async fn start(self: &Rc<Self>, address: &str) -> (String, JoinHandle<()>) {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let node = self.clone();
        let serving = spawn_local(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                node.connections.set(node.connections.get() + 1);
                connections.spawn_local(node.clone().serve(stream));
            }
        });
        (address, serving)
    }

    async fn serve(self: Rc<Self>, mut stream: TcpStream) {
        let mut piece = [0; 4096];
        loop {
            // Questions are short, and the refresher sends the next one after the answer.
            let length = stream.read(&mut piece).await.unwrap_or(0);
            let question = String::from_utf8_lossy(&piece[..length]).into_owned();
            let reply = match &*question {
                "" => return,
                slots if slots.contains("SLOTS") => {
                    Some(SLOTS.to_owned() + &self.server() + DATABASES + COMMANDS)
                }
                info if info.contains("server") => Some(self.server()),
                _ => self.answer(&mut stream).await,
            };
            let Some(reply) = reply else { return };
            let asked_for_nodes = question.contains("NODES");
            let closing = asked_for_nodes && matches!(*self.mood.borrow(), Mood::ClosingAfterwards);
            if stream.write_all(reply.as_bytes()).await.is_err() || closing {
                return;
            }
        }
    }

    /// The answer, unless the mood has seen to it.
    async fn answer(&self, stream: &mut TcpStream) -> Option<String> {
        self.asked.set(self.asked.get() + 1);
        let mood = self.mood.borrow().clone();
        let answer = self.text();
        match mood {
            Mood::Well | Mood::ClosingAfterwards => return Some(answer),
            Mood::Refusing => {
                return Some("-LOADING Redis is loading the dataset in memory\r\n".repeat(2));
            }
            Mood::Half => stream.write_all(&answer.as_bytes()[..answer.len() / 2]).await.unwrap(),
            Mood::ResetHalfway => {
                stream.write_all(&answer.as_bytes()[..answer.len() / 2]).await.unwrap();
                stream.set_zero_linger().unwrap();
            }
            Mood::Rubbish => stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap(),
            Mood::Endless => while stream.write_all(&[b'+'; 4096]).await.is_ok() {},
            Mood::Silent => {
                let mut more = [0; 64];
                while stream.read(&mut more).await.is_ok_and(|length| length > 0) {
                    self.hurried.set(self.hurried.get() + 1);
                }
            }
        }
        None
    }

    /// The answer to `INFO server`.
    fn server(&self) -> String {
        match self.version.get() {
            "" => "-NOPERM no permission\r\n".to_owned(),
            version => bulk(&format!("# Server\r\nredis_version:{version}\r\n")),
        }
    }

    fn text(&self) -> String {
        let state = if self.healthy.get() { "ok" } else { "fail" };
        let info = format!("cluster_state:{state}\r\ncluster_current_epoch:9\r\n");
        bulk(&self.nodes.borrow()) + &bulk(&info)
    }

    async fn asked_again(&self) {
        let asked = self.asked.get();
        until(|| self.asked.get() >= asked + 2).await;
    }
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// A line of `CLUSTER NODES`.
fn line(id: &str, address: &str, flags: &str, epoch: u64, slots: &str) -> String {
    format!("{id} {address}@1 {flags} - 0 0 {epoch} connected {slots}\n")
}

async fn until(condition: impl Fn() -> bool) {
    timeout(PATIENCE, async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .expect("the condition in time");
}

/// A refresher at work.
struct Running {
    topology: Arc<ArcSwap<Topology>>,
    wanted: mpsc::Sender<Wanted>,
    changes: watch::Receiver<usize>,
    software: watch::Receiver<Option<Software>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(seeds: &[&str]) -> Self {
        Self::start_with(seeds, Duration::from_millis(20), LEAST_TIME)
    }

    fn start_with(seeds: &[&str], interval: Duration, least: Duration) -> Self {
        let mut settings = Settings::default();
        settings.cluster.nodes = seeds.iter().map(|&seed| seed.to_owned()).collect();
        settings.cluster.refresh_interval = interval;
        settings.cluster.refresh_min_interval = least;
        settings.backend.connect_timeout = TIMEOUT;
        let topology = Arc::new(ArcSwap::from_pointee(Topology::empty()));
        let (wanted, receiver) = mpsc::channel(16);
        let (changed, changes) = watch::channel(0);
        let (told, software) = watch::channel(None);
        let stop = CancellationToken::new();
        let on_news = move |news: News<'_>| match news {
            News::Commands(reply) => assert_eq!(reply, COMMANDS.as_bytes()),
            News::Software(software) => drop(told.send_replace(Some(software))),
            News::Topology(topology) => {
                assert!(topology.version > 0);
                changed.send_modify(|count| *count += 1);
            }
        };
        let running = run(entry(settings), topology.clone(), receiver, on_news, stop.clone());
        Self { topology, wanted, changes, software, stop, task: spawn_local(running) }
    }

    fn now(&self) -> Arc<Topology> {
        self.topology.load_full()
    }

    fn covers(&self, slots: usize) -> bool {
        self.now().covered() == slots
    }

    /// The addresses of the primaries.
    fn primaries(&self) -> Vec<String> {
        self.now().shards().iter().map(|shard| shard.primary.address.to_string()).collect()
    }

    fn moved(&self, to: &str) {
        let wanted = Wanted { reason: Reason::Moved, heard_of: Some(to.into()) };
        self.wanted.try_send(wanted).unwrap();
    }
}

#[tokio::test(flavor = "local")]
async fn finds_the_cluster_and_keeps_asking() {
    let node = Node::new("");
    let (address, _serving) = node.start("127.0.0.1:0").await;
    node.says(&line("a", &address, "myself,master", 1, "0-16383"));
    let running = Running::start(&[&address]);
    until(|| running.covers(Slot::COUNT)).await;
    assert_eq!(running.primaries(), [address]);
    node.asked_again().await;
    node.asked_again().await;
    // Nothing changed since, and it was all said over one connection.
    assert_eq!((running.now().version, *running.changes.borrow()), (1, 1));
    assert_eq!(node.connections.get(), 1);

    running.stop.cancel();
    timeout(PATIENCE, running.task).await.unwrap().unwrap();
}

#[tokio::test(flavor = "local")]
async fn the_lowest_version_speaks_for_all() {
    let versions = ["7.2.5", "7.0.11", "", "7.4.0"];
    let nodes: Vec<_> = versions.iter().map(|_| Node::new("")).collect();
    let mut lines = String::new();
    let mut addresses = Vec::new();
    let mut serving = Vec::new();
    for (number, (node, version)) in nodes.iter().zip(versions).enumerate() {
        node.version.set(version);
        let (address, served) = node.start("127.0.0.1:0").await;
        let slots = format!("{}-{}", number * 4096, number * 4096 + 4095);
        lines += &line(&format!("n{number}"), &address, "master", 1, &slots);
        addresses.push(address);
        serving.push(served);
    }
    for (number, node) in nodes.iter().enumerate() {
        let own = format!("{} {}@1 master", format_args!("n{number}"), addresses[number]);
        node.says(&lines.replace(&own, &own.replace("master", "myself,master")));
    }
    let running = Running::start(&[&addresses[0]]);
    let lowest = Software::from_info("redis_version:7.0.11");
    until(|| *running.software.borrow() == lowest).await;
    // A node that comes back with another version is asked again.
    nodes[1].version.set("7.2.7");
    serving[1].abort();
    until(|| serving[1].is_finished()).await;
    serving[1] = nodes[1].start(&addresses[1]).await.1;
    let lowest = Software::from_info("redis_version:7.2.5");
    until(|| *running.software.borrow() == lowest).await;
}

#[tokio::test(flavor = "local")]
async fn starts_while_every_node_is_down() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let loading = Node::new("");
    loading.is(Mood::Refusing);
    let (loading_address, _loading) = loading.start("127.0.0.1:0").await;
    let running = Running::start(&["name.invalid:1", &address, &loading_address]);
    // It has been in vain more than once.
    loading.asked_again().await;
    let node = Node::new(&line("a", &address, "myself,master", 1, "0-16383"));
    assert!(running.covers(0));
    let _serving = node.start(&address).await;
    until(|| running.covers(Slot::COUNT)).await;
}

#[tokio::test(flavor = "local")]
async fn every_address_has_changed() {
    // The seed is a name that leads to a node which has moved, as behind a cluster's DNS name.
    let (seed, old, new) = (Node::new(""), Node::new(""), Node::new(""));
    let (seed_address, _seed) = seed.start("127.0.0.1:0").await;
    let (old_address, old_serving) = old.start("127.0.0.1:0").await;
    let (new_address, _new) = new.start("127.0.0.1:0").await;
    let before = line("a", &old_address, "myself,master", 1, "0-16383");
    seed.says(&before);
    old.says(&before);
    let by_name = seed_address.replace("127.0.0.1", "localhost");
    let running = Running::start(&[&by_name]);
    until(|| running.primaries() == [old_address.clone()]).await;
    old.asked_again().await;

    let after = line("a", &new_address, "myself,master", 1, "0-16383");
    seed.says(&after);
    new.says(&after);
    old_serving.abort();
    until(|| running.primaries() == [new_address.clone()]).await;
    new.asked_again().await;
}

#[tokio::test(flavor = "local")]
async fn a_stale_view_changes_nothing() {
    let (stale, fresh) = (Node::new(""), Node::new(""));
    let (stale_address, _stale) = stale.start("127.0.0.1:0").await;
    let (fresh_address, fresh_serving) = fresh.start("127.0.0.1:0").await;
    let view = |mine: &str, yours: &str, epoch, slots: [&str; 2]| {
        line("a", &stale_address, mine, 1, slots[0])
            + &line("b", &fresh_address, yours, epoch, slots[1])
    };
    // `b` has taken over from `a`, which has not heard of it.
    stale.says(&view("myself,master", "master", 0, ["0-16383", ""]));
    fresh.says(&view("master", "myself,master", 7, ["", "0-16383"]));
    let running = Running::start(&[&stale_address, &fresh_address]);
    until(|| running.primaries() == [fresh_address.clone()]).await;
    fresh_serving.abort();
    stale.healthy.set(false);
    stale.asked_again().await;
    assert_eq!(running.primaries(), [&*fresh_address]);
    // It heals, and hears of it.
    stale.says(&view("myself,master", "master,fail", 7, ["", "0-16383"]));
    until(|| running.now().shards().iter().any(|shard| shard.primary.health == Health::Failed))
        .await;
    assert_eq!(running.primaries(), [fresh_address]);
}

#[tokio::test(flavor = "local")]
async fn bad_answers_are_no_views_and_pass() {
    let moods = [
        ("half", Mood::Half),
        ("reset", Mood::ResetHalfway),
        ("rubbish", Mood::Rubbish),
        ("endless", Mood::Endless),
        ("silent", Mood::Silent),
        ("refusing", Mood::Refusing),
    ];
    for (name, mood) in moods {
        let node = Node::new("");
        let (address, _serving) = node.start("127.0.0.1:0").await;
        node.says(&line("a", &address, "myself,master", 1, "0-16383"));
        node.is(mood);
        let running = Running::start(&[&address]);
        // Asked twice: the first answer has been given up by then.
        node.asked_again().await;
        assert_eq!(running.now().version, 0, "{name}");
        node.is(Mood::Well);
        until(|| running.covers(Slot::COUNT)).await;
        assert_eq!(node.hurried.get(), 0, "{name}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_bad_node_does_not_hold_up_a_good_one() {
    for mood in [Mood::Silent, Mood::Endless, Mood::Rubbish, Mood::ResetHalfway] {
        let (good, bad) = (Node::new(""), Node::new(""));
        let (good_address, _good) = good.start("127.0.0.1:0").await;
        let (bad_address, _bad) = bad.start("127.0.0.1:0").await;
        let slots = ["0-99", "100-16383"];
        good.says(
            &(line("a", &good_address, "myself,master", 1, slots[0])
                + &line("b", &bad_address, "master", 2, slots[1])),
        );
        bad.is(mood);
        let running = Running::start(&[&good_address]);
        until(|| running.covers(Slot::COUNT)).await;
        until(|| bad.asked.get() > 0).await;
        let started = Instant::now();
        for _ in 0..3 {
            good.asked_again().await;
        }
        assert!(started.elapsed() < PATIENCE / 2);
        assert_eq!(bad.hurried.get(), 0);
        assert!(running.covers(Slot::COUNT));
    }
}

#[tokio::test(flavor = "local")]
async fn connections_that_nodes_close_are_made_again() {
    let node = Node::new("");
    let (address, _serving) = node.start("127.0.0.1:0").await;
    node.says(&line("a", &address, "myself,master", 1, "0-16383"));
    let running = Running::start(&[&address]);
    until(|| running.covers(Slot::COUNT)).await;
    node.is(Mood::ClosingAfterwards);
    node.asked_again().await;
    node.asked_again().await;
    assert!(node.connections.get() > 2);
    assert_eq!(running.now().version, 1);
}

#[tokio::test(flavor = "local")]
async fn a_node_that_a_redirection_named_is_asked() {
    let (known, unheard_of) = (Node::new(""), Node::new(""));
    let (known_address, _known) = known.start("127.0.0.1:0").await;
    let (new_address, _new) = unheard_of.start("127.0.0.1:0").await;
    known.says(&line("a", &known_address, "myself,master", 1, "0-16383"));
    unheard_of.says(
        &(line("a", &known_address, "master", 1, "0-99")
            + &line("n", &new_address, "myself,master", 9, "100-16383")),
    );
    let running = Running::start_with(&[&known_address], Duration::from_secs(3600), LEAST_TIME);
    until(|| running.covers(Slot::COUNT)).await;
    assert_eq!(unheard_of.asked.get(), 0);
    running.moved(&new_address);
    until(|| running.primaries() == [known_address.clone(), new_address.clone()]).await;
}

#[tokio::test(flavor = "local")]
async fn a_flood_of_messages_is_answered_by_few_looks() {
    let least = Duration::from_millis(50);
    let node = Node::new("");
    let (address, _serving) = node.start("127.0.0.1:0").await;
    node.says(&line("a", &address, "myself,master", 1, "0-16383"));
    let running = Running::start_with(&[&address], Duration::from_secs(3600), least);
    until(|| running.covers(Slot::COUNT)).await;
    let (started, asked) = (Instant::now(), node.asked.get());
    while node.asked.get() < asked + 5 {
        let _ = running.wanted.try_send(Wanted { reason: Reason::Lost, heard_of: None });
        task::yield_now().await;
        assert!(started.elapsed() < PATIENCE);
    }
    // Five looks have four whole pauses between them.
    assert!(started.elapsed() >= 4 * least, "{:?}", started.elapsed());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn rests_until_the_time_or_a_message() {
    let (sender, mut wanted) = mpsc::channel(16);
    let pause = || Pause {
        least: Instant::now() + Duration::from_secs(1),
        most: Instant::now() + Duration::from_secs(60),
    };
    let started = Instant::now();
    assert!(rest(pause(), &mut wanted).await.is_empty());
    assert_eq!(started.elapsed().as_secs(), 60);

    let send = |reason, named: &str| {
        sender.try_send(Wanted { reason, heard_of: Some(named.into()) }).unwrap();
    };
    let started = Instant::now();
    send(Reason::Lost, "dead:1");
    for named in ["a:1", "a:1", "b:1", "c:1", "d:1"] {
        send(Reason::Moved, named);
    }
    let ask_first = rest(pause(), &mut wanted).await;
    assert_eq!(started.elapsed().as_secs(), 1);
    // One place is left for a node that is known.
    assert_eq!(ask_first, ["a:1".into(), "b:1".into()] as [Arc<str>; 2]);
    assert!(wanted.try_recv().is_err());

    // With nobody left to send, the timer goes on.
    drop(sender);
    let started = Instant::now();
    assert!(rest(pause(), &mut wanted).await.is_empty());
    assert_eq!(started.elapsed().as_secs(), 60);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn silence_makes_pauses_longer_up_to_a_bound() {
    let mut settings = Settings::default();
    settings.cluster.refresh_min_interval = Duration::from_millis(200);
    let topology = Arc::new(ArcSwap::from_pointee(Topology::empty()));
    let mut refresher = Refresher::new(entry(settings), topology);
    let mut pauses = Vec::new();
    for _ in 0..40 {
        let pause = refresher.pause(Instant::now(), &[]);
        assert_eq!(pause.least, pause.most);
        pauses.push(pause.least - Instant::now());
    }
    for (pause, expected) in pauses.iter().zip([200, 400, 800, 1000, 1000]) {
        let spread =
            Duration::from_millis(expected) * 7 / 8..=Duration::from_millis(expected) * 9 / 8;
        assert!(spread.contains(pause), "{pauses:?}");
    }
    assert!(pauses.iter().all(|pause| *pause <= SILENCE * 9 / 8));
}

#[tokio::test(flavor = "local")]
async fn a_check_says_what_it_found() {
    let (node, replica) = (Node::new(""), Node::new(""));
    let (address, _serving) = node.start("127.0.0.1:0").await;
    let (replica_address, replica_serving) = replica.start("127.0.0.1:0").await;
    let text = line("a", &address, "myself,master", 1, "0-16383")
        + &format!("b {replica_address}@1 slave a 0 0 1 connected\n");
    node.says(&text);
    let mut settings = Settings::default();
    settings.backend.connect_timeout = PATIENCE;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    settings.cluster.nodes = vec![gone.clone(), address.clone()];

    let report = try_cluster(&settings).await.unwrap();
    for expected in [
        format!("seed {gone}: {gone}: connecting: "),
        format!(
            "seed {address}: unknown version, cluster_state ok, knows an owner for 16384 slots"
        ),
        format!("primary {address}: reached"),
        format!("other node {replica_address}: reached"),
        "16384 of 16384 slots have an owner".to_owned(),
    ] {
        assert!(report.contains(&expected), "{expected:?} in\n{report}");
    }

    // A replica out of reach is told, and is no failure; a slot without an owner is one.
    replica_serving.abort();
    let _ = replica_serving.await;
    let report = try_cluster(&settings).await.unwrap();
    assert!(report.contains(&format!("other node {replica_address}: connecting: ")), "{report}");
    assert!(report.contains("cluster.address_map"), "{report}");
    node.says(&text.replace("0-16383", "0-16382"));
    assert!(try_cluster(&settings).await.is_err());
    node.says(&text);
    node.healthy.set(false);
    let report = try_cluster(&settings).await.unwrap_err().to_string();
    assert!(report.contains("cluster_state fail"), "{report}");
    settings.cluster.nodes = Vec::new();
    assert!(try_cluster(&settings).await.is_err());
}
