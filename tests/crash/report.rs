//! The table of what came of the kills, on the screen and as Markdown.

use std::fmt::Write;

use crate::step::Tally;

/// What came of one scene.
pub struct Row {
    pub name: String,
    pub seconds: f64,
    pub tally: Tally,
}

/// The head of the table on the screen.
pub fn head() -> String {
    format!(
        "{:<50} {:>6} {:>6} {:>5} {:>4} {:>4} {:>5} {:>6} {:>4} {:>9}",
        "killed in", "steps", "kills", "hang", "lost", "torn", "twice", "leaked", "late", "worst us"
    )
}

impl Row {
    /// As a worker tells it.
    pub fn numbers(&self) -> serde_json::Value {
        let t = &self.tally;
        serde_json::json!({
            "seconds": self.seconds,
            "numbers": [t.steps, t.points, t.hangs, t.lost, t.torn, t.twice, t.leaked, t.late, t.worst],
            "reports": t.reports,
        })
    }

    /// From what a worker told.
    pub fn of(name: &str, told: &serde_json::Value) -> Self {
        let number = |i: usize| told["numbers"][i].as_u64().unwrap();
        let reports = told["reports"].as_array().unwrap().iter().map(|report| report.as_str().unwrap().to_owned()).collect();
        let tally = Tally {
            steps: number(0),
            points: number(1),
            hangs: number(2),
            lost: number(3),
            torn: number(4),
            twice: number(5),
            leaked: number(6),
            late: number(7),
            worst: number(8),
            reports,
        };
        Self { name: name.to_owned(), seconds: told["seconds"].as_f64().unwrap(), tally }
    }

    /// Its line on the screen.
    pub fn line(&self) -> String {
        let t = &self.tally;
        format!(
            "{:<50} {:>6} {:>6} {:>5} {:>4} {:>4} {:>5} {:>6} {:>4} {:>9}  {:.1} s",
            self.name,
            t.steps,
            t.points,
            t.hangs,
            t.lost,
            t.torn,
            t.twice,
            t.leaked,
            t.late,
            t.worst / 1000,
            self.seconds
        )
    }
}

/// The whole table as a page, with the machine that it was measured on.
pub fn markdown(rows: &[Row], seconds: f64, every: bool) -> String {
    let kills: u64 = rows.iter().map(|row| row.tally.points).sum();
    let faults: u64 = rows.iter().map(|row| row.tally.faults()).sum();
    let worst = rows.iter().map(|row| row.tally.worst).max().unwrap_or(0);
    let which = if every { "in full" } else { "a sample, not in full" };
    let mut page = format!(
        "# Where processes were killed, and what came of it\n\n\
         Written by a run of `tests/crash_step.rs` (`make kill`), {which}. It runs one operation of a process up to some instruction, kills the\n\
         process there, and looks how the others fare; then the same up to another instruction.\n\n\
         {kills} kills in {} operations: {faults} faults. A fault is a process that hangs; a message or unit that is lost, torn or comes twice;\n\
         room, a permit, a file or an entry that leaks; and one that sleeps although it could go on, for more than 50 ms, or more than\n\
         150 ms where a second one dies or a third one barges in. The longest that anybody slept so was {:.1} ms.\n\n\
         Measured on {}, in {:.0} minutes.\n\n\
         | operation | instructions | kills | faults | worst recovery (µs) |\n\
         | --- | ---: | ---: | ---: | ---: |\n",
        rows.len(),
        worst as f64 / 1e6,
        machine(),
        (seconds / 60.0).max(1.0)
    );
    for row in rows {
        let t = &row.tally;
        writeln!(page, "| {} | {} | {} | {} | {} |", row.name, t.steps, t.points, t.faults(), t.worst / 1000).unwrap();
    }
    page += "\nInstructions are all that the operation executed in its first run: those of rsipc, of the C library, and of the language around it.\n\
             In full means: after each of them; of operations with more than 3000, after the first ten times that each is executed, and each tenth\n\
             time then, up to a limit (8000 kills in Rust, 2000 in C); in Python after each of the first and last 300 instructions of the native code (with\n\
             some of the interpreter's around it), and some 300 between. Where the victim was woken, the instructions count from there if a third one barges in.\n\
             Where two are killed, a kill is a pair, of a grid of 80 by 8. Repeated kills at the end come from runs that were longer than the first.\n\
             The recovery is the time from the kill until nobody slept who could go on; 0 where nobody slept.\n";
    page
}

/// The machine, in words.
fn machine() -> String {
    let model = std::fs::read_to_string("/proc/cpuinfo")
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name.to_owned()))
        .unwrap_or_else(|| "an unknown processor".into());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let system = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    format!("{processors} processors ({model}), Linux {system}")
}
