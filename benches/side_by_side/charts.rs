//! Bars as SVG: one panel for each load, with a scale of its own, for loads differ by orders of magnitude.
//!
//! Every bar begins at 0. A picture brings its own colours, for a light page and for a dark one, and names no font of
//! its own.

use std::fmt::Write as _;

/// One load.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) groups: Vec<Group>,
}

/// Peers that are compared with each other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Group {
    pub(crate) caption: String,
    pub(crate) bars: Vec<Bar>,
}

/// One peer's figure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) value: f64,
    /// A second figure, further out, drawn behind the first.
    pub(crate) beyond: Option<f64>,
    /// The one that the others are compared with.
    pub(crate) ours: bool,
}

const COLUMNS: usize = 2;
const WIDTH: f64 = 880.0;
const MARGIN: f64 = 24.0;
const GUTTER: f64 = 32.0;
/// From one line of the head to the next, and from a panel's title to its first group.
const LINE: f64 = 20.0;
const TITLE: f64 = 10.0;
/// From a group's caption to its first bar, from one bar to the next, and what is left free below a panel.
const CAPTION: f64 = 22.0;
const STEP: f64 = 20.0;
const BELOW: f64 = 30.0;
const BAR: f64 = 16.0;
/// Where bars begin, and what is kept free for figures behind the longest.
const NAMES: f64 = 78.0;
const FIGURES: f64 = 100.0;

const STYLE: &str = "\
.page{fill:#ffffff}.text{fill:#1f2328}.quiet{fill:#59636e}.ours{fill:#0969da}.theirs{fill:#8c959f}\
.ours.beyond{fill:#b6d7fb}.theirs.beyond{fill:#dde1e6}\
text{font:13px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif}\
.title{font-weight:600}.head{font-size:17px;font-weight:600}.end{text-anchor:end}\
@media(prefers-color-scheme:dark){.page{fill:#0d1117}.text{fill:#f0f6fc}.quiet{fill:#9198a1}\
.ours{fill:#4493f8}.theirs{fill:#656c76}.ours.beyond{fill:#1f4b86}.theirs.beyond{fill:#33393f}}";

/// Draws all panels below a headline and lines that say what is drawn. Figures are written with so many decimals.
pub(crate) fn draw(head: &str, notes: &[String], panels: &[Panel], decimals: usize) -> String {
    let column_width = (WIDTH - 2.0 * MARGIN - GUTTER) / COLUMNS as f64;
    let mut drawn = String::new();
    let mut y = MARGIN + 14.0;
    text(&mut drawn, (MARGIN, y), "head text", head);
    for note in notes {
        y += LINE;
        text(&mut drawn, (MARGIN, y), "quiet", note);
    }
    y += 2.0 * LINE;
    for row in panels.chunks(COLUMNS) {
        for (column, panel) in (0_u8..).zip(row) {
            let x = MARGIN + f64::from(column) * (column_width + GUTTER);
            panel.draw(&mut drawn, (x, y), column_width, decimals);
        }
        y += row.iter().map(Panel::height).fold(0.0, f64::max);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" height=\"{y}\" \
         role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{y}\" rx=\"8\"/>\n{drawn}</svg>\n",
        escaped(head)
    )
}

impl Panel {
    fn height(&self) -> f64 {
        let groups = self.groups.iter().map(|it| CAPTION + it.bars.len() as f64 * STEP);
        TITLE + groups.sum::<f64>() + BELOW
    }

    /// Its title stands on the line `top`.
    fn draw(&self, svg: &mut String, (x, top): (f64, f64), width: f64, decimals: usize) {
        text(svg, (x, top), "title text", &self.title);
        let bars = self.groups.iter().flat_map(|group| &group.bars);
        let longest = bars.map(Bar::reach).fold(f64::MIN_POSITIVE, f64::max);
        let scale = (width - NAMES - FIGURES) / longest;
        let mut y = top + TITLE;
        for group in &self.groups {
            text(svg, (x + NAMES, y + 12.0), "quiet", &group.caption);
            y += CAPTION;
            for bar in &group.bars {
                bar.draw(svg, (x + NAMES, y), scale, decimals);
                y += STEP;
            }
        }
    }
}

impl Bar {
    /// It begins at this corner; its name stands to the left of it.
    fn draw(&self, svg: &mut String, (x, y): (f64, f64), scale: f64, decimals: usize) {
        let [class, name] = match self.ours {
            true => ["ours", "end title text"],
            false => ["theirs", "end text"],
        };
        if let Some(beyond) = self.beyond {
            rectangle(svg, (x, y), scale * beyond, &format!("{class} beyond"));
        }
        rectangle(svg, (x, y), scale * self.value, class);
        let line = y + BAR - 4.0;
        text(svg, (x - 6.0, line), name, &self.name);
        text(svg, (x + scale * self.reach() + 6.0, line), "quiet", &self.figures(decimals));
    }

    fn reach(&self) -> f64 {
        self.beyond.unwrap_or(0.0).max(self.value)
    }

    fn figures(&self, decimals: usize) -> String {
        let value = grouped(self.value, decimals);
        match self.beyond {
            Some(beyond) => format!("{value}, {}", grouped(beyond, decimals)),
            None => value,
        }
    }
}

fn rectangle(svg: &mut String, (x, y): (f64, f64), width: f64, class: &str) {
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\"/>"
    );
}

fn text(svg: &mut String, (x, y): (f64, f64), class: &str, text: &str) {
    let text = escaped(text);
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
}

/// Digits in groups of three: `1,016,146`.
fn grouped(value: f64, decimals: usize) -> String {
    let number = format!("{value:.decimals$}");
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut text = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
