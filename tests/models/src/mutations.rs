//! Shows that the scenes need every ordering, fence and wake-up in the library's protocols: each is weakened in its turn, at its place in the source,
//! and some scene must fail.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::engine::{Act, Bounds, Change, Mutation, OrderingKind, Run, Site, explore};
use crate::models::Scene;

/// So many scenes are tried with each.
const MOST_SCENES: usize = 14;

/// What came of one.
pub struct Outcome {
    pub place: String,
    /// The line of the source.
    pub text: String,
    pub change: String,
    /// The scene that fails, and how.
    pub caught: Option<(&'static str, String)>,
}

/// The library's acts, and the scenes in which they happen.
fn acts(scenes: &[Scene]) -> BTreeMap<(Site, Act), Vec<usize>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    // What goes through a ring of 2 goes through one of 1.
    for (index, scene) in scenes.iter().enumerate().filter(|(_, scene)| !scene.name.starts_with("ring of 2")) {
        let mut run = Run { acts: Some(BTreeMap::new()), most: Some(200), ..Run::default() };
        explore(Bounds { random: 50, ..scene.short }, &mut run, &scene.model);
        for (act, times) in run.acts.unwrap_or_default() {
            if act.0.file.contains("/../src/") {
                all.entry(act).or_default().push((std::cmp::Reverse(times), index));
            }
        }
    }
    // Those first in which it happens most.
    let sorted = |mut scenes: Vec<_>| {
        scenes.sort_unstable();
        scenes.into_iter().map(|(_, index)| index).take(MOST_SCENES).collect()
    };
    all.into_iter().map(|(act, scenes)| (act, sorted(scenes))).collect()
}

fn changes(act: Act) -> Vec<Change> {
    use Change::{FailureOrdering, NoFence, NoWake, WakeOne, WeakFence};
    match act {
        Act::Ordering(OrderingKind::AcqRel) => vec![Change::Ordering(Ordering::Acquire), Change::Ordering(Ordering::Release)],
        Act::Ordering(_) => vec![Change::Ordering(Ordering::Relaxed)],
        Act::FailureOrdering(_) => vec![FailureOrdering(Ordering::Relaxed)],
        Act::Fence => vec![WeakFence, NoFence],
        Act::Wake { all: true } => vec![NoWake, WakeOne],
        Act::Wake { all: false } => vec![NoWake],
    }
}

/// Tries all of them, each with at most so many executions of a scene; tells `say` what comes of each, in any order.
pub fn all(scenes: &[Scene], most: u64, say: &(dyn Fn(Outcome) + Sync)) {
    let mutations: Vec<_> = acts(scenes)
        .into_iter()
        .flat_map(|((site, act), scenes)| changes(act).into_iter().map(move |change| (Mutation { site, change }, scenes.clone())))
        .collect();
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((mutation, touched)) = mutations.get(index) else { return };
                    let caught = touched.iter().find_map(|&scene| {
                        let scene = &scenes[scene];
                        let mut run = Run { mutation: Some(*mutation), most: Some(most), ..Run::default() };
                        let failure = explore(Bounds { random: 1_000, ..scene.short }, &mut run, &scene.model).failure?;
                        Some((scene.name, failure.lines().next().unwrap_or_default().to_owned()))
                    });
                    say(outcome(*mutation, caught));
                }
            });
        }
    });
}

fn outcome(mutation: Mutation, caught: Option<(&'static str, String)>) -> Outcome {
    let Site { file, line, .. } = mutation.site;
    let short = file.split("/../src/").last().unwrap_or(file);
    let path = format!("{}/../../src/{short}", env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(path).unwrap_or_default();
    let text = source.lines().nth(line as usize - 1).unwrap_or_default().trim().to_owned();
    Outcome { place: format!("{short}:{line}"), text, change: format!("{:?}", mutation.change), caught }
}
