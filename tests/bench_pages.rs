//! The pages that the benches write: what is drawn is what was measured, and a curve's exponent is its own.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

#[path = "../benches/side_by_side/charts.rs"]
mod charts;
#[path = "../benches/side_by_side/curves.rs"]
mod curves;

use std::collections::BTreeMap;

use charts::{Bar, Group, Panel, draw};
use curves::{Curve, Step, markdown};

fn bar(name: &str, value: f64) -> Bar {
    Bar { name: name.to_owned(), value, beyond: None, ours: name == "ours" }
}

fn panel(bars: Vec<Bar>) -> Panel {
    let groups = vec![Group { caption: "a group".to_owned(), bars }];
    Panel { title: "a load".to_owned(), groups }
}

fn drawn(panels: &[Panel], decimals: usize) -> String {
    draw("head", &["note".to_owned()], panels, decimals)
}

/// The values of an attribute, in the order of the elements that have it.
fn attribute(svg: &str, element: &str, name: &str) -> Vec<f64> {
    let values = svg.lines().filter(|line| line.starts_with(element)).filter_map(|line| {
        let (_, rest) = line.split_once(&format!(" {name}=\""))?;
        rest.split('"').next()?.parse().ok()
    });
    values.collect()
}

const BARS: &str = "<rect class=\"ours\"";
const OTHERS: &str = "<rect class=\"theirs\"";

#[test]
fn lengths_are_in_proportion_within_a_panel() {
    let panels =
        [panel(vec![bar("ours", 2.0), bar("a", 8.0), bar("b", 4.0)]), panel(vec![bar("a", 1.0)])];
    let svg = drawn(&panels, 2);
    let ours = attribute(&svg, BARS, "width");
    let others = attribute(&svg, OTHERS, "width");
    assert_eq!(ours.len(), 1);
    assert_eq!(others.len(), 3);
    assert!((others[0] / ours[0] - 4.0).abs() < 0.01, "{svg}");
    assert!((others[1] / ours[0] - 2.0).abs() < 0.01, "{svg}");
    // Each panel has a scale of its own: its longest bar is as long as any other's longest.
    assert_eq!(others[2], others[0]);
}

#[test]
fn groups_of_one_panel_share_its_scale() {
    let group = |value| Group { caption: format!("of {value}"), bars: vec![bar("a", value)] };
    let both = Panel { title: "a load".to_owned(), groups: vec![group(3.0), group(6.0)] };
    let svg = drawn(&[both], 0);
    let widths = attribute(&svg, OTHERS, "width");
    assert!((widths[1] / widths[0] - 2.0).abs() < 0.01, "{svg}");
    assert!(svg.contains(">of 3</text>") && svg.contains(">of 6</text>"), "{svg}");
}

#[test]
fn a_second_figure_reaches_further_and_is_drawn_behind() {
    let wide = Bar { beyond: Some(30.0), ..bar("ours", 10.0) };
    let svg = drawn(&[panel(vec![wide])], 0);
    let (back, front) = (svg.find("ours beyond\" x").unwrap(), svg.find(BARS).unwrap());
    assert!(back < front, "{svg}");
    let [behind, before] =
        ["<rect class=\"ours beyond\"", BARS].map(|element| attribute(&svg, element, "width")[0]);
    assert!((behind / before - 3.0).abs() < 0.01, "{svg}");
    assert!(svg.contains(">10, 30</text>"), "{svg}");
}

#[test]
fn everything_is_inside_of_the_picture_and_nothing_overlaps() {
    let bars = || vec![bar("ours", 1e6), bar("nutcracker", 123_456.0)];
    let svg = drawn(&[panel(bars()), panel(bars()), panel(bars())], 0);
    let height = attribute(&svg, "<rect class=\"page\"", "height")[0];
    let width = attribute(&svg, "<rect class=\"page\"", "width")[0];
    let mut corners: Vec<(f64, f64)> = vec![];
    for element in [BARS, OTHERS] {
        let (x, y) = (attribute(&svg, element, "x"), attribute(&svg, element, "y"));
        for (x, (y, long)) in x.iter().zip(y.iter().zip(attribute(&svg, element, "width"))) {
            assert!(x + long < width && y + 16.0 < height, "{svg}");
            let apart = |other: &(f64, f64)| other.0 != *x || (other.1 - y).abs() >= 16.0;
            assert!(corners.iter().all(apart), "{svg}");
            corners.push((*x, *y));
        }
    }
    assert_eq!(corners.len(), 6);
    assert!(svg.contains(">1,000,000</text>") && svg.contains(">123,456</text>"), "{svg}");
}

#[test]
fn words_cannot_break_the_picture() {
    let group = Group { caption: "c > d".to_owned(), bars: vec![bar("<x>", 1.0)] };
    let named = Panel { title: "a < b & c".to_owned(), groups: vec![group] };
    let svg = draw("h & h", &["n > n".to_owned()], &[named], 0);
    for text in ["a &lt; b &amp; c", "&lt;x&gt;", "h &amp; h", "n &gt; n", "c &gt; d"] {
        assert!(svg.contains(text), "{svg}");
    }
    let opened = svg.matches("<text").count();
    assert_eq!(opened, svg.matches("</text>").count());
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("prefers-color-scheme:dark"));
}

/// A unit of so much work costs that.
fn curve(cost: fn(f64) -> f64) -> Curve {
    let step = |size: u64| Step { size, costs: vec![cost(size as f64)] };
    Curve { name: "name", of: "things", unit: "thing", steps: [1, 10, 100, 1_000].map(step).into() }
}

#[test]
fn the_exponent_is_that_of_the_whole() {
    for (cost, exponent, verdict) in [
        ((|_| 7.0) as fn(f64) -> f64, 1.0, "linear or better"),
        (|size| size, 2.0, "**worse than linear**"),
        (|size| 5.0 / size, 0.0, "linear or better"),
    ] {
        let curve = curve(cost);
        assert!((curve.exponent().unwrap() - exponent).abs() < 1e-9);
        let page = markdown(&BTreeMap::new(), &[curve]);
        assert!(page.contains(&format!("Exponent {exponent:.2}: {verdict}.")), "{page}");
    }
}

#[test]
fn a_step_costs_the_median_of_its_rounds() {
    let step = Step { size: 1_000, costs: vec![9.0, 1.0, 2.0] };
    let page = markdown(
        &BTreeMap::new(),
        &[Curve { name: "name", of: "things", unit: "thing", steps: vec![step] }],
    );
    assert!(page.contains("| things | 1,000 |\n"), "{page}");
    assert!(page.contains("| us for each thing | 2.00 |\n"), "{page}");
    assert!(page.contains("too few steps"), "{page}");
}
