//! Tries what may happen between any two steps of the library's protocols.
//!
//! The protocols are the library's own source (`src/sync`, `src/queue`), compiled anew with other rooms below it: its accesses to
//! shared memory, its futexes and what the kernel knows of its threads go to the [`engine`], which tries schedules, old values
//! and deaths. `models` has the scenes, `litmus` shows that the engine finds what it should, and `mutations` that the scenes need
//! every ordering, fence and wake-up.

#[allow(clippy::all, clippy::pedantic, dead_code, unused, missing_docs)]
#[path = "../../../src/error.rs"]
mod error;
#[allow(clippy::all, clippy::pedantic, dead_code, unused, missing_docs)]
#[path = "../../../src/name.rs"]
mod name;
#[allow(dead_code, unused)]
mod queue;
#[allow(dead_code, unused)]
mod shm;
#[allow(dead_code, unused)]
mod sync;
#[allow(dead_code, unused)]
mod sys;
#[allow(dead_code)]
mod time;

mod engine;
#[cfg(test)]
mod litmus;
mod models;
mod mutations;

use engine::{Bounds, Report, Run, explore};
use models::Scene;
use mutations::CAUGHT;

fn try_scene(scene: &Scene, bounds: Bounds) -> Result<u64, String> {
    let Report { executions, failure } = explore(bounds, &mut Run::default(), &scene.model);
    match failure {
        None if executions > 100 => Ok(executions),
        None => Err(format!("{}: only {executions} executions", scene.name)),
        Some(failure) => Err(format!("{}: {failure}", scene.name)),
    }
}

/// `scenes [NAME]` tries the scenes in full, `short [NAME]` as the tests do; `mutations [SCENE]` weakens the library, and the
/// scenes must notice; `open [PLACE [EXECUTIONS [SCENE]]]` tries whether a scene notices what none is known to.
fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let name = arguments.get(1).map_or("", String::as_str);
    let scenes = models::all();
    let mut failed = false;
    if arguments.first().is_some_and(|what| what == "mutations") {
        if !mutations::tables_are_written() {
            println!("docs/models.md has other tables");
            failed = true;
        }
        for wrong in mutations::unaccounted() {
            println!("{wrong}");
            failed = true;
        }
        for caught in CAUGHT.iter().filter(|caught| caught.scene.contains(name)) {
            let place = format!("{}: {}", caught.place.file, caught.place.function);
            match mutations::try_one(caught, &scenes) {
                Ok(executions) => {
                    println!("{place:44} {:16} {:>8} executions of {}", format!("{:?}", caught.weaker), executions, caught.scene)
                }
                Err(why) => {
                    println!("{why}");
                    failed = true;
                }
            }
        }
    } else if arguments.first().is_some_and(|what| what == "open") {
        let random = arguments.get(2).map_or(1000, |random| random.parse().expect("a number of executions"));
        let mine: Vec<_> =
            scenes.into_iter().filter(|scene| scene.name.contains(arguments.get(3).map_or("", String::as_str))).collect();
        mutations::try_open(&mine, name, random);
    } else {
        let is_short = arguments.first().is_some_and(|what| what == "short");
        for scene in scenes.iter().filter(|scene| scene.name.contains(name)) {
            match try_scene(scene, if is_short { scene.short } else { scene.full }) {
                Ok(executions) => println!("{:60} {executions:>10} executions", scene.name),
                Err(why) => {
                    println!("{why}");
                    failed = true;
                }
            }
        }
    }
    std::process::exit(i32::from(failed));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenes_of(kind: &str) {
        let scenes = models::all();
        let mine: Vec<_> = scenes.iter().filter(|scene| scene.name.starts_with(kind)).collect();
        assert!(!mine.is_empty());
        for scene in mine {
            try_scene(scene, scene.short).unwrap_or_else(|why| panic!("{why}"));
        }
    }

    #[test]
    fn locks() {
        scenes_of("lock");
    }

    #[test]
    fn quiet_locks() {
        scenes_of("quiet lock");
    }

    #[test]
    fn biased_locks() {
        scenes_of("biased lock");
    }

    #[test]
    fn signals() {
        scenes_of("signals");
    }

    #[test]
    fn permits() {
        scenes_of("permits");
    }

    #[test]
    fn rings_of_one() {
        scenes_of("ring of 1");
    }

    #[test]
    fn rings_of_two() {
        scenes_of("ring of 2");
    }

    #[test]
    fn logs() {
        scenes_of("log");
    }

    #[test]
    fn rendezvous() {
        scenes_of("rendezvous");
    }

    #[test]
    fn what_is_weakened_is_noticed() {
        let scenes = models::all();
        let wrong: Vec<_> = CAUGHT.iter().filter_map(|caught| mutations::try_one(caught, &scenes).err()).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn each_ordering_fence_and_wake_is_accounted_for() {
        let wrong = mutations::unaccounted();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(mutations::tables_are_written(), "docs/models.md has other tables: run this with RSIPC_BLESS=1 to write them");
    }
}
