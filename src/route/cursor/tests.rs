use super::*;
use crate::cluster::{Health, Role, Seen, View, merge_views};

/// Primaries with their slots: `("a", &[(0, 99)])`. A name such as `a@2` is that of `a` with another epoch.
fn topology(primaries: &[(&str, &[(u16, u16)])]) -> Topology {
    let named = primaries.iter().map(|(name, ranges)| {
        let (id, epoch) = name.split_once('@').unwrap_or((name, "1"));
        (id, epoch.parse().unwrap(), ranges)
    });
    let nodes = named.map(|(id, epoch, ranges)| Seen {
        id: id.to_owned(),
        address: Some(format!("{id}:1").into()),
        announced: Vec::new(),
        myself: id == "a",
        role: Role::Primary,
        health: Health::Online,
        epoch,
        slots: ranges.iter().map(|(first, last)| *first..=*last).collect(),
    });
    let view = View { healthy: true, current_epoch: 1, nodes: nodes.collect() };
    merge_views(&[view], &Topology::empty()).unwrap()
}

fn three() -> Topology {
    topology(&[("a", &[(0, 99), (500, 599)]), ("b", &[(100, 499)]), ("c", &[(600, 16_383)])])
}

fn cursor(text: &str) -> Cursor {
    Cursor::parse(text.as_bytes()).unwrap()
}

/// Who is asked with which cursor, and what comes back when the node says so.
fn step(topology: &Topology, text: &str, node_says: u64) -> (String, u64, String) {
    let visit = Itinerary::of(topology).visit(cursor(text), None).unwrap();
    let next = visit.after(node_says).unwrap().to_string();
    (visit.node(topology).unwrap().id.clone(), visit.cursor(), next)
}

#[test]
fn cursors_are_numbers() {
    for text in ["x", "-1", "1x", " 1", "+1", "9223372036854775808", "18446744073709551616"] {
        assert_eq!(Cursor::parse(text.as_bytes()), Err(CursorError::Invalid), "{text}");
    }
    assert_eq!(cursor(""), cursor("0"));
    let most = Cursor { node: (1 << NODE_BITS) - 1, mark: MARK_MASK as u32 };
    assert_eq!(most.encode(), Ok(i64::MAX as u64));
    assert_eq!(Cursor::parse(b"9223372036854775807"), Ok(most));
    assert_eq!(Cursor { node: 1 << NODE_BITS, ..most }.encode(), Err(CursorError::TooLarge));
}

#[test]
fn every_primary_is_visited_once_and_to_its_end() {
    let topology = three();
    let mut met = Vec::new();
    let mut text = "0".to_owned();
    for node_says in [7, 1 << 40, 0, 0, 5, 0] {
        let (id, with, next) = step(&topology, &text, node_says);
        met.push((id, with));
        text = next;
    }
    let met: Vec<(&str, u64)> = met.iter().map(|(id, with)| (id.as_str(), *with)).collect();
    assert_eq!(met, [("a", 0), ("a", 7), ("a", 1 << 40), ("b", 0), ("c", 0), ("c", 5)]);
    assert_eq!(text, "0");
}

#[test]
fn a_scan_starts_over_when_keys_could_be_left_out() {
    let before = three();
    let (_, _, at_b) = step(&before, "0", 0);
    let (_, _, in_b) = step(&before, &at_b, 9);
    let changed: [(&str, Topology); 5] = [
        (
            "a slot left and came back",
            topology(&[
                ("a", &[(0, 99), (500, 599)]),
                ("b@7", &[(100, 499)]),
                ("c", &[(600, 16_383)]),
            ]),
        ),
        (
            "the owner is another",
            topology(&[
                ("a", &[(0, 99), (500, 599)]),
                ("x", &[(100, 499)]),
                ("c", &[(600, 16_383)]),
            ]),
        ),
        (
            "a slot came to one that was visited",
            topology(&[
                ("a", &[(0, 99), (500, 600)]),
                ("b", &[(100, 499)]),
                ("c", &[(601, 16_383)]),
            ]),
        ),
        (
            "a slot came to the one that is visited",
            topology(&[
                ("a", &[(0, 99), (500, 598)]),
                ("b", &[(100, 499), (599, 599)]),
                ("c", &[(600, 16_383)]),
            ]),
        ),
        ("all in one", topology(&[("a", &[(0, 16_383)])])),
    ];
    for (what, after) in changed {
        let (id, with, _) = step(&after, &in_b, 0);
        assert_eq!((id.as_str(), with), ("a", 0), "{what}");
    }
}

#[test]
fn a_scan_goes_on_when_nothing_can_be_left_out() {
    let before = three();
    let (_, _, at_b) = step(&before, "0", 0);
    let (_, _, in_b) = step(&before, &at_b, 9);
    // One that was visited is another node now, and one to come has fewer slots.
    let after = topology(&[
        ("a2@3", &[(0, 99), (500, 599)]),
        ("b", &[(100, 499)]),
        ("c", &[(600, 8_000)]),
        ("d", &[(8_001, 16_383)]),
    ]);
    let (id, with, next) = step(&after, &in_b, 0);
    assert_eq!((id.as_str(), with), ("b", 9));
    let (id, _, next) = step(&after, &next, 0);
    assert_eq!(id, "c");
    assert_eq!(step(&after, &next, 0).0, "d");
}

#[test]
fn one_slot_needs_one_primary() {
    let topology = three();
    let itinerary = Itinerary::of(&topology);
    let only = topology.shard_of(Slot::new(300).unwrap());
    let visit = itinerary.visit(cursor("0"), only).unwrap();
    assert_eq!(visit.node(&topology).unwrap().id, "b");
    let next = visit.after(77).unwrap().to_string();
    let visit = itinerary.visit(cursor(&next), only).unwrap();
    assert_eq!((visit.cursor(), visit.after(0)), (77, Ok(0)));
    let other = topology.shard_of(Slot::new(0).unwrap());
    assert_eq!(itinerary.visit(cursor(&next), other).unwrap().cursor(), 0, "of another primary");
}

#[test]
fn nobody_to_visit() {
    assert!(Itinerary::of(&Topology::empty()).visit(cursor("0"), None).is_none());
}

proptest::proptest! {
    #[test]
    fn what_is_given_out_is_read_back(node in 0_u64..1 << NODE_BITS, mark in 0_u32..1 << MARK_BITS) {
        let cursor = Cursor { node, mark };
        let text = cursor.encode().unwrap().to_string();
        proptest::prop_assert_eq!(Cursor::parse(text.as_bytes()), Ok(cursor));
    }

    #[test]
    fn any_text_is_read_or_refused(text: Vec<u8>) {
        let _ = Cursor::parse(&text);
    }
}
