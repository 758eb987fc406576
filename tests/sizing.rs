//! What `deploy/PRODUCTION.md` says of sizes is what `benches/RESULTS.md` says. `BLESS=1` writes it anew, and so does
//! `cargo bench --bench side_by_side -- --write-results`.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::fs;

#[path = "../benches/side_by_side/sizing.rs"]
mod sizing;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/PRODUCTION.md");
const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/RESULTS.md");

#[test]
fn sizes_are_those_that_were_measured() {
    let (page, results) = (fs::read_to_string(PAGE).unwrap(), fs::read_to_string(RESULTS).unwrap());
    let wanted = sizing::with_figures(&page, &results).unwrap();
    if std::env::var_os("BLESS").is_some() {
        fs::write(PAGE, &wanted).unwrap();
        return;
    }
    for (line, wanted) in page.lines().zip(wanted.lines()) {
        assert_eq!(line, wanted, "write it anew: BLESS=1 cargo test --test sizing");
    }
}

#[test]
fn figures_are_put_where_their_words_are() {
    let (page, results) = (fs::read_to_string(PAGE).unwrap(), fs::read_to_string(RESULTS).unwrap());
    let without = results.replace("| tx-5 ", "| tx-6 ");
    assert!(sizing::with_figures(&page, &without).unwrap_err().contains("tx-5"));
    let without = page.replace("EVALSHA", "EVAL");
    assert!(sizing::with_figures(&without, &results).unwrap_err().contains("EVALSHA"));
}
