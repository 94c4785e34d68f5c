//! Measures rsipc beside its peers and the limits of the machine: `make bench`. docs/benchmarks.md says how to read it.

mod channel;
mod harness;
mod peers;
mod plot;
mod processes;
mod report;
mod scenarios;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::harness::{Effort, RunDir, measure, rounds};
use crate::scenarios::Ground;

/// Measures rsipc beside its peers.
#[derive(Parser)]
struct Arguments {
    /// How much is measured.
    #[arg(long, value_enum, default_value = "full")]
    effort: Effort,
    /// Only scenarios whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Where results.json and the plots go.
    #[arg(long)]
    out: PathBuf,
    /// The Python that has rsipc; without it the scenarios in Python are skipped.
    #[arg(long)]
    python: Option<PathBuf>,
    /// The program of benches/c; without it, the scenario that needs it has only the Rust side.
    #[arg(long)]
    c_program: Option<PathBuf>,
    /// A page into which the results are written.
    #[arg(long)]
    page: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let dir = RunDir::new()?;
    let result = run(&arguments, &dir);
    dir.remove();
    result
}

fn run(arguments: &Arguments, dir: &RunDir) -> Result<()> {
    let allowed = processes::allowed()?;
    ensure!(allowed.len() >= 2, "two processes at once need two processors, and this one may use only {}", allowed.len());
    processes::restrict(&allowed[..2])?;
    let machine = machine(&allowed[..2], rounds(arguments.effort))?;
    println!("{machine}");

    let ground = Ground { dir: dir.clone(), python: arguments.python.clone(), c_program: arguments.c_program.clone() };
    let mut scenarios = scenarios::all(&ground);
    scenarios.retain(|scenario| scenario.name.contains(&arguments.only));
    ensure!(!scenarios.is_empty(), "no scenario's name contains {:?}", arguments.only);

    let progress = ProgressBar::new(scenarios.len() as u64 * rounds(arguments.effort));
    progress.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?);
    let (mut results, mut skipped) = (Vec::new(), Vec::new());
    for scenario in scenarios {
        let figures = measure(&scenario, arguments.effort, &progress)?;
        let missing = scenario.subjects.iter().zip(&figures).filter(|(_, figures)| figures.is_none());
        skipped.extend(missing.map(|(subject, _)| format!("{}: {}", scenario.name, subject.name)));
        let rows = report::rows(&scenario, &figures);
        results.push((scenario, rows));
    }
    progress.finish_and_clear();

    println!("{}", report::table(&results));
    if !skipped.is_empty() {
        println!("Not installed, and skipped (`make bench-peers` installs what can be):\n  {}", skipped.join("\n  "));
    }
    std::fs::create_dir_all(&arguments.out)?;
    report::write_json(&arguments.out.join("results.json"), &results)?;
    for (scenario, rows) in &results {
        plot::write(&arguments.out.join(scenario.name).with_extension("svg"), scenario, rows)?;
    }
    println!("Written: results.json and a plot of each scenario, in {}", arguments.out.display());
    if let Some(page) = &arguments.page {
        report::bless(page, &machine, &results)?;
        println!("Written: {}", page.display());
    }
    Ok(())
}

/// On what the run is made, and of how many rounds.
fn machine(cpus: &[usize], rounds: u64) -> Result<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("an unknown processor", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let count = info.lines().filter(|line| line.starts_with("processor")).count();
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or("?");
    Ok(format!(
        "{model}, {count} processors, of which {} and {} are used; Linux {}; load before the run: {load}; rounds: {rounds}.\n",
        cpus[0],
        cpus[1],
        kernel.trim()
    ))
}
