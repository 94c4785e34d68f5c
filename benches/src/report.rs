//! What was measured, as a table, as JSON, and as a page of docs.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use crate::harness::{Better, Figures, Scenario, Wanted};

/// One row: a subject of a scenario.
#[derive(Serialize)]
pub struct Row {
    pub scenario: &'static str,
    pub subject: &'static str,
    pub unit: &'static str,
    /// "lower" or "higher".
    pub better: &'static str,
    pub median: f64,
    pub p99: f64,
    pub spread: f64,
    pub against: &'static str,
    /// This median divided by that of `against`; null where that is not installed.
    pub ratio: Option<f64>,
    /// What is wanted, in words; null where nothing is.
    pub wanted: Option<String>,
    /// null where nothing is wanted, or what it is measured against is not installed.
    pub reached: Option<bool>,
    /// What is wanted, as a ratio to `against`, for plots.
    #[serde(skip)]
    pub mark: Option<f64>,
}

/// The rows of a scenario, in its order. Who is not installed has none.
pub fn rows(scenario: &Scenario, figures: &[Option<Figures>]) -> Vec<Row> {
    let median = |name| {
        let i = scenario.subjects.iter().position(|subject| subject.name == name)?;
        Some(figures[i].as_ref()?.median)
    };
    let row = |(subject, figures): (&crate::harness::Subject, &Option<Figures>)| {
        let figures = figures.as_ref()?;
        let against = median(subject.against);
        let ratio = against.map(|against| figures.median / against);
        let (reached, mark) = match subject.wanted {
            Some(wanted) => reached(wanted, scenario.better, figures.median, against),
            None => (None, None),
        };
        Some(Row {
            scenario: scenario.name,
            subject: subject.name,
            unit: scenario.unit,
            better: if scenario.better == Better::Lower { "lower" } else { "higher" },
            median: figures.median,
            p99: figures.p99,
            spread: figures.spread,
            against: subject.against,
            ratio,
            wanted: subject.wanted.map(|wanted| in_words(wanted, scenario)),
            reached,
            mark,
        })
    };
    scenario.subjects.iter().zip(figures).filter_map(row).collect()
}

/// Whether it is reached, and which ratio that would be.
fn reached(wanted: Wanted, better: Better, median: f64, against: Option<f64>) -> (Option<bool>, Option<f64>) {
    let goal = match wanted {
        Wanted::Ratio(ratio) => against.map(|against| ratio * against),
        Wanted::Figure(figure) => Some(figure),
        Wanted::More(more) => against.map(|against| against + more),
    };
    let reached = goal.map(|goal| if better == Better::Lower { median <= goal } else { median >= goal });
    (reached, goal.zip(against).map(|(goal, against)| goal / against))
}

fn in_words(wanted: Wanted, scenario: &Scenario) -> String {
    let bound = if scenario.better == Better::Lower { "at most" } else { "at least" };
    match wanted {
        Wanted::Ratio(ratio) => format!("{bound} {ratio} x"),
        Wanted::Figure(figure) => format!("{bound} {}", figure_in(figure, scenario.unit)),
        Wanted::More(more) => format!("{bound} {} more", figure_in(more, scenario.unit)),
    }
}

/// A figure with its unit, shortly: 12.3 M/s, 45.6 ns.
fn figure_in(figure: f64, unit: &str) -> String {
    let steps: &[(f64, &str)] = if unit.starts_with("ns") {
        &[(1e6, "ms"), (1e3, "µs"), (1.0, "ns")]
    } else if unit.starts_with("bytes") {
        &[(1e9, "GB/s"), (1e6, "MB/s"), (1.0, "B/s")]
    } else {
        &[(1e6, "M/s"), (1e3, "k/s"), (1.0, "/s")]
    };
    let (by, name) = steps.iter().find(|(by, _)| figure >= *by).unwrap_or(steps.last().expect("there are three"));
    let scaled = figure / by;
    let digits = if scaled >= 100.0 {
        0
    } else if scaled >= 10.0 {
        1
    } else {
        2
    };
    format!("{scaled:.digits$} {name}")
}

pub fn ratio_in_words(ratio: f64) -> String {
    match ratio {
        r if r >= 100.0 => format!("{r:.0} x"),
        r if r >= 10.0 => format!("{r:.1} x"),
        r if r >= 0.1 => format!("{r:.2} x"),
        r if r >= 0.001 => format!("{r:.4} x"),
        r => format!("{r:.1e} x"),
    }
}

/// The cells of a row, as they are printed.
fn cells(row: &Row, scenario: &Scenario) -> [String; 8] {
    let yes = |reached| match reached {
        Some(true) => "yes",
        Some(false) => "no",
        None => "",
    };
    let against = if row.against == row.subject { String::new() } else { row.against.to_owned() };
    [
        row.subject.to_owned(),
        figure_in(row.median, scenario.unit),
        figure_in(row.p99, scenario.unit),
        figure_in(row.spread, scenario.unit),
        row.ratio.map_or_else(|| "?".to_owned(), ratio_in_words),
        against,
        row.wanted.clone().unwrap_or_default(),
        yes(row.reached).to_owned(),
    ]
}

const COLUMNS: [&str; 8] = ["subject", "median", "p99", "spread", "ratio", "to", "wanted", "reached"];

fn heading(scenario: &Scenario) -> String {
    let better = if scenario.better == Better::Lower { "lower" } else { "higher" };
    format!("{} ({}, {better} is better)", scenario.title, scenario.unit)
}

/// The table on the terminal.
pub fn table(results: &[(Scenario, Vec<Row>)]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_header(COLUMNS);
    for (scenario, rows) in results {
        let better = if scenario.better == Better::Lower { "lower is better" } else { "higher is better" };
        table.add_row(vec![format!("\n{} ({better})", scenario.name)]);
        for row in rows {
            table.add_row(cells(row, scenario).map(|cell| format!("  {cell}")));
        }
    }
    for column in 1..5 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// results.json: an array with one object for each scenario and subject.
pub fn write_json(path: &Path, results: &[(Scenario, Vec<Row>)]) -> Result<()> {
    let rows: Vec<&Row> = results.iter().flat_map(|(_, rows)| rows).collect();
    let json = serde_json::to_string_pretty(&rows)?;
    std::fs::write(path, json + "\n").with_context(|| format!("writing {}", path.display()))
}

const BEGIN: &str = "<!-- results: written by `RSIPC_BLESS=1 make bench` -->\n";
const END: &str = "<!-- end of results -->\n";

/// Writes the results into the page, between the two marks.
pub fn bless(page: &Path, machine: &str, results: &[(Scenario, Vec<Row>)]) -> Result<()> {
    let text = std::fs::read_to_string(page).with_context(|| format!("reading {}", page.display()))?;
    let (before, rest) = text.split_once(BEGIN).context("the page has no mark where the results begin")?;
    let (_, after) = rest.split_once(END).context("the page has no mark where the results end")?;
    std::fs::write(page, format!("{before}{BEGIN}\n{machine}{}\n{END}{after}", markdown(results)))?;
    Ok(())
}

fn markdown(results: &[(Scenario, Vec<Row>)]) -> String {
    let mut text = String::new();
    for (scenario, rows) in results {
        let _ = write!(text, "\n### `{}`\n\n{}\n\n", scenario.name, heading(scenario));
        let _ = writeln!(text, "| {} |\n|{}", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len()));
        for row in rows {
            let _ = writeln!(text, "| {} |", cells(row, scenario).join(" | "));
        }
    }
    text
}
