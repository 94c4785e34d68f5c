//! Kills processes after single instructions of single operations, and looks how the others fare.
//!
//! By default wherever it makes a difference for others (`crash/seen.rs` says why that is enough), and after some of the other
//! instructions, not the same in each run; with `RSIPC_CRASH=full` after every one. `RSIPC_CRASH_ONLY` limits it to the scenes
//! whose name contains it. `RSIPC_CRASH_TABLE` names a file for the table as Markdown. Of an optimized build, C's victims are
//! killed too, and Python's with `RSIPC_PYTHON`, an interpreter that has the module; of one that is not, only some of these
//! states are tried.

#![allow(clippy::undocumented_unsafe_blocks, reason = "objects placed in a region are left the bytes that are theirs")]
#![cfg(target_arch = "x86_64")]

#[path = "crash/batches.rs"]
mod batches;
#[path = "crash/capacities.rs"]
mod capacities;
#[path = "crash/creation.rs"]
mod creation;
#[path = "crash/direct.rs"]
mod direct;
#[path = "crash/handles.rs"]
mod handles;
#[path = "crash/locks.rs"]
mod locks;
#[path = "crash/queues.rs"]
mod queues;
#[path = "crash/report.rs"]
mod report;
#[path = "crash/scenes.rs"]
mod scenes;
#[path = "crash/seen.rs"]
mod seen;
#[path = "crash/step.rs"]
mod step;
#[path = "crash/strangers.rs"]
mod strangers;
mod support;
#[path = "crash/twice.rs"]
mod twice;
#[path = "crash/victim.rs"]
mod victim;
#[path = "crash/waits.rs"]
mod waits;

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitStatus, waitpid};
use report::Row;
use scenes::{Entry, SCENES};
use step::{Extent, Plan};
use support::{Board, Test, fork};
use victim::Server;

/// How many scenes are played at the same time.
const WORKERS: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    Rust,
    C,
    Python,
}

/// A scene and the language of its victims.
struct Play {
    name: String,
    entry: &'static Entry,
    language: Language,
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What can be played.
fn plays() -> Vec<Play> {
    let mut plays = vec![];
    let test = Test::new("looking at the scenes");
    for (language, prefix) in [(Language::Rust, ""), (Language::C, "C: "), (Language::Python, "Python: ")] {
        for entry in SCENES {
            let command = (entry.1)(&test).command();
            let is_played = match language {
                Language::Rust => true,
                Language::C => !cfg!(debug_assertions) && command.is_some(),
                // Python waits 100 ms at a time, which is over before a stepped process comes to sleep where that takes long; and
                // it has no wait for room.
                Language::Python => !cfg!(debug_assertions) && command.is_some_and(|command| !command.starts_with("long_")),
            };
            if is_played {
                plays.push(Play { name: format!("{prefix}{}", entry.0), entry, language });
            }
        }
    }
    plays
}

/// The program of C's victims.
fn compile() -> std::path::PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("victim");
    // Cargo builds the library beside this program.
    let library = std::env::current_exe().unwrap().parent().unwrap().join("librsipc.a");
    let status = Command::new(setting("CC").unwrap_or("cc".into()))
        .args(["-std=c99", "-O2", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-D_GNU_SOURCE", "-I"])
        .args([&root.join("include"), &root.join("tests/crash/victim.c"), Path::new("-o"), &program, &library])
        .args(["-lpthread", "-ldl", "-lm"])
        .status();
    assert!(status.expect("a C compiler").success(), "the program of C's victims does not compile");
    program
}

/// Plays one scene.
fn play(play: &Play, extent: Extent, servers: &[Option<Server>; 3]) -> Row {
    let test = Test::lasting(play.entry.0, Duration::from_secs(3600));
    let start = Instant::now();
    let plan = Plan { extent, server: servers[play.language as usize].as_ref() };
    let tally = step::kill_everywhere(&|| (play.entry.1)(&test), plan);
    Row { name: play.name.clone(), seconds: start.elapsed().as_secs_f64(), tally }
}

#[test]
fn a_kill_at_any_instruction_harms_nobody() {
    let extent = match setting("RSIPC_CRASH") {
        Some(value) if value == "full" => Extent::Every,
        // It does the same in many more instructions.
        _ if cfg!(debug_assertions) => Extent::Sample,
        _ => Extent::States,
    };
    let everything = plays();
    let only = setting("RSIPC_CRASH_ONLY").unwrap_or_default();
    let can_play = |play: &Play| play.language != Language::Python || setting("RSIPC_PYTHON").is_some();
    let plays: Vec<&Play> = everything.iter().filter(|play| play.name.contains(&only) && can_play(play)).collect();
    let has = |language| plays.iter().any(|play| play.language == language);
    let c = has(Language::C).then(compile);
    let python = setting("RSIPC_PYTHON").filter(|_| has(Language::Python));
    // Written past the capture of the test's output: the table is worth seeing.
    let mut out = std::io::stderr();
    let _ = writeln!(out, "\n{}", report::head());

    // Each worker is a process, which plays the next scene that nobody plays yet.
    let next = Board::new(1);
    let (sender, receiver) = mpsc::channel();
    let mut rows: Vec<Option<Row>> = plays.iter().map(|_| None).collect();
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (from, into) = std::io::pipe().unwrap();
            let worker = fork("player of scenes", || {
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash/victim.py");
                let servers = [
                    None,
                    c.as_ref().map(|program| Server::start(&mut Command::new(program))),
                    python.as_ref().map(|python| Server::start(Command::new(python).arg(&script))),
                ];
                while let Some(i) = usize::try_from(next.add(0, 1)).ok().filter(|&i| i < plays.len()) {
                    // What a process keeps of each directory that it used is not to add up over all scenes.
                    let scene = fork("player of a scene", || {
                        let line = serde_json::to_string(&(i as u64, play(plays[i], extent, &servers).numbers())).unwrap();
                        writeln!(&into, "{line}").unwrap();
                    });
                    // However long it takes: it ends itself when it hangs.
                    let status = waitpid(scene.pid, None);
                    assert_eq!(status, Ok(WaitStatus::Exited(scene.pid, 0)), "{}", plays[i].name);
                }
            });
            drop(into);
            let sender = sender.clone();
            std::thread::spawn(move || {
                std::io::BufRead::lines(std::io::BufReader::new(from)).for_each(|line| sender.send(line.unwrap()).unwrap());
            });
            worker
        })
        .collect();
    drop(sender);
    let operations: Vec<&str> = everything.iter().map(|play| play.name.as_str()).collect();
    let mut page = setting("RSIPC_CRASH_TABLE").map(|path| report::Page::open(&path, &operations));
    for line in receiver {
        let (i, numbers): (usize, serde_json::Value) = serde_json::from_str(&line).unwrap();
        let row = Row::of(&plays[i].name, &numbers);
        let _ = writeln!(out, "{}", row.line());
        // At once: such a run takes long, and may be ended before it is over.
        if let Some(page) = &mut page {
            page.write(&row, &operations);
        }
        rows[i] = Some(row);
    }
    let _ = writeln!(out);
    workers.into_iter().for_each(support::Child::join);

    let rows: Vec<Row> = rows.into_iter().map(|row| row.expect("each scene is played")).collect();
    let reports: Vec<String> =
        rows.iter().flat_map(|row| row.tally.reports.iter().map(|report| format!("{}: {report}", row.name))).collect();
    assert!(reports.is_empty(), "\n{}", reports.join("\n"));
}
