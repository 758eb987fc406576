//! From servers that run to a cluster that serves: slots given out, nodes met, replicas in step.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::error::LaunchError;
use super::folder::{Layout, slots_in};
use super::link::{Link, Silence};
use super::nodes::Nodes;
use super::{Progress, SLOTS, now, pause};
use crate::tls::Connector;

/// A start that makes no progress for so long has failed.
const STALLED: Duration = Duration::from_secs(60);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// The nodes of one cluster, on their way to serving.
pub(super) struct Formation<'a> {
    pub(super) layout: Layout,
    /// The slots of each primary; a replica has none.
    pub(super) shares: &'a [Vec<RangeInclusive<u16>>],
    pub(super) folder: &'a Path,
    pub(super) tls: Option<&'a Connector>,
    pub(super) nodes: &'a Nodes,
    pub(super) progress: &'a dyn Fn(Progress<'_>),
    pub(super) interrupted: &'a dyn Fn() -> bool,
}

/// What one node says of the cluster.
struct View {
    rows: Vec<Row>,
}

/// What one node says of the slots.
struct Seen {
    by: u16,
    served: u16,
    /// A node serves requests only some time after it has seen every slot served.
    usable: bool,
}

/// One line of `CLUSTER NODES`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    id: String,
    port: u16,
    flags: Vec<String>,
    /// The primary's id, `-` for a primary.
    primary: String,
    epoch: u64,
    slots: Vec<String>,
}

/// Why a step of the way is not done.
enum Missing {
    /// It may be on the next look.
    Yet(String),
    Never(LaunchError),
}

impl Formation<'_> {
    /// Gives out the slots, introduces the nodes to each other and attaches the replicas. A formation
    /// that was cut off is taken up where it stands.
    pub(super) fn form(&self) -> Result<(), LaunchError> {
        let mut links = self.links();
        self.await_answers(&mut links)?;
        for (index, link) in links.iter_mut().enumerate() {
            self.wait(|| self.give_slots(index, link))?;
        }
        self.wait(|| self.introduce(&mut links))?;
        let (primaries, replicas) = links.split_at_mut(usize::from(self.layout.masters));
        let mut ids = Vec::new();
        for primary in primaries {
            ids.push(self.wait(|| Ok(self.view(primary)?.myself()?.id.clone()))?);
        }
        for (replica, id) in replicas.iter_mut().zip(ids.iter().cycle()) {
            self.wait(|| self.attach(replica, id))?;
        }
        Ok(())
    }

    /// Waits until every node sees every slot served, all see the same cluster, and replicas are in step.
    pub(super) fn settle(&self) -> Result<(), LaunchError> {
        let mut links = self.links();
        self.await_answers(&mut links)?;
        let mut shown = (None, None);
        self.wait(|| {
            let seen: Vec<Seen> = links.iter_mut().map(Seen::by).collect();
            let covered = seen.iter().map(|seen| seen.served).min().unwrap_or_default();
            self.show(&mut shown.0, covered, Progress::Slots { covered });
            if covered < SLOTS {
                return Err(yet(format!("every node sees {covered} of {SLOTS} slots served")));
            }
            if let Some(seen) = seen.iter().find(|seen| !seen.usable) {
                return Err(yet(format!("node {} does not serve requests yet", seen.by)));
            }
            let lagging: Vec<String> = links.iter_mut().filter_map(lag).collect();
            let total = self.layout.nodes().saturating_sub(self.layout.masters);
            let in_step = total.saturating_sub(u16::try_from(lagging.len()).unwrap_or(u16::MAX));
            self.show(&mut shown.1, in_step, Progress::Replicas { in_step, total });
            if !lagging.is_empty() {
                return Err(yet(lagging.join(", ")));
            }
            self.agree(&mut links)
        })
    }

    fn links(&self) -> Vec<Link> {
        self.layout.ports().map(|port| Link::new(port, self.tls.cloned())).collect()
    }

    fn await_answers(&self, links: &mut [Link]) -> Result<(), LaunchError> {
        self.wait(|| links.iter_mut().try_for_each(awake))
    }

    /// Gives a node what it lacks of its share. One that has data has taken its slots already.
    fn give_slots(&self, index: usize, link: &mut Link) -> Result<(), Missing> {
        let view = self.view(link)?;
        let myself = view.myself()?;
        let share = self.shares.get(index).map_or(&[][..], Vec::as_slice);
        let wanted: BTreeSet<u16> = share.iter().cloned().flatten().collect();
        let has: BTreeSet<u16> = slots_in(&myself.slots).collect();
        if has == wanted {
            return Ok(());
        }
        if !has.is_subset(&wanted) {
            let wanted: Vec<String> = share.iter().map(range).collect();
            let (port, has, wants) = (link.port, list(&myself.slots), list(&wanted));
            let found = vec![format!("node {port} serves {has}, not {wants}")];
            return Err(Missing::Never(LaunchError::HalfFormed {
                dir: self.folder.to_owned(),
                found,
            }));
        }
        if view.rows.len() == 1 && myself.epoch == 0 {
            // Epochs that differ from the start spare the nodes from settling on who is newer.
            self.ask(link, &["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()])?;
        }
        let missing: Vec<u16> = wanted.difference(&has).copied().collect();
        let mut words = vec!["CLUSTER".to_owned(), "ADDSLOTSRANGE".to_owned()];
        for run in missing.chunk_by(|one, next| one + 1 == *next) {
            words.extend([run.first(), run.last()].into_iter().flatten().map(u16::to_string));
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.ask(link, &words)?;
        Ok(())
    }

    /// Every node is told of those that it does not know, until all know all.
    fn introduce(&self, links: &mut [Link]) -> Result<(), Missing> {
        let mut left = 0;
        for link in links {
            let view = self.view(link)?;
            left += view.rows.iter().filter(|row| row.is("handshake")).count();
            for port in self.layout.ports().filter(|port| !view.knows(*port)) {
                left += 1;
                // Asked again on the next look if it was lost; asking twice does no harm.
                self.ask(link, &["CLUSTER", "MEET", "127.0.0.1", &port.to_string()])?;
            }
        }
        if left == 0 {
            return Ok(());
        }
        Err(yet(format!("the nodes have yet to meet ({left} introductions left)")))
    }

    fn attach(&self, replica: &mut Link, id: &str) -> Result<(), Missing> {
        if self.view(replica)?.myself()?.primary == "-" {
            self.ask(replica, &["CLUSTER", "REPLICATE", id])?;
        }
        Ok(())
    }

    /// Whether all nodes see one and the same healthy cluster.
    fn agree(&self, links: &mut [Link]) -> Result<(), Missing> {
        let mut first: Option<Vec<Row>> = None;
        for link in links {
            let text = link.ask(&["CLUSTER", "NODES"]).map_err(|_| yet(no_answer(link)))?;
            let view = View::read(&text);
            if view.rows.len() != usize::from(self.layout.nodes()) {
                return Err(yet(format!("node {} knows {} nodes", link.port, view.rows.len())));
            }
            if let Some(row) = view.rows.iter().find(|row| row.is_in_trouble()) {
                let flags = row.flags.join(",");
                return Err(yet(format!("node {} sees node {} as {flags}", link.port, row.port)));
            }
            let shape = view.shape();
            if *first.get_or_insert_with(|| shape.clone()) != shape {
                return Err(yet(format!("node {} has yet to learn who serves what", link.port)));
            }
        }
        Ok(())
    }

    fn view(&self, link: &mut Link) -> Result<View, Missing> {
        self.ask(link, &["CLUSTER", "NODES"]).map(|text| View::read(&text))
    }

    /// A node that is silent is asked again, together with all that led to the question; one that refuses
    /// will not change its mind.
    fn ask(&self, link: &mut Link, words: &[&str]) -> Result<String, Missing> {
        let port = link.port;
        link.ask(words).map_err(|silence| match silence {
            Silence::Away(error) => yet(format!("node {port} does not answer ({error})")),
            Silence::Refused(reply) => Missing::Never(LaunchError::Refused {
                port,
                command: words.join(" "),
                reply,
                dir: self.folder.to_owned(),
            }),
        })
    }

    /// Looks again and again until nothing is missing. What is missing is a sentence; as long as that
    /// changes, the start makes progress.
    fn wait<T>(&self, mut look: impl FnMut() -> Result<T, Missing>) -> Result<T, LaunchError> {
        let mut state = String::new();
        let mut deadline = now() + STALLED;
        loop {
            let found = match look() {
                Ok(done) => return Ok(done),
                Err(Missing::Never(error)) => return Err(error),
                Err(Missing::Yet(found)) => found,
            };
            if (self.interrupted)() {
                return Err(LaunchError::Interrupted);
            }
            if let Some(death) = self.nodes.first_death() {
                return Err(death.into());
            }
            if found != state {
                state = found;
                deadline = now() + STALLED;
            } else if now() > deadline {
                let seconds = STALLED.as_secs();
                return Err(LaunchError::NotReady { seconds, state, dir: self.folder.to_owned() });
            }
            pause(LOOK);
        }
    }

    /// Shows only what differs from what was shown last.
    fn show(&self, last: &mut Option<u16>, count: u16, step: Progress<'_>) {
        if last.replace(count) != Some(count) {
            (self.progress)(step);
        }
    }
}

impl Seen {
    /// A node that does not answer sees nothing.
    fn by(link: &mut Link) -> Self {
        let info = link.ask(&["CLUSTER", "INFO"]).unwrap_or_default();
        let served = field(&info, "cluster_slots_ok").and_then(|count| count.parse().ok());
        let usable = field(&info, "cluster_state") == Some("ok");
        Self { by: link.port, served: served.unwrap_or(0), usable }
    }
}

impl View {
    fn read(text: &str) -> Self {
        Self { rows: text.lines().filter_map(Row::read).collect() }
    }

    fn myself(&self) -> Result<&Row, Missing> {
        let found = self.rows.iter().find(|row| row.is("myself"));
        found.ok_or_else(|| yet("a node does not know itself".to_owned()))
    }

    fn knows(&self, port: u16) -> bool {
        self.rows.iter().any(|row| row.port == port)
    }

    /// What has to be the same for every node: who there is, who copies whom, and who serves what.
    fn shape(&self) -> Vec<Row> {
        let mut rows = self.rows.clone();
        for row in &mut rows {
            row.flags.retain(|flag| flag != "myself");
            // Slots on the move are known to the two nodes concerned only.
            row.slots.retain(|slots| !slots.starts_with('['));
            row.epoch = 0;
        }
        rows.sort();
        rows
    }
}

impl Row {
    /// `id ip:port@bus[,name] flags primary ping pong epoch link slots...`
    fn read(line: &str) -> Option<Self> {
        let mut parts = line.split(' ');
        let id = parts.next()?.to_owned();
        let (address, _) = parts.next()?.split_once('@')?;
        let (_, port) = address.rsplit_once(':')?;
        let flags = parts.next()?.split(',').map(str::to_owned).collect();
        let primary = parts.next()?.to_owned();
        let epoch = parts.nth(2)?.parse().ok()?;
        let slots = parts.skip(1).map(str::to_owned).collect();
        Some(Self { id, port: port.parse().ok()?, flags, primary, epoch, slots })
    }

    fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|own| own == flag)
    }

    fn is_in_trouble(&self) -> bool {
        ["fail", "fail?", "handshake", "noaddr"].iter().any(|flag| self.is(flag))
    }
}

/// Whether the node answers, and has all its data.
fn awake(link: &mut Link) -> Result<(), Missing> {
    match link.ask(&["PING"]) {
        Ok(_) => Ok(()),
        Err(Silence::Away(error)) => {
            Err(yet(format!("node {} does not answer ({error})", link.port)))
        }
        Err(Silence::Refused(text)) => {
            // Loading takes as long as it takes: while the share grows, the start is not stalled.
            let info = link.ask(&["INFO", "persistence"]).unwrap_or_default();
            let share = field(&info, "loading_loaded_perc").unwrap_or("?");
            Err(yet(format!("node {} is not ready, {share} % loaded ({text})", link.port)))
        }
    }
}

/// What a replica lacks; nothing for a primary.
fn lag(link: &mut Link) -> Option<String> {
    let Ok(info) = link.ask(&["INFO", "replication"]) else { return Some(no_answer(link)) };
    if field(&info, "role") != Some("slave") || field(&info, "master_link_status") == Some("up") {
        return None;
    }
    let copied = field(&info, "master_sync_read_bytes").unwrap_or("0");
    Some(format!("replica {} is not in step yet ({copied} bytes copied)", link.port))
}

fn yet(text: String) -> Missing {
    Missing::Yet(text)
}

fn no_answer(link: &Link) -> String {
    format!("node {} does not answer", link.port)
}

/// The value in a `key:value` line of INFO.
fn field<'a>(info: &'a str, key: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim_end)
}

/// A primary's equal share of the slots.
pub(super) fn share_of(index: u16, masters: u16) -> RangeInclusive<u16> {
    let edge = |index: u32| index * u32::from(SLOTS) / u32::from(masters.max(1));
    let index = u32::from(index);
    let edge = |index| u16::try_from(edge(index)).unwrap_or(SLOTS);
    edge(index)..=edge(index + 1).saturating_sub(1)
}

/// As `CLUSTER NODES` writes it.
fn range(slots: &RangeInclusive<u16>) -> String {
    let (first, last) = (slots.start(), slots.end());
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

fn list(slots: &[String]) -> String {
    if slots.is_empty() { "no slots".to_owned() } else { format!("slots {}", slots.join(" ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_every_slot_once() {
        for masters in [1, 2, 3, 5, 7, 1000] {
            let slots: Vec<u16> = (0..masters).flat_map(|index| share_of(index, masters)).collect();
            assert!(slots.into_iter().eq(0..SLOTS), "{masters}");
        }
    }

    #[test]
    fn reads_a_line_of_cluster_nodes() {
        let row = |port, flags: &[&str], primary: &str, epoch, slots: &[&str]| Row {
            id: "07c3".to_owned(),
            port,
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            primary: primary.to_owned(),
            epoch,
            slots: slots.iter().map(|slots| (*slots).to_owned()).collect(),
        };
        for (line, expected) in [
            (
                "07c3 127.0.0.1:7000@17000 myself,master - 0 1426238317239 4 connected 0-5460 9",
                Some(row(7000, &["myself", "master"], "-", 4, &["0-5460", "9"])),
            ),
            (
                "07c3 127.0.0.1:7004@17004,name,shard-id=1 slave e7d1 0 1426238317239 0 connected",
                Some(row(7004, &["slave"], "e7d1", 0, &[])),
            ),
            (
                "07c3 :0@0 master,noaddr - 0 0 2 disconnected",
                Some(row(0, &["master", "noaddr"], "-", 2, &[])),
            ),
            ("vars currentEpoch 6 lastVoteEpoch 0", None),
            ("", None),
        ] {
            assert_eq!(Row::read(line), expected, "{line}");
        }
    }

    #[test]
    fn finds_a_field_by_its_whole_name() {
        let info = "cluster_state:ok\r\ncluster_slots_ok:16384\r\nrole:slave\r\n";
        for (key, expected) in [
            ("cluster_state", Some("ok")),
            ("cluster_slots", None),
            ("role", Some("slave")),
            ("x", None),
        ] {
            assert_eq!(field(info, key), expected, "{key}");
        }
    }
}
