//! A chart: for each scenario a group of rows, one for each store.

use crate::axis::{LogAxis, short};
use crate::svg::{Anchor, Font, Svg};
use claimstore_bench::results::{OURS, Results};
use claimstore_bench::summary::grouped;

const WIDTH: f64 = 960.0;

/// Places, from the left: where the stores' names end, where the axis begins and where it ends; values stand behind.
const NAMES: f64 = 205.0;
const AXIS: (f64, f64) = (212.0, 820.0);

/// Heights: what stands above the first group and below the last, a row, and the space between two groups.
const HEAD: f64 = 84.0;
const FOOT: f64 = 56.0;
const ROW: f64 = 15.0;
const GAP: f64 = 14.0;

const INK: &str = "#1f2328";
const FADED: &str = "#59636e";
const GRID: &str = "#d1d9e0";
const FINE_GRID: &str = "#eef1f4";
const WHITE: &str = "#ffffff";

/// claimstore's colour, and those of the others in the order of their names in the results.
const OUR_COLOUR: &str = "#d1242f";
const COLOURS: [&str; 12] = [
    "#6e7781", "#0969da", "#1a7f37", "#bf8700", "#8250df", "#bc4c00", "#0e7490", "#bf3989", "#4d7c0f",
    "#475569", "#92400e", "#7c3aed",
];

/// One figure, or two, of every store in every scenario with one kind of keys.
#[derive(Debug)]
pub(crate) struct Chart {
    kind: Kind,
    title: String,
    groups: Vec<Group>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Bars of the rate.
    Throughput,
    /// Dots of the median and the 99.9th percentile.
    Latency,
}

/// The rows of one scenario.
#[derive(Debug)]
struct Group {
    scenario: String,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    store: String,
    colour: &'static str,
    /// The rate; or the median and the percentile.
    values: Vec<f64>,
}

impl Chart {
    /// Keys a second.
    pub(crate) fn throughput(results: &Results, keys: &str) -> Self {
        let rate =
            |scenario: &str, store: &str| vec![results.median(scenario, keys, store, |line| line.rate)];
        Self::new(Kind::Throughput, "Throughput", results, keys, &rate)
    }

    /// Latencies of a step.
    pub(crate) fn latency(results: &Results, keys: &str) -> Self {
        let latencies = |scenario: &str, store: &str| {
            let median = |figure| results.median(scenario, keys, store, figure);
            vec![median(|line| line.p50_us), median(|line| line.p999_us)]
        };
        Self::new(Kind::Latency, "Latency", results, keys, &latencies)
    }

    fn new(
        kind: Kind,
        what: &str,
        results: &Results,
        keys: &str,
        values: &dyn Fn(&str, &str) -> Vec<f64>,
    ) -> Self {
        let stores = results.distinct(|line| &line.subject);
        let group = |scenario: &str| {
            let row = |(number, store): (usize, &&str)| {
                let values = values(scenario, store);
                let shown = values.iter().all(|value| value.is_finite() && *value > 0.0);
                shown.then(|| Row { store: (*store).to_owned(), colour: colour(number, store), values })
            };
            Group { scenario: scenario.to_owned(), rows: stores.iter().enumerate().filter_map(row).collect() }
        };
        let scenarios = results.distinct(|line| &line.scenario);
        let groups = scenarios.into_iter().map(group).filter(|group| !group.rows.is_empty()).collect();
        Self { kind, title: format!("{what}: {keys} keys{}", loaded(results)), groups }
    }

    /// The beginning of the file's name.
    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Throughput => "throughput",
            Kind::Latency => "latency",
        }
    }

    /// The picture; `None` if there is nothing to show.
    pub(crate) fn svg(&self) -> Option<String> {
        let rows = self.groups.iter().flat_map(|group| &group.rows);
        let axis = LogAxis::over(rows.flat_map(|row| row.values.iter().copied()), AXIS.0, AXIS.1)?;
        let group_height = |group: &Group| count(group.rows.len()) * ROW + GAP;
        let bottom = HEAD + self.groups.iter().map(group_height).sum::<f64>();
        let mut svg = Svg::new(WIDTH, bottom + FOOT);
        self.frame(&mut svg, &axis, bottom);
        let mut top = HEAD;
        for group in &self.groups {
            self.group(&mut svg, &axis, group, top);
            top += group_height(group);
        }
        Some(svg.finish(&self.title))
    }

    /// Title, grid and the words at the axis.
    fn frame(&self, svg: &mut Svg, axis: &LogAxis, bottom: f64) {
        let (what, unit) = match self.kind {
            Kind::Throughput => ("medians; longer is better", "keys a second, logarithmic"),
            Kind::Latency => {
                ("medians; filled: p50, hollow: p99.9; left is better", "microseconds a step, logarithmic")
            }
        };
        svg.text((20.0, 30.0), &self.title, Anchor::Start, font(18.0, true, INK));
        svg.text((20.0, 50.0), what, Anchor::Start, font(12.0, false, FADED));
        for value in axis.between() {
            svg.line((axis.place(value), HEAD - 6.0), (axis.place(value), bottom), 1.0, FINE_GRID);
        }
        for value in axis.decades() {
            let x = axis.place(value);
            svg.line((x, HEAD - 6.0), (x, bottom), 1.0, GRID);
            for y in [HEAD - 12.0, bottom + 16.0] {
                svg.text((x, y), &short(value), Anchor::Middle, font(11.0, false, FADED));
            }
        }
        let middle = f64::midpoint(AXIS.0, AXIS.1);
        svg.text((middle, bottom + 38.0), unit, Anchor::Middle, font(12.0, false, INK));
    }

    fn group(&self, svg: &mut Svg, axis: &LogAxis, group: &Group, top: f64) {
        svg.text((20.0, top + 11.0), &group.scenario, Anchor::Start, font(12.0, true, INK));
        for (number, row) in group.rows.iter().enumerate() {
            let top = top + count(number) * ROW;
            let (base, middle) = (top + 11.0, top + ROW / 2.0);
            svg.text((NAMES, base), &row.store, Anchor::End, font(11.0, row.store == OURS, INK));
            let end = match (self.kind, row.values.as_slice()) {
                (Kind::Throughput, [rate]) => {
                    let end = axis.place(*rate);
                    svg.rect((AXIS.0, top + 1.5), (end - AXIS.0, ROW - 3.0), row.colour);
                    end
                }
                (_, [p50, p999]) => {
                    let (from, to) = (axis.place(*p50), axis.place(*p999));
                    svg.line((from, middle), (to, middle), 1.5, row.colour);
                    svg.dot((from, middle), 4.0, row.colour, row.colour);
                    svg.dot((to, middle), 4.0, WHITE, row.colour);
                    from.max(to) + 4.0
                }
                _ => AXIS.0,
            };
            let label = row.values.iter().map(|value| grouped(*value)).collect::<Vec<_>>().join(" / ");
            svg.text((end + 5.0, base), &label, Anchor::Start, font(11.0, false, INK));
        }
    }
}

fn colour(number: usize, store: &str) -> &'static str {
    if store == OURS {
        return OUR_COLOUR;
    }
    COLOURS.get(number % COLOURS.len()).copied().unwrap_or(INK)
}

/// Says how many keys were loaded, if that was the same everywhere.
fn loaded(results: &Results) -> String {
    let mut loaded = results.lines().iter().map(|line| line.loaded);
    match loaded.next() {
        #[expect(clippy::cast_precision_loss, reason = "a number of keys")]
        Some(first) if loaded.all(|other| other == first) => {
            format!(", {} keys loaded", grouped(first as f64))
        }
        _ => String::new(),
    }
}

fn font(size: f64, bold: bool, colour: &'static str) -> Font {
    Font { size, bold, colour }
}

#[expect(clippy::cast_precision_loss, reason = "a number of rows")]
fn count(rows: usize) -> f64 {
    rows as f64
}
