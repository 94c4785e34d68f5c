//! `rsipc watch`

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{Write, stdout};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use comfy_table::CellAlignment::{Left, Right};
use console::Term;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rsipc::{Counters, Namespace};
use serde::Serialize;

use crate::Done;
use crate::cli::WatchArgs;
use crate::failure::Failure;
use crate::object::Object;
use crate::output;

/// What one look saw, with the keys that `--json` gives it.
#[derive(Serialize)]
struct Look {
    time: f64,
    objects: Vec<Watched>,
}

#[derive(Serialize)]
struct Watched {
    #[serde(flatten)]
    object: Object,
    #[serde(flatten)]
    rates: Rates,
}

/// What is counted, a second; None at the first look, and of messages for what has none.
#[derive(Serialize, Default)]
struct Rates {
    sent_per_second: Option<f64>,
    received_per_second: Option<f64>,
    bytes_sent_per_second: Option<f64>,
    bytes_received_per_second: Option<f64>,
    waits_per_second: Option<f64>,
}

/// What was counted at the last look, and when.
type Counted = HashMap<String, (Instant, Counters)>;

pub fn run(space: &Namespace, args: &WatchArgs) -> Done {
    if args.interval.is_zero() {
        return Err(Failure::usage("the interval is longer than 0 seconds"));
    }
    let signals = Signals::new()?;
    let mut screen = (!args.json && Term::stdout().is_term()).then(Screen::enter).transpose()?;
    let mut counted = Counted::new();
    let mut looks = 0;
    loop {
        let look = look(space, args, &mut counted)?;
        match &mut screen {
            _ if args.json => output::json_line(&look)?,
            Some(screen) => screen.draw(&text(space, &look))?,
            None => stdout().write_all(format!("{}\n", text(space, &look)).as_bytes())?,
        }
        looks += 1;
        if args.count.is_some_and(|count| looks >= count) {
            return Ok(ExitCode::SUCCESS);
        }
        match signals.wait(args.interval)? {
            None | Some(Signal::SIGWINCH) => {}
            Some(Signal::SIGTSTP) => {
                let shown = screen.take().is_some();
                raise(Signal::SIGSTOP).map_err(std::io::Error::from)?;
                screen = shown.then(Screen::enter).transpose()?;
            }
            Some(signal) => {
                drop(screen);
                // As if nobody had held it up.
                SigSet::from(signal).thread_unblock().map_err(std::io::Error::from)?;
                raise(signal).map_err(std::io::Error::from)?;
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

fn look(space: &Namespace, args: &WatchArgs, counted: &mut Counted) -> Result<Look, Failure> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let watch = |object: Object| {
        let (now, counters) = (Instant::now(), object.counters.unwrap_or_default());
        let rates = match counted.insert(object.name.clone(), (now, counters)) {
            Some((then, before)) => rates(&object, now.duration_since(then), &before, &counters),
            None => Rates::default(),
        };
        Watched { object, rates }
    };
    let objects = Object::all(space, &args.names)?.into_iter().map(watch).collect();
    Ok(Look { time, objects })
}

fn rates(object: &Object, time: Duration, before: &Counters, now: &Counters) -> Rates {
    let seconds = time.as_secs_f64().max(f64::EPSILON);
    // Less than before: it is another object of that name.
    let rate = |count: fn(&Counters) -> u64| Some(count(now).checked_sub(count(before))? as f64 / seconds);
    let of_messages = |count| object.queue().and_then(|_| rate(count));
    Rates {
        sent_per_second: of_messages(|counters| counters.sent),
        received_per_second: of_messages(|counters| counters.received),
        bytes_sent_per_second: of_messages(|counters| counters.bytes_sent),
        bytes_received_per_second: of_messages(|counters| counters.bytes_received),
        waits_per_second: object.counters.and_then(|_| rate(|counters| counters.waits)),
    }
}

fn text(space: &Namespace, look: &Look) -> String {
    let rate = |rate: Option<f64>| rate.map_or_else(String::new, |rate| format!("{rate:.0}"));
    let row = |watched: &Watched| {
        let Watched { object, rates } = watched;
        vec![
            object.name.clone(),
            object.kind.into(),
            object.fill(),
            rate(rates.sent_per_second),
            rate(rates.received_per_second),
            rates.bytes_sent_per_second.map_or_else(String::new, |rate| output::bytes(rate as u64)),
            rate(rates.waits_per_second),
            object.waiting().map_or_else(|| "?".into(), |waiting| waiting.to_string()),
            output::bytes(object.memory),
            output::processes(&object.processes),
            output::notes(object),
        ]
    };
    let head = [
        ("NAME", Left),
        ("KIND", Left),
        ("FILL", Right),
        ("SENT/S", Right),
        ("RECEIVED/S", Right),
        ("BYTES/S", Right),
        ("WAITS/S", Right),
        ("WAITING", Right),
        ("MEMORY", Right),
        ("PROCESSES", Left),
        ("NOTES", Left),
    ];
    let dir = space.dir().map(|dir| dir.display().to_string()).unwrap_or_default();
    let mut text = format!("{dir}\n");
    text.push_str(&output::table(&head, look.objects.iter().map(row).collect()));
    text
}

/// The terminal's other screen, left when this is dropped.
struct Screen(Term);

impl Screen {
    fn enter() -> std::io::Result<Self> {
        // The other screen, no cursor, no line longer than the screen is wide.
        let screen = Self(Term::stdout());
        screen.0.write_str("\x1b[?1049h\x1b[?25l\x1b[?7l")?;
        Ok(screen)
    }

    fn draw(&mut self, text: &str) -> std::io::Result<()> {
        let (rows, _) = self.0.size();
        let mut frame = String::from("\x1b[H");
        for (row, line) in text.lines().take(rows.into()).enumerate() {
            let _ = write!(frame, "{}{line}\x1b[K", if row == 0 { "" } else { "\r\n" });
        }
        frame.push_str("\x1b[J");
        self.0.write_str(&frame)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.0.write_str("\x1b[?7h\x1b[?25h\x1b[?1049l");
    }
}

/// The signals that end it, stop it, or tell of another size of the terminal, held up until they are waited for.
struct Signals(SignalFd);

impl Signals {
    fn new() -> std::io::Result<Self> {
        let all = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGTSTP, Signal::SIGWINCH];
        let all: SigSet = all.into_iter().collect();
        all.thread_block()?;
        Ok(Self(SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// The next signal, or None when so much time has passed.
    fn wait(&self, time: Duration) -> std::io::Result<Option<Signal>> {
        let timeout = PollTimeout::try_from(time.max(Duration::from_millis(1))).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let signal = self.0.read_signal()?.and_then(|info| Signal::try_from(info.ssi_signo.cast_signed()).ok());
        Ok(signal)
    }
}
