//! `rsipc stat`

use std::io::{Write, stdout};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use comfy_table::CellAlignment::{Left, Right};
use indicatif::HumanDuration;
use rsipc::Namespace;

use crate::Done;
use crate::cli::StatArgs;
use crate::object::{Object, Process, Queue, State};
use crate::output;

pub fn run(space: &Namespace, args: &StatArgs) -> Done {
    let object = Object::one(space, &args.name)?;
    if args.json {
        output::json(&object)?;
    } else {
        stdout().write_all(text(&object).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(object: &Object) -> String {
    let mut lines = vec![
        ("name", object.name.clone()),
        ("kind", object.kind.to_owned()),
        ("size", format!("{} of addresses", output::bytes(object.size))),
        ("memory", output::bytes(object.memory)),
    ];
    match &object.state {
        Some(State::Queue(queue) | State::Endpoint { inbox: queue, .. }) => lines.extend(queue_lines(queue)),
        Some(State::Semaphore { counts, value, total }) => {
            lines.push(("counts", (*counts).to_owned()));
            lines.push(("value", total.map_or(value.to_string(), |total| format!("{value} of {total}"))));
        }
        Some(State::Region { len }) => lines.push(("length", format!("{len} bytes"))),
        Some(State::Mutex { held, .. }) => lines.push(("held", yes(*held))),
        None => {}
    }
    lines.extend(counter_lines(object));
    lines.extend(
        object.notes().into_iter().map(|(note, bad)| ("note", if bad { console::style(note).red().to_string() } else { note })),
    );
    let mut text: String = lines.iter().map(|(key, value)| format!("{key:<12} {value}\n")).collect();
    if !object.processes.is_empty() {
        let head = [
            ("PID", Right),
            ("COMMAND", Left),
            ("ALIVE", Left),
            ("WAITING", Left),
            ("SENDS", Left),
            ("RECEIVES", Left),
            ("HOLDS", Right),
            ("SINCE", Left),
        ];
        text.push('\n');
        text.push_str(&output::table(&head, object.processes.iter().map(row).collect()));
    }
    text
}

fn queue_lines(queue: &Queue) -> Vec<(&'static str, String)> {
    let capacity = match queue.capacity {
        None => "unbounded".into(),
        Some(0) => "0 (rendezvous)".into(),
        Some(capacity) => capacity.to_string(),
    };
    vec![
        ("capacity", capacity),
        ("max message", format!("{} bytes", queue.max_message)),
        ("waiting", queue.waiting.to_string()),
        ("on lease", queue.leased.to_string()),
        ("shut down", yes(queue.shut_down)),
    ]
}

/// What was counted; of messages only where there are any.
fn counter_lines(object: &Object) -> Vec<(&'static str, String)> {
    let Some(counters) = &object.counters else { return Vec::new() };
    let mut lines = Vec::new();
    if object.queue().is_some() {
        lines.push(("ever sent", messages(counters.sent, counters.bytes_sent)));
        lines.push(("received", messages(counters.received, counters.bytes_received)));
    }
    lines.push(("waits", format!("{}, woken {} times", counters.waits, counters.wakeups)));
    lines.push(("deaths", format!("{} noticed, {} recoveries", counters.deaths, counters.recoveries)));
    lines
}

fn messages(count: u64, bytes: u64) -> String {
    format!("{count} messages, {bytes} bytes")
}

fn row(process: &Process) -> Vec<String> {
    vec![
        process.pid.to_string(),
        process.command.clone().unwrap_or_default(),
        if process.alive { yes(true) } else { console::style("dead").red().to_string() },
        process.waiting.map_or_else(|| "?".into(), yes),
        yes(process.sends),
        yes(process.receives),
        process.holds.to_string(),
        process.since.map_or_else(String::new, ago),
    ]
}

/// How long a moment is past, in words.
fn ago(seconds: f64) -> String {
    let at = UNIX_EPOCH + Duration::try_from_secs_f64(seconds).unwrap_or_default();
    format!("{} ago", HumanDuration(SystemTime::now().duration_since(at).unwrap_or_default()))
}

fn yes(yes: bool) -> String {
    if yes { "yes" } else { "no" }.into()
}
