//! The table of what came of the kills, on the screen and as Markdown.

use std::fmt::Write;
use std::path::PathBuf;

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
        "{:<50} {:>6} {:>6} {:>6} {:>6} {:>5} {:>4} {:>4} {:>5} {:>6} {:>4} {:>9}",
        "killed in", "steps", "states", "missed", "kills", "hang", "lost", "torn", "twice", "leaked", "late", "worst us"
    )
}

impl Row {
    /// As a worker tells it.
    pub fn numbers(&self) -> serde_json::Value {
        let t = &self.tally;
        serde_json::json!({
            "seconds": self.seconds,
            "every": t.every,
            "numbers": [t.steps, t.states, t.missed, t.points, t.hangs, t.lost, t.torn, t.twice, t.leaked, t.late, t.worst],
            "reports": t.reports,
        })
    }

    /// From what a worker told.
    pub fn of(name: &str, told: &serde_json::Value) -> Self {
        let number = |i: usize| told["numbers"][i].as_u64().unwrap();
        let reports = told["reports"].as_array().unwrap().iter().map(|report| report.as_str().unwrap().to_owned()).collect();
        let tally = Tally {
            every: told["every"].as_bool().unwrap(),
            steps: number(0),
            states: number(1),
            missed: number(2),
            points: number(3),
            hangs: number(4),
            lost: number(5),
            torn: number(6),
            twice: number(7),
            leaked: number(8),
            late: number(9),
            worst: number(10),
            reports,
        };
        Self { name: name.to_owned(), seconds: told["seconds"].as_f64().unwrap(), tally }
    }

    /// Its line on the screen.
    pub fn line(&self) -> String {
        let t = &self.tally;
        format!(
            "{:<50} {:>6} {:>6} {:>6} {:>6} {:>5} {:>4} {:>4} {:>5} {:>6} {:>4} {:>9}  {:.1} s",
            self.name,
            t.steps,
            t.states,
            t.missed,
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

/// How many there are beside an operation's name.
const COLUMNS: usize = 7;

/// A page with a table of what came of the kills. A run writes the rows of the operations that it has played, and leaves the others.
pub struct Page {
    path: PathBuf,
    /// Operations, with what stands beside each.
    rows: Vec<(String, [String; COLUMNS])>,
}

impl Page {
    /// The page in a file, if there is one, without the rows of operations that are none of these any more; and in their order.
    pub fn open(path: &str, operations: &[&str]) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let old: Vec<_> = text.lines().filter_map(cells).collect();
        let row = |name: &&str| old.iter().find(|(old, _)| old == name).cloned();
        Self { path: path.into(), rows: operations.iter().filter_map(row).collect() }
    }

    /// Writes a row into it.
    pub fn write(&mut self, row: &Row, operations: &[&str]) {
        let t = &row.tally;
        let which = if t.every { "every instruction" } else { "the states" };
        let numbers = [t.steps, t.states, t.missed, t.points, t.worst / 1000];
        let [steps, states, missed, points, worst] = numbers.map(|number| number.to_string());
        let cells = [steps, states, missed, points, which.into(), t.faults().to_string(), worst];
        self.rows.retain(|(name, _)| *name != row.name);
        self.rows.push((row.name.clone(), cells));
        self.rows.sort_by_key(|(name, _)| operations.iter().position(|operation| operation == name));
        std::fs::write(&self.path, self.text()).unwrap();
    }

    fn text(&self) -> String {
        let sum = |column: usize| self.rows.iter().filter_map(|(_, cells)| cells[column].parse::<u64>().ok()).sum::<u64>();
        let worst = self.rows.iter().filter_map(|(_, cells)| cells[6].parse::<u64>().ok()).max().unwrap_or(0);
        let every = self.rows.iter().filter(|(_, cells)| cells[4] == "every instruction").count();
        let mut page = format!(
            "# Where processes were killed, and what came of it\n\n\
             Written by runs of `tests/crash_step.rs` (`make kill`). It runs one operation of a process up to some instruction, kills the\n\
             process there, and looks how the others fare; then the same up to another instruction. Each row is from the last run that wrote it:\n\
             `make kill ONLY=word` plays the operations with that word in their names.\n\n\
             {} kills in {} operations, of whose first runs the others could tell {} states apart: in each of these a process was killed but for {} that\n\
             did not come again. In {every} operations one was killed after every other instruction, too. There were {} faults. A fault is a process that hangs; a message or unit that is lost, torn or comes twice;\n\
             room, a permit, a file or an entry that leaks; and one that sleeps although it could go on, for more than 50 ms, or more than\n\
             150 ms where a second one dies or a third one barges in. The longest that anybody slept so was {:.1} ms.\n\n\
             The last of these runs was on {}.\n\n\
             | operation | instructions | states | missed | kills | in | faults | worst recovery (µs) |\n\
             | --- | ---: | ---: | ---: | ---: | --- | ---: | ---: |\n",
            sum(3),
            self.rows.len(),
            sum(1) + sum(2),
            sum(2),
            sum(5),
            worst as f64 / 1e3,
            machine(),
        );
        for (name, cells) in &self.rows {
            writeln!(page, "| {name} | {} |", cells.join(" | ")).unwrap();
        }
        page += "\nInstructions are all that the operation executed in its first run: those of rsipc, of the C library, and of the language around it.\n\n\
                 States: a killed process leaves the memory that it shared, its robust list, at which the kernel looks when it dies, and what its system\n\
                 calls did. In the first run all of that is compared after each instruction. Where nothing changed, the process leaves behind what it would have\n\
                 left one instruction earlier; so it is killed after each instruction that changed something, and before and after each system call, and has then\n\
                 been killed in every way of that run that makes a difference for others. (Of an instruction that copies byte by byte the first and the last time count.\n\
                 Within a system call nobody is killed.) Missed are states to which the operation did not come again. Most of them it came to in its\n\
                 first run only since the stepper made it slow, so that a time was over or others were ahead; it is then slowed down once more, but in long operations\n\
                 not for what they do again and again.\n\n\
                 What is not recorded: states that an operation has at its own pace only. Who is woken by it runs at full speed, and is done, as a rule, before the\n\
                 first run's next instructions; so what the operation does where it is ahead of those, or its spin succeeds, or a time is not over yet, may not be in\n\
                 that run. Later runs go at their own pace to some instructions before the kill: they take such ways, and are killed on them, but not in each state of\n\
                 theirs. For those there are `tests/crash_random.rs` and `make storm`, which kill at any moment at full speed, and the models (`make models`), which try\n\
                 deaths between any two steps.\n\n\
                 Every instruction: of operations with 3000 or fewer, after each of the others as well, which would show if that argument had a hole; of longer ones\n\
                 after some 100 others. One that was to stand still for a while, and go on, is stopped after each even in a short run (if they are\n\
                 no more than that), since then all that it had makes a difference. Where two are killed, a kill is a pair: each state of the first with each of the second. Where the victim was woken,\n\
                 the instructions count from there if a third one barges in. Of Python's they are those from the first of the native code to the last. Repeated kills\n\
                 at the end come from runs that were longer than the first. An operation of which the stepper sees more than 150000 instructions is not followed further.\n\n\
                 The recovery is the time from the kill until nobody slept who could go on; 0 where nobody slept.\n";
        page
    }
}

/// The operation of a line of the table, and what stands beside it; None for other lines.
fn cells(line: &str) -> Option<(String, [String; COLUMNS])> {
    let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").map(str::to_owned);
    let name = cells.next()?;
    let cells: [String; COLUMNS] = cells.collect::<Vec<_>>().try_into().ok()?;
    cells[0].parse::<u64>().is_ok().then_some((name, cells))
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
