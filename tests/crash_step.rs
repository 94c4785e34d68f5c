//! Kills processes after single instructions of single operations, and looks how the others fare.
//!
//! By default some of the instructions, other ones in each run; with `RSIPC_CRASH=full` every one. `RSIPC_CRASH_ONLY` limits it to the
//! scenes whose name contains it.

#![allow(clippy::undocumented_unsafe_blocks, reason = "objects placed in a region are left the bytes that are theirs")]
#![cfg(target_arch = "x86_64")]

#[path = "crash/capacities.rs"]
mod capacities;
#[path = "crash/creation.rs"]
mod creation;
#[path = "crash/direct.rs"]
mod direct;
#[path = "crash/locks.rs"]
mod locks;
#[path = "crash/queues.rs"]
mod queues;
#[path = "crash/scenes.rs"]
mod scenes;
#[path = "crash/step.rs"]
mod step;
mod support;

use std::io::Write;
use std::time::{Duration, Instant};

use scenes::SCENES;
use support::Test;

/// How many instructions of each operation are tried by default.
const DENSITY: u64 = 30;

#[test]
fn a_kill_at_any_instruction_harms_nobody() {
    let full = std::env::var("RSIPC_CRASH").is_ok_and(|value| value == "full");
    let only = std::env::var("RSIPC_CRASH_ONLY").unwrap_or_default();
    // Written past the capture of the test's output: the table is worth seeing.
    let mut out = std::io::stderr();
    let _ = writeln!(
        out,
        "\n{:<40} {:>6} {:>6} {:>5} {:>4} {:>4} {:>5} {:>6} {:>4} {:>9}",
        "killed in", "steps", "kills", "hang", "lost", "torn", "twice", "leaked", "late", "worst us"
    );
    let mut reports = vec![];
    for (name, make) in SCENES.iter().filter(|(name, _)| name.contains(&only)) {
        let test = Test::lasting("stepping", Duration::from_secs(if full { 3600 } else { 120 }));
        let start = Instant::now();
        let tally = step::kill_everywhere(&|| make(&test), (!full).then_some(DENSITY));
        let _ = writeln!(
            out,
            "{name:<40} {:>6} {:>6} {:>5} {:>4} {:>4} {:>5} {:>6} {:>4} {:>9}  {:.1} s",
            tally.steps,
            tally.points,
            tally.hangs,
            tally.lost,
            tally.torn,
            tally.twice,
            tally.leaked,
            tally.late,
            tally.worst / 1000,
            start.elapsed().as_secs_f64()
        );
        if tally.faults() != 0 {
            reports.extend(tally.reports.iter().map(|report| {
                let (what, place) = report.split_once('\n').unwrap();
                format!("{name}: {what}\n    {}", step::in_words(place))
            }));
        }
    }
    let _ = writeln!(out);
    assert!(reports.is_empty(), "\n{}", reports.join("\n"));
}
