//! Shows that the scenes need the orderings, fences and wake-ups of the library's protocols: each in [`CAUGHT`] is weakened in
//! its turn, at its place in the source, and its scene must fail then. What no scene is known to need is in `open`, and in
//! `docs/models.md`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use crate::engine::{Act, Bounds, Change, Mutation, OrderingKind, Report, Run, Site, explore};
use crate::models::Scene;

mod caught;
mod open;

pub use caught::CAUGHT;
pub use open::OPEN;

/// Where something stands: a file in `src`, a function's name, and some text that is there once in this function. It may go over
/// the ends of lines.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub file: &'static str,
    pub function: &'static str,
    pub piece: &'static str,
}

/// What is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weaker {
    /// Acquire or Release becomes Relaxed.
    ToRelaxed,
    /// A SeqCst fence becomes one of Acquire and Release.
    ToAcqRel,
    NoWake,
    /// One is woken, where all are to be.
    WakeOne,
}

impl Weaker {
    fn change(self) -> Change {
        match self {
            Self::ToRelaxed => Change::Ordering(Relaxed),
            Self::ToAcqRel => Change::WeakFence,
            Self::NoWake => Change::NoWake,
            Self::WakeOne => Change::WakeOne,
        }
    }

    fn is_of(self, act: Act) -> bool {
        match self {
            Self::ToRelaxed => matches!(act, Act::Ordering(_)),
            Self::ToAcqRel => act == Act::Fence,
            Self::NoWake => matches!(act, Act::Wake { .. }),
            Self::WakeOne => act == Act::Wake { all: true },
        }
    }
}

/// One that is noticed.
#[derive(Debug, Clone, Copy)]
pub struct Caught {
    pub place: Place,
    pub weaker: Weaker,
    /// The scene that fails.
    pub scene: &'static str,
    /// All executions with so many deviations are tried, and as many deaths as the scene has, and then so many at random.
    pub deviations: u32,
    pub random: u32,
    /// So many executions are tried while nothing is weakened.
    pub executions: u64,
}

/// Those that no scene is known to notice, and why not.
pub struct Open {
    pub places: &'static [Place],
    pub what: &'static str,
    pub why: &'static str,
}

fn source(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../src").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

impl Place {
    /// Which bytes of the file it is.
    fn find(&self, source: &str) -> Result<Range<usize>, String> {
        let Self { file, function, piece } = self;
        let head = ["(", "<"].iter().find_map(|end| source.find(&format!("fn {function}{end}")));
        let start = head.ok_or_else(|| format!("{file} has no function {function}"))?;
        let line = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let indent = source[line..].len() - source[line..].trim_start().len();
        let end = format!("\n{}}}\n", " ".repeat(indent));
        let end = source[start..].find(&end).map_or(source.len(), |at| start + at);
        let body = &source[start..end];
        match body.matches(piece).count() {
            1 => Ok(start + body.find(piece).expect("it is there once")).map(|at| at..at + piece.len()),
            times => Err(format!("`{piece}` is {times} times in {function} of {file}, and must be there once")),
        }
    }

    fn has(&self, site: &Site, source: &str, at: &Range<usize>) -> bool {
        let line = source.split_inclusive('\n').take(site.line as usize - 1).map(str::len).sum::<usize>();
        site.file.ends_with(&format!("/../src/{}", self.file)) && at.contains(&(line + site.column as usize - 1))
    }
}

/// Tries one: says how many executions it took to notice it.
pub fn try_one(caught: &Caught, scenes: &[Scene]) -> Result<u64, String> {
    let Caught { place, weaker, scene, .. } = caught;
    let what = format!("{}: {}: `{}` {weaker:?}", place.file, place.function, place.piece);
    let source = source(place.file);
    let at = place.find(&source)?;
    let scene = scenes.iter().find(|known| known.name == *scene).ok_or_else(|| format!("{what}: there is no scene {scene}"))?;
    let bounds = Bounds { deviations: caught.deviations, random: caught.random, ..scene.short };
    let mut whole = Run { acts: Some(BTreeMap::new()), ..Run::default() };
    let Report { executions, failure } = explore(bounds, &mut whole, &scene.model);
    if let Some(failure) = failure {
        return Err(format!("{what}: {} fails while nothing is weakened: {failure}", scene.name));
    }
    if executions < caught.executions {
        return Err(format!("{what}: {} has {executions} executions, not {}", scene.name, caught.executions));
    }
    let acts = whole.acts.unwrap_or_default();
    let sites: Vec<_> = acts.keys().filter(|(site, act)| weaker.is_of(*act) && place.has(site, &source, &at)).collect();
    let [(site, _)] = sites[..] else {
        return Err(format!("{what}: {} does {} of the kind there, and must do one", scene.name, sites.len()));
    };
    let mut run = Run { mutation: Some(Mutation { site: *site, change: weaker.change() }), ..Run::default() };
    let Report { executions, failure } = explore(bounds, &mut run, &scene.model);
    failure.map(|_| executions).ok_or_else(|| format!("{what}: {} does not notice it in {executions} executions", scene.name))
}

/// Tries all that is not noticed with every scene that does it, and with so many more executions at random: says which scenes
/// notice it after all.
pub fn try_open(scenes: &[Scene], name: &str, random: u32) {
    use std::sync::atomic::Ordering::{Acquire, Release};
    let done: Vec<_> = scenes
        .iter()
        .map(|scene| {
            let mut whole = Run { acts: Some(BTreeMap::new()), ..Run::default() };
            explore(scene.short, &mut whole, &scene.model);
            whole.acts.unwrap_or_default()
        })
        .collect();
    for place in
        OPEN.iter().flat_map(|open| open.places).filter(|place| format!("{}: {}", place.file, place.function).contains(name))
    {
        let source = source(place.file);
        let Ok(at) = place.find(&source) else { continue };
        let here = |acts: &BTreeMap<(Site, Act), u64>| {
            acts.keys().filter(|(site, _)| place.has(site, &source, &at)).copied().collect::<Vec<_>>()
        };
        let mut sites: Vec<_> = done.iter().flat_map(&here).collect();
        sites.sort_unstable();
        sites.dedup();
        println!(
            "{}, {}: `{}`{}",
            place.file,
            place.function,
            place.piece,
            if sites.is_empty() { ": no scene comes there" } else { "" }
        );
        for (site, act) in sites {
            let changes: &[Change] = match act {
                Act::Ordering(OrderingKind::AcqRel) => {
                    &[Change::Ordering(Relaxed), Change::Ordering(Acquire), Change::Ordering(Release)]
                }
                Act::Ordering(_) => &[Change::Ordering(Relaxed)],
                Act::Fence => &[Change::WeakFence],
                Act::Wake { all: false } => &[Change::NoWake],
                Act::Wake { all: true } => &[Change::NoWake, Change::WakeOne],
            };
            for &change in changes {
                let mut tried = 0;
                let doing = scenes.iter().zip(&done).filter(|(_, acts)| acts.contains_key(&(site, act)));
                let found = doing.into_iter().find_map(|(scene, _)| {
                    let mut run = Run { mutation: Some(Mutation { site, change }), ..Run::default() };
                    let Report { executions, failure } = explore(Bounds { random, ..scene.short }, &mut run, &scene.model);
                    tried += executions;
                    failure.map(|why| (scene.name, executions, why))
                });
                match found {
                    Some((scene, executions, why)) => {
                        println!("  {change:?}: {scene}, in {executions} executions: {}", why.lines().next().unwrap_or_default());
                    }
                    None => println!("  {change:?}: not noticed in {tried} executions"),
                }
            }
        }
    }
}

/// The files whose orderings, fences and wakes are accounted for.
const FILES: [&str; 17] = [
    "sync/bias.rs",
    "sync/holder.rs",
    "sync/lock.rs",
    "sync/quiet.rs",
    "sync/signals.rs",
    "sync/permits.rs",
    "sync/peers.rs",
    "sync/source.rs",
    "queue/ring.rs",
    "queue/log.rs",
    "queue/blocks.rs",
    "queue/handoff.rs",
    "queue/claims.rs",
    "queue/sending.rs",
    "queue/receiving.rs",
    "queue/store.rs",
    "queue/watch.rs",
];

const WORDS: [&str; 8] =
    ["Acquire", "Release", "AcqRel", "fence", "fence_after_rmw", "barrier_everywhere", "futex::wake", "lock::wake_all"];

/// Where a file has an ordering, a fence or a wake of a futex.
fn all_in(source: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in source.split_inclusive('\n') {
        let code = line.split("//").next().unwrap_or_default();
        if !code.trim_start().starts_with("use ") {
            for word in WORDS {
                for (at, _) in code.match_indices(word) {
                    let is_part = |c: char| c.is_alphanumeric() || c == '_';
                    let (before, after) = (&code[..at], &code[at + word.len()..]);
                    let is_whole = !before.ends_with(is_part) && !after.starts_with(is_part);
                    let is_act = word.starts_with(char::is_uppercase) || after.starts_with('(');
                    if is_whole && is_act {
                        found.push(start + at..start + at + word.len());
                    }
                }
            }
        }
        start += line.len();
    }
    found
}

/// Says which are in neither list, and which entries of the lists are nowhere in the source.
pub fn unaccounted() -> Vec<String> {
    let mut wrong = Vec::new();
    let places: Vec<_> = CAUGHT.iter().map(|caught| &caught.place).chain(OPEN.iter().flat_map(|open| open.places)).collect();
    wrong.extend(
        places.iter().filter(|place| !FILES.contains(&place.file)).map(|place| format!("{} is not looked at", place.file)),
    );
    for file in FILES {
        let source = source(file);
        let mut ranges = Vec::new();
        for place in places.iter().filter(|place| place.file == file) {
            match place.find(&source) {
                Ok(range) => ranges.push(range),
                Err(why) => wrong.push(why),
            }
        }
        for act in all_in(&source) {
            if !ranges.iter().any(|range| range.start <= act.start && act.end <= range.end) {
                let line = source[..act.start].matches('\n').count();
                let text = source.lines().nth(line).unwrap_or_default().trim();
                wrong.push(format!("{file}:{}: in neither list: {text}", line + 1));
            }
        }
    }
    wrong
}

const BEGIN: &str = "<!-- written by `RSIPC_BLESS=1 cargo test -p rsipc-models` -->\n";
const END: &str = "<!-- until here -->\n";

/// The tables of `docs/models.md`.
fn tables() -> String {
    let mut text = String::from(BEGIN);
    let line = |place: &Place| {
        let piece = place.piece.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        format!("{}, `{}`: `{piece}`", place.file, place.function)
    };
    let executions: u64 = CAUGHT.iter().map(|caught| caught.executions).sum();
    writeln!(
        text,
        "\nEntries of the first table: {}. Executions that their scenes have at least while nothing is weakened: {executions}.",
        CAUGHT.len()
    )
    .expect("a string takes all");
    text += "\n### Noticed\n\n| where | weakened | scene that fails |\n| --- | --- | --- |\n";
    for Caught { place, weaker, scene, .. } in CAUGHT {
        writeln!(text, "| {} | {weaker:?} | {scene} |", line(place)).expect("a string takes all");
    }
    text += "\n### Not noticed\n\n| where | what | why not |\n| --- | --- | --- |\n";
    for Open { places, what, why } in OPEN {
        let places: Vec<_> = places.iter().map(line).collect();
        writeln!(text, "| {} | {what} | {why} |", places.join("<br>")).expect("a string takes all");
    }
    text + "\n" + END
}

/// Says whether `docs/models.md` has the tables; writes them there with RSIPC_BLESS=1.
pub fn tables_are_written() -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/models.md");
    let text = std::fs::read_to_string(&path).expect("the document is there");
    let (before, rest) = text.split_once(BEGIN).expect("it has a place for the tables");
    let (_, after) = rest.split_once(END).expect("the place has an end");
    let written = format!("{before}{}{after}", tables());
    if std::env::var_os("RSIPC_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, &written).expect("it can be written");
        return true;
    }
    written == text
}
