//! How things are written: tables, sizes, JSON, and bars for what takes long.

use std::io::{Write, stdout};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use indicatif::{HumanBytes, ProgressBar, ProgressFinish, ProgressStyle};
use serde::Serialize;

use crate::failure::Failure;
use crate::object::{Object, Process};

pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| Failure::new(error.to_string()))?;
    text.push('\n');
    Ok(stdout().write_all(text.as_bytes())?)
}

pub fn json_line(value: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string(value).map_err(|error| Failure::new(error.to_string()))?;
    text.push('\n');
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

pub fn bytes(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// Columns; those of numbers are set to the right.
pub fn table(head: &[(&str, CellAlignment)], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.iter().map(|(title, _)| Cell::new(console::style(title).bold())));
    for row in rows {
        table.add_row(row.into_iter().zip(head).map(|(text, (_, alignment))| Cell::new(text).set_alignment(*alignment)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// What is noteworthy about an object, in colour on a terminal.
pub fn notes(object: &Object) -> String {
    let shown = object.notes().into_iter().map(|(text, bad)| if bad { console::style(text).red().to_string() } else { text });
    shown.collect::<Vec<_>>().join(", ")
}

/// The living processes, in a few words.
pub fn processes(processes: &[Process]) -> String {
    const MOST: usize = 3;
    let alive: Vec<&Process> = processes.iter().filter(|process| process.alive).collect();
    let named = |process: &&Process| match &process.command {
        Some(command) => format!("{command}({})", process.pid),
        None => process.pid.to_string(),
    };
    let mut shown: Vec<String> = alive.iter().take(MOST).map(named).collect();
    if alive.len() > MOST {
        shown.push(format!("and {} more", alive.len() - MOST));
    }
    shown.join(" ")
}

/// A bar on standard error if that is a terminal and something long is `shown`; nothing otherwise. It goes when it is dropped.
/// `len`: None where it is not known.
pub fn bar(shown: bool, len: Option<u64>) -> ProgressBar {
    if !shown {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::no_length().with_finish(ProgressFinish::AndClear);
    let template = match len {
        Some(len) => {
            bar.set_length(len);
            "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}"
        }
        None => "{spinner} {bytes} {bytes_per_sec} {elapsed}",
    };
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}
