//! The figures of `deploy/PRODUCTION.md`, which come from `benches/RESULTS.md`.

/// The page with the figures of these results in it, each between the words that stand around it.
///
/// # Errors
/// The results lack a load, or the page lacks such words.
pub(crate) fn with_figures(page: &str, results: &str) -> Result<String, String> {
    let results = Results::read(results)?;
    let mut page = Page(page.to_owned());
    let cpu = |loads: &[&str]| results.figures(loads, "slotway", "proxy us").map(largest);
    let small = cpu(&["get-c50", "set-c50"])?;
    let ten = cpu(&["mget-10", "mset-10"])?;
    for (before, figure) in [
        ("each waiting for its reply | ", small),
        ("the same in pipelines of 16 | ", cpu(&["get-p16", "set-p16"])?),
        ("GET, SET of 16 KiB | ", cpu(&["get-16k", "set-16k"])?),
        ("MGET, MSET of 10 keys in several slots | ", ten),
        ("MGET, MSET of 100 keys in several slots | ", cpu(&["mget-100", "mset-100"])?),
        ("MULTI, five SETs, EXEC | ", cpu(&["tx-5"])?),
        ("the same with WATCH before it | ", cpu(&["watch-3000"])?),
        ("EVALSHA with a key | ", cpu(&["evalsha"])?),
        ("BLPOP, for each element it gets | ", cpu(&["wake-ups"])?),
        ("PUBLISH, for each subscriber that gets the message | ", cpu(&["fan-100"])?),
        ("one client alone that waits for each reply | ", cpu(&["get-c1"])?),
    ] {
        page.put(before, " µs |", &short(figure))?;
    }
    let large = results.figures(&["get-1m", "set-1m"], "slotway", "proxy us")?;
    page.put("GET, SET of 1 MiB | ", " µs |", &range(&large))?;

    let cores = (80_000.0 * small + 2_000.0 * ten) / 1e6;
    let sum = format!("{} µs + 2,000 × {} µs = {cores:.2}", short(small), short(ten));
    page.put("80,000 × ", " cores busy", &sum)?;
    let workers = cores / 0.6;
    page.put(
        "busy,\nso ",
        " workers",
        &format!("{cores:.2} / 0.6 = {workers:.1}: {}", workers.ceil()),
    )?;

    let nodes = |peer| results.figures(&["get-c50"], peer, "nodes us");
    let (with, without) = (smallest(nodes("slotway")?), smallest(nodes("direct")?));
    let nodes = format!("{} µs instead of {}", short(with), short(without));
    page.put("many clients' requests together: ", " µs for a GET", &nodes)?;
    let added = results.figures(&["get-c1"], "slotway", "added p50")?;
    page.put("a client alone waits ", " µs longer", &range(&added))?;

    let client = largest(results.figures(&["idle", "idle-burst"], "slotway", "KiB/conn")?);
    page.put("resident = 11 MiB + clients × ", " KiB + what", &short(client))?;
    let clients = (10_000.0 * client / 1024.0).round();
    page.put("10,000 clients: 11 MiB + ", " MiB. A", &clients.to_string())?;
    let all = 11.0 + clients;
    let sum = format!("{all} + 128 + 2 × 80 = {}", all + 288.0);
    page.put("`routing.gathered_bytes_all = \"64MiB\"`:\n", " MiB", &sum)?;
    Ok(page.0)
}

/// The table, row by row.
struct Results<'a> {
    header: Vec<&'a str>,
    rows: Vec<Vec<&'a str>>,
}

impl<'a> Results<'a> {
    fn read(text: &'a str) -> Result<Self, String> {
        let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
        let mut rows = rows.map(|row| row.split(" |").map(str::trim).collect());
        let header = rows.next().ok_or("RESULTS.md has no table")?;
        Ok(Self { header, rows: rows.collect() })
    }

    /// What the column says of these loads through this peer; never empty.
    fn figures(&self, loads: &[&str], peer: &str, column: &str) -> Result<Vec<f64>, String> {
        let at = self.header.iter().position(|name| *name == column);
        let at = at.ok_or_else(|| format!("RESULTS.md has no column {column:?}"))?;
        let of_load = |load: &&str| {
            let is_row = |row: &&Vec<&str>| row.first() == Some(load) && row.get(2) == Some(&peer);
            let rows = self.rows.iter().filter(is_row);
            let found: Vec<f64> = rows.filter_map(|row| row.get(at)?.parse().ok()).collect();
            match found.is_empty() {
                true => Err(format!("RESULTS.md has no {column:?} of {load} through {peer}")),
                false => Ok(found),
            }
        };
        Ok(loads.iter().map(of_load).collect::<Result<Vec<_>, _>>()?.concat())
    }
}

struct Page(String);

impl Page {
    /// Replaces what stands behind these words, up to those.
    fn put(&mut self, before: &str, after: &str, figure: &str) -> Result<(), String> {
        let from = self.0.find(before).map(|at| at + before.len());
        let length = from.and_then(|from| self.0.get(from..)?.find(after));
        let (Some(from), Some(length)) = (from, length) else {
            return Err(format!("PRODUCTION.md has no {before:?} with {after:?} behind it"));
        };
        self.0.replace_range(from..from + length, figure);
        Ok(())
    }
}

fn largest(figures: Vec<f64>) -> f64 {
    figures.into_iter().fold(f64::MIN, f64::max)
}

fn smallest(figures: Vec<f64>) -> f64 {
    figures.into_iter().fold(f64::MAX, f64::min)
}

fn range(figures: &[f64]) -> String {
    format!("{} to {}", short(smallest(figures.to_vec())), short(largest(figures.to_vec())))
}

/// Two digits that count.
fn short(figure: f64) -> String {
    match figure {
        100.0.. => format!("{}", (figure / 10.0).round() * 10.0),
        10.0.. => format!("{figure:.0}"),
        1.0.. => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}
