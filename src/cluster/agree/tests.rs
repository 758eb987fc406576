use std::fmt::Write as _;

use super::*;

/// A view in short: lines of `id epoch role slots..`, where the role is `p` or the primary's id, and the
/// viewer's line starts with `*`. A `!` before the id says fail, a `?` suspected, a `~` that the address is unknown.
fn view(healthy: bool, lines: &[&str]) -> View {
    let nodes: Vec<Seen> = lines.iter().map(|line| seen(line)).collect();
    let current_epoch = nodes.iter().map(|node| node.epoch).max().unwrap();
    View { healthy, current_epoch, nodes }
}

fn seen(line: &str) -> Seen {
    let mut words = line.split(' ');
    let marked = words.next().unwrap();
    let id = marked.trim_start_matches(['*', '!', '?', '~']);
    let epoch = words.next().unwrap().parse().unwrap();
    let role = match words.next().unwrap() {
        "p" => Role::Primary,
        "-" => Role::Unknown,
        primary => Role::ReplicaOf(primary.to_owned()),
    };
    let slots = words.map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse().unwrap()..=last.parse().unwrap()
    });
    Seen {
        id: id.to_owned(),
        address: (!marked.contains('~')).then(|| format!("{id}:1").into()),
        announced: vec![format!("{id}.name:1")],
        myself: marked.contains('*'),
        role,
        health: match () {
            () if marked.contains('!') => Health::Failed,
            () if marked.contains('?') => Health::Suspected,
            () => Health::Online,
        },
        epoch,
        slots: slots.collect(),
    }
}

/// Who serves what, in short: `a[0-99] a[..] +replica`, one shard after the other, idle nodes at the end.
fn shape(topology: &Topology) -> String {
    let mut text = String::new();
    for (number, shard) in topology.numbered_shards() {
        let owned =
            |slot: &usize| topology.shard_of(Slot::new(*slot as u16).unwrap()) == Some(number);
        let slots: Vec<usize> = (0..Slot::COUNT).filter(owned).collect();
        let runs = slots
            .chunk_by(|a, b| a + 1 == *b)
            .map(|run| format!("{}-{}", run[0], run[run.len() - 1]));
        write!(
            text,
            "{}@{}[{}] ",
            shard.primary.id,
            shard.epoch,
            runs.collect::<Vec<_>>().join(" ")
        )
        .unwrap();
        shard.replicas.iter().for_each(|replica| write!(text, "+{} ", replica.id).unwrap());
    }
    topology.idle().iter().for_each(|node| write!(text, "({}) ", node.id).unwrap());
    text.trim_end().to_owned()
}

fn merged(views: &[View], published: &Topology) -> Topology {
    merge_views(views, published).unwrap()
}

fn first(lines: &[&str]) -> Topology {
    merged(&[view(true, lines)], &Topology::empty())
}

/// Three primaries, of which `a` and `b` have a replica.
const THREE: [&str; 5] = ["*a 1 p 0-99", "b 2 p 100-199", "c 3 p 200-16383", "a2 1 a", "b2 2 b"];

#[test]
fn one_view() {
    let topology = first(&THREE);
    assert_eq!(shape(&topology), "a@1[0-99] +a2 b@2[100-199] +b2 c@3[200-16383]");
    assert_eq!((topology.version, topology.epoch, topology.covered()), (1, 3, Slot::COUNT));
    assert_eq!(topology.nodes().count(), 5);
    let slot = Slot::new(150).unwrap();
    assert_eq!(topology.primary_of(slot).unwrap().id, "b");
    assert_eq!(topology.find("b:1").unwrap().id, "b");
    assert_eq!(topology.find("b2.name:1").unwrap().id, "b2");
    assert_eq!(topology.find("b2.name:2"), None);
    assert_eq!(topology.find(""), None);
}

#[test]
fn nothing_known_is_no_topology() {
    assert!(merge_views(&[], &Topology::empty()).is_none());
    assert!(merge_views(&[], &first(&THREE)).is_none());
    assert!(Topology::empty().shard_of(Slot::new(0).unwrap()).is_none());
    assert_eq!(Topology::empty().covered(), 0);
}

#[test]
fn the_order_of_nodes_does_not_matter() {
    let topology = first(&THREE);
    let mut lines = THREE;
    lines.reverse();
    let again = merged(&[view(true, &lines)], &topology);
    assert_eq!(again, topology);
    assert_eq!(again.version, 1);
}

/// A name, what is published, the views of the next look, and what comes out.
type Look<'a> = (&'a str, &'a [&'a str], &'a [View], &'a str);

fn check(looks: &[Look<'_>]) {
    for (name, published, views, expected) in looks {
        let published = first(published);
        let next = merged(views, &published);
        assert_eq!(shape(&next), *expected, "{name}");
        let changed = !next.same_as(&published);
        assert_eq!(next.version, published.version + u64::from(changed), "{name}");
    }
}

#[test]
fn failovers() {
    let failed_over = ["!a 1 p", "*b 2 p 100-199", "c 3 p 200-16383", "a2 7 p 0-99", "b2 2 b"];
    check(&[
        (
            "a failover",
            &THREE,
            &[view(true, &failed_over)],
            "a2@7[0-99] b@2[100-199] +b2 c@3[200-16383] (a)",
        ),
        (
            "a stale node beside a new one",
            &THREE,
            &[view(true, &THREE), view(true, &failed_over)],
            "a2@7[0-99] b@2[100-199] +b2 c@3[200-16383] (a)",
        ),
        (
            "a stale node alone, which still takes itself for the primary",
            &failed_over,
            &[view(true, &THREE)],
            "a2@7[0-99] b@2[100-199] +b2 c@3[200-16383] (a)",
        ),
        (
            "a node cut off says fail and is not heard",
            &THREE,
            &[view(false, &["*b 9 p 0-16383", "a 1 p", "c 3 p"]), view(true, &THREE)],
            "a@1[0-99] +a2 b@2[100-199] +b2 c@3[200-16383]",
        ),
        (
            "nodes that say fail are better than none",
            &THREE,
            &[view(false, &failed_over)],
            "a2@7[0-99] b@2[100-199] +b2 c@3[200-16383] (a)",
        ),
        (
            "a primary down without a replica keeps its slots",
            &THREE,
            &[view(
                false,
                &["a 1 p 0-99", "*b 2 p 100-199", "!c 3 p 200-16383", "a2 1 a", "b2 2 b"],
            )],
            "a@1[0-99] +a2 b@2[100-199] +b2 c@3[200-16383]",
        ),
    ]);
}

#[test]
fn moved_slots() {
    let moved = ["*b 8 p 50-199", "a 1 p 0-49", "c 3 p 200-16383", "a2 1 a", "b2 8 b"];
    check(&[
        (
            "slots moved",
            &THREE,
            &[view(true, &moved)],
            "a@1[0-49] +a2 b@8[50-199] +b2 c@3[200-16383]",
        ),
        (
            "their former owner has not heard yet",
            &moved,
            &[view(true, &THREE)],
            "a@1[0-49] +a2 b@8[50-199] +b2 c@3[200-16383]",
        ),
        (
            "slots moved to a node whose epoch was the highest before",
            &THREE,
            &[
                view(true, &["*a 1 p 0-99", "b 2 p 100-199", "c 3 p 200-16383"]),
                view(true, &["*c 3 p 0-9 200-16383", "a 1 p 10-99", "b 2 p 100-199"]),
            ],
            "c@3[0-9 200-16383] a@1[10-99] b@2[100-199]",
        ),
        (
            "and back, which gives a new epoch",
            &["*c 3 p 0-9 200-16383", "a 1 p 10-99", "b 2 p 100-199"],
            &[view(true, &["*a 4 p 0-99", "b 2 p 100-199", "c 3 p 200-16383"])],
            "a@4[0-99] b@2[100-199] c@3[200-16383]",
        ),
        (
            "a third node with an old picture, the owner not asked",
            &["*c 3 p 0-9 200-16383", "a 1 p 10-99", "b 2 p 100-199"],
            &[view(true, &["a 1 p 0-99", "*b 2 p 100-199", "c 2 p 200-16383"])],
            "c@3[0-9 200-16383] a@1[10-99] b@2[100-199]",
        ),
        (
            "the owner itself gave the slots up",
            &THREE,
            &[view(true, &["*c 3 p 300-16383", "a 1 p 0-99", "b 2 p 100-199"])],
            "a@1[0-99] b@2[100-199] c@3[300-16383]",
        ),
        (
            "everybody says that nobody has them",
            &THREE,
            &[view(true, &["*a 1 p 0-99", "b 2 p 100-199", "c 3 p 300-16383"])],
            "a@1[0-99] b@2[100-199] c@3[300-16383]",
        ),
        (
            "half a view: nodes that do not know of it do not make a slot ownerless",
            &["*a 1 p 0-99", "n 9 p 100-16383"],
            &[view(true, &["*a 1 p 0-99", "n 0 p"])],
            "a@1[0-99] n@9[100-16383]",
        ),
    ]);
}

#[test]
fn nodes_that_come_and_go() {
    check(&[
        (
            "a node that was forgotten is gone",
            &THREE,
            &[view(true, &["*a 1 p 0-99", "b 2 p 100-199", "a2 1 a"])],
            "a@1[0-99] +a2 b@2[100-199]",
        ),
        (
            "a node that is cut off cannot forget for the others",
            &THREE,
            &[view(false, &["*a 1 p 0-99", "a2 1 a"])],
            "a@1[0-99] +a2 b@2[100-199] c@3[200-16383]",
        ),
        (
            "another cluster under the same addresses",
            &THREE,
            &[view(true, &["*x 1 p 0-8191", "y 2 p 8192-16383", "x2 1 x"])],
            "x@1[0-8191] +x2 y@2[8192-16383]",
        ),
        (
            "primaries without slots and what follows them are idle",
            &THREE,
            &[view(
                true,
                &["*a 1 p 0-99", "b 2 p 100-199", "c 3 p 200-16383", "d 4 p", "d2 4 d", "h 0 -"],
            )],
            "a@1[0-99] b@2[100-199] c@3[200-16383] (d) (d2)",
        ),
        (
            "an address that only one viewer knows",
            &THREE,
            &[
                view(true, &["*a 1 p 0-99", "~n 9 p 100-16383"]),
                view(true, &["a 1 p 0-99", "*n 9 p 100-16383"]),
            ],
            "a@1[0-99] n@9[100-16383]",
        ),
        (
            "an address that nobody knows but we do",
            &THREE,
            &[view(true, &["*a 1 p 0-99", "~b 2 p 100-199", "c 3 p 200-16383"])],
            "a@1[0-99] b@2[100-199] c@3[200-16383]",
        ),
        (
            "an address that nobody knows at all",
            &THREE,
            &[view(true, &["*a 1 p 0-99", "b 2 p 100-199", "~n 9 p 200-16383", "c 3 p"])],
            "a@1[0-99] b@2[100-199] (c)",
        ),
    ]);
}

#[test]
fn the_first_of_equal_words_wins() {
    let mine = view(true, &["*a 1 p 0-9", "b 1 p 20-29"]);
    let yours = view(true, &["a 1 p 0-4", "*b 1 p 5-9 20-29"]);
    // Both speak for themselves, so it is the order of arrival.
    let topology = merged(&[mine.clone(), yours.clone()], &Topology::empty());
    assert_eq!(shape(&topology), "a@1[0-9] b@1[20-29]");
    let topology = merged(&[yours.clone(), mine], &Topology::empty());
    assert_eq!(shape(&topology), "a@1[0-4] b@1[5-9 20-29]");
    // A third node's word counts less than the owner's.
    let third = view(true, &["a 1 p 0-9", "b 1 p 20-29", "*c 0 p"]);
    let topology = merged(&[third, yours], &Topology::empty());
    assert_eq!(shape(&topology), "a@1[0-4] b@1[5-9 20-29] (c)");
}

#[test]
fn the_worst_opinion_counts() {
    let topology = merged(
        &[
            view(true, &["*a 1 p 0-9", "b 2 p 10-19"]),
            view(true, &["a 1 p 0-9", "*c 0 p", "?b 2 p 10-19"]),
        ],
        &Topology::empty(),
    );
    assert_eq!(topology.shards()[0].primary.health, Health::Online);
    assert_eq!(topology.shards()[1].primary.health, Health::Suspected);
}

#[test]
fn a_cluster_that_does_not_work_yet_replaces_none() {
    let published = first(&THREE);
    let new = ["*x 1 p 0-8191", "y 2 p"];
    assert!(merge_views(&[view(false, &new)], &published).is_none());
    assert!(merge_views(&[view(false, &new)], &Topology::empty()).is_some());
}

#[test]
fn a_stale_look_after_a_wrong_one_is_mended_by_the_owner() {
    // Whatever is remembered wrongly, the owner's own word clears it.
    let wrong = first(&["*a 1 p 0-99", "b 9 p 100-16383"]);
    let truth = ["a 1 p 0-16383", "*b 9 p"];
    assert_eq!(shape(&merged(&[view(true, &truth)], &wrong)), "a@1[0-16383] (b)");
}

#[test]
fn any_views_make_a_sound_topology() {
    use proptest::prelude::*;
    let node = (0..6_u8, 0..4_u64, any::<bool>(), 0..20_u16, 0..20_u16, any::<bool>());
    let view = (any::<bool>(), prop::collection::vec(node, 0..6)).prop_map(|(healthy, nodes)| {
        let nodes = nodes.into_iter().enumerate().map(
            |(place, (id, epoch, primary, start, more, placed))| Seen {
                id: id.to_string(),
                address: placed.then(|| format!("{id}:1").into()),
                announced: Vec::new(),
                myself: place == 0,
                role: if primary { Role::Primary } else { Role::ReplicaOf((id % 3).to_string()) },
                health: Health::Online,
                epoch,
                slots: vec![start..=start + more],
            },
        );
        View { healthy, current_epoch: 1, nodes: nodes.collect() }
    });
    proptest!(|(looks in prop::collection::vec(prop::collection::vec(view, 0..4), 1..6))| {
        let mut topology = Topology::empty();
        for views in looks {
            let Some(next) = merge_views(&views, &topology) else { continue };
            for (number, shard) in next.numbered_shards() {
                prop_assert!((0..100).any(|slot| next.shard_of(Slot::new(slot).unwrap()) == Some(number)));
                prop_assert!(!shard.replicas.iter().any(|replica| replica.id == shard.primary.id));
            }
            let mut ids: Vec<_> = next.nodes().map(|node| &node.id).collect();
            ids.sort();
            ids.dedup();
            prop_assert_eq!(ids.len(), next.nodes().count());
            prop_assert_eq!(next.version == topology.version, next.same_as(&topology));
            // Looking again at the same views changes nothing.
            prop_assert_eq!(merge_views(&views, &next).unwrap().version, next.version);
            topology = next;
        }
    });
}
