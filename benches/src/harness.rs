//! What a scenario is, and how its subjects take turns.

use std::path::PathBuf;

use anyhow::{Context, Result};
use indicatif::ProgressBar;

use crate::processes::Measured;

/// What is better of a scenario's figures.
#[derive(Clone, Copy, PartialEq)]
pub enum Better {
    Lower,
    Higher,
}

/// What the users want of a subject: no more than that where lower is better, no less where higher is.
#[derive(Clone, Copy)]
pub enum Wanted {
    /// As a ratio to what it is measured against.
    Ratio(f64),
    /// As a figure, in the scenario's unit.
    Figure(f64),
    /// As a figure added to that of what it is measured against.
    More(f64),
}

/// The same work, done in several ways.
pub struct Scenario {
    pub name: &'static str,
    /// What is done, for the title of its plot.
    pub title: &'static str,
    /// "ns" per what, or what per "s".
    pub unit: &'static str,
    pub better: Better,
    /// How many steps a first, short round has.
    pub count: u64,
    /// Whether every round is as long, whatever it costs.
    pub whole: bool,
    pub subjects: Vec<Subject>,
}

type Run = Box<dyn Fn(u64) -> Result<Option<Measured>>>;

/// One way to do a scenario's work.
pub struct Subject {
    pub name: &'static str,
    /// The name of the subject that it is measured against.
    pub against: &'static str,
    pub wanted: Option<Wanted>,
    /// Does the work so many times; None where it is not installed.
    run: Run,
}

impl Subject {
    pub fn new(name: &'static str, against: &'static str, run: impl Fn(u64) -> Result<Measured> + 'static) -> Self {
        Self { name, against, wanted: None, run: Box::new(move |count| run(count).map(Some)) }
    }

    /// A subject that may not be there.
    pub fn maybe(name: &'static str, against: &'static str, run: impl Fn(u64) -> Result<Option<Measured>> + 'static) -> Self {
        Self { name, against, wanted: None, run: Box::new(run) }
    }

    pub fn wanted(mut self, wanted: Wanted) -> Self {
        self.wanted = Some(wanted);
        self
    }
}

/// How much is measured.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
pub enum Effort {
    Full,
    /// Everything, in under two minutes.
    Short,
    /// Only whether everything runs.
    Smoke,
}

impl Effort {
    fn rounds(self) -> usize {
        match self {
            Self::Full => 15,
            Self::Short => 3,
            Self::Smoke => 1,
        }
    }

    /// How long a round is to last, in nanoseconds.
    fn round(self) -> f64 {
        match self {
            Self::Full => 200e6,
            Self::Short => 40e6,
            Self::Smoke => 0.0,
        }
    }

    /// Divides the steps of a round that is as long as it is.
    fn part(self) -> u64 {
        match self {
            Self::Full => 1,
            Self::Short => 10,
            Self::Smoke => 10_000,
        }
    }
}

/// What was measured of one subject.
pub struct Figures {
    pub median: f64,
    /// As bad as one of a hundred: of single steps where those were timed, of rounds otherwise.
    pub p99: f64,
    /// The difference of the best and the worst round.
    pub spread: f64,
}

/// Measures all subjects of a scenario; None for one that is not installed. They take turns, in another order each round.
pub fn measure(scenario: &Scenario, effort: Effort, progress: &ProgressBar) -> Result<Vec<Option<Figures>>> {
    let mut counts = Vec::new();
    for subject in &scenario.subjects {
        progress.set_message(format!("{}: {}", scenario.name, subject.name));
        counts.push(count_for(scenario, subject, effort)?);
    }
    let mut measured: Vec<Vec<Measured>> = scenario.subjects.iter().map(|_| Vec::new()).collect();
    let mut order: Vec<usize> = (0..counts.len()).collect();
    for _ in 0..effort.rounds() {
        fastrand::shuffle(&mut order);
        for &i in &order {
            let (Some(count), subject) = (counts[i], &scenario.subjects[i]) else { continue };
            progress.set_message(format!("{}: {}", scenario.name, subject.name));
            measured[i].extend(run(scenario, subject, count)?);
        }
        progress.inc(1);
    }
    Ok(measured.iter().map(|rounds| figures(rounds, scenario.better)).collect())
}

pub fn rounds(effort: Effort) -> u64 {
    effort.rounds() as u64
}

/// So many steps that a round lasts as long as it is to. None where the subject is not installed.
fn count_for(scenario: &Scenario, subject: &Subject, effort: Effort) -> Result<Option<u64>> {
    if scenario.whole {
        return Ok(Some((scenario.count / effort.part()).max(1)));
    }
    let first = if effort == Effort::Smoke { (scenario.count / 100).max(2) } else { scenario.count };
    let Some(measured) = run(scenario, subject, first)? else { return Ok(None) };
    let times = (effort.round() / measured.elapsed.max(1.0)).clamp(0.01, 1000.0);
    Ok(Some(if effort == Effort::Smoke { first } else { ((first as f64 * times) as u64).max(2) }))
}

fn run(scenario: &Scenario, subject: &Subject, count: u64) -> Result<Option<Measured>> {
    (subject.run)(count).with_context(|| format!("scenario {}, subject {:?}", scenario.name, subject.name))
}

fn figures(rounds: &[Measured], better: Better) -> Option<Figures> {
    let figure = |round: &Measured| match better {
        Better::Lower => round.elapsed / round.done,
        Better::Higher => round.done / (round.elapsed / 1e9),
    };
    let mut of_rounds: Vec<f64> = rounds.iter().map(figure).collect();
    of_rounds.sort_by(f64::total_cmp);
    if better == Better::Higher {
        of_rounds.reverse();
    }
    let mut samples: Vec<f64> = rounds.iter().flat_map(|round| &round.samples).copied().collect();
    samples.sort_by(f64::total_cmp);
    let (best, worst) = (of_rounds.first()?, of_rounds.last()?);
    let p99 = |sorted: &[f64]| sorted[(sorted.len() * 99).div_ceil(100) - 1];
    Some(Figures {
        median: of_rounds[of_rounds.len() / 2],
        p99: p99(if samples.is_empty() { &of_rounds } else { &samples }),
        spread: (worst - best).abs(),
    })
}

/// The directory of the run, in which everything is that the subjects leave in /dev/shm. It goes with the run.
#[derive(Clone)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// Makes it, and sees to it that it goes with the run, also when that is interrupted.
    pub fn new() -> Result<Self> {
        let dir = Self(PathBuf::from(format!("/dev/shm/rsipc-bench-{}", std::process::id())));
        std::fs::create_dir_all(&dir.0)?;
        let (main, removed) = (std::process::id(), dir.clone());
        ctrlc::set_handler(move || {
            if std::process::id() == main {
                removed.remove();
                std::process::exit(130);
            }
        })?;
        Ok(dir)
    }

    /// A directory in it that is empty.
    pub fn fresh(&self) -> Result<Space> {
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = self.0.join(number.to_string());
        std::fs::create_dir(&dir)?;
        Ok(Space(dir))
    }

    /// What the names of the run's objects begin with that lie elsewhere.
    pub fn prefix(&self) -> String {
        format!("{}-", self.0.file_name().expect("it was made with one").to_string_lossy())
    }

    /// Takes it away, and what else of the run is in /dev/shm.
    pub fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.0);
        for entry in std::fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&self.prefix()) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// A directory for one round, removed at its end.
pub struct Space(PathBuf);

impl Space {
    pub fn path(&self) -> &std::path::Path {
        &self.0
    }

    /// The name `name` in it.
    pub fn name<'a>(&self, name: &'a str) -> rsipc::Name<'a> {
        rsipc::Namespace::at(&self.0).name(name)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
