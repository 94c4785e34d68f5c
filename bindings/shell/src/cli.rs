//! What can be typed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use rsipc::Namespace;

use crate::failure;

/// Look at, use and look after queues, locks and shared memory between processes
///
/// Objects have names in a directory of their own: the user's, /dev/shm/rsipc-UID, unless --dir or the environment variable RSIPC_DIR names
/// another one. Programs in Rust, C and Python that use rsipc use the very same objects.
#[derive(Parser)]
#[command(name = "rsipc", version, max_term_width = 100, after_long_help = failure::HELP, after_help = "See --help for examples and exit statuses.")]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// The directory of the objects, instead of RSIPC_DIR or the user's own
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    pub fn namespace(&self) -> Namespace {
        self.dir.clone().map_or_else(Namespace::default, Namespace::at)
    }
}

#[derive(Subcommand)]
pub enum Command {
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    Stat(StatArgs),
    Watch(WatchArgs),
    Create(CreateArgs),
    Send(SendArgs),
    Recv(RecvArgs),
    Shutdown(ShutdownArgs),
    Call(CallArgs),
    Serve(ServeArgs),
    Lock(LockArgs),
    Rm(RemoveArgs),
    Doctor(DoctorArgs),
    Bench(BenchArgs),
    #[command(hide = true)]
    BenchPeer(BenchPeerArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// How long to wait.
#[derive(Args)]
pub struct Waiting {
    /// Do not wait: exit with 1 instead
    #[arg(short, long, conflicts_with = "timeout")]
    nonblock: bool,
    /// Wait no longer than so many seconds (0.5, 10), then exit with 1
    #[arg(short = 'w', long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
}

impl Waiting {
    /// None: for ever; zero: not at all.
    pub fn timeout(&self) -> Option<Duration> {
        if self.nonblock { Some(Duration::ZERO) } else { self.timeout }
    }
}

/// List the objects: kind, memory, fill, who is attached, what dead processes hold
///
/// FILL is how many messages of how many a queue holds, or how many units a semaphore has. PROCESSES are those that have the
/// object mapped and that this user may look into.
#[derive(Args)]
#[command(after_long_help = concat!(
    "With --json: an array of objects, each with the keys of `rsipc stat --json`.\n\nExamples:\n",
    "  rsipc ls\n  rsipc --dir /dev/shm/ours ls\n  rsipc ls --json | jq -r '.[] | select(.kind == \"queue\" and .waiting > 100) | .name'"))]
pub struct ListArgs {
    /// Write the names alone, each on a line
    #[arg(long)]
    pub names: bool,
    /// Write JSON
    #[arg(long, conflicts_with = "names")]
    pub json: bool,
}

/// Show one object and the processes that use it
#[derive(Args)]
#[command(after_long_help = concat!(
    "With --json: an object with the keys name, kind (queue, mutex, semaphore, region, endpoint), size (bytes of addresses), memory (bytes in use), ",
    "problem (why it cannot be looked at, or null) and processes: an array of pid, command, alive, waiting (true, false, or null where that cannot ",
    "be known), sends, receives, holds (messages on lease, or permits) and since (seconds since 1970, or null). And\n",
    "  queue      capacity (null: unbounded), max_message, waiting, leased, sent, received, bytes_sent, bytes_received, shut_down\n",
    "  endpoint   the same, and pid, alive\n",
    "  mutex      held, holder (process id or null), owner_died, given_up\n",
    "  semaphore  counts (signals, permits), value, total (null: signals)\n",
    "  region     len\n",
    "  all but regions: waits, wakeups, recoveries, deaths\n",
    "Keys are added, never changed.\n\n",
    "What is counted is counted since the object was created. Messages that were sent, those that a receiver took, and their bytes. How often a call had to ",
    "sleep for the object, and one that slept was woken. How often a call came upon the death of a process, and put something right that it had left.\n\n",
    "Examples:\n  rsipc stat jobs\n  rsipc stat --json jobs | jq .waiting"))]
pub struct StatArgs {
    /// The object
    pub name: String,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Show the objects live, until Ctrl-C
///
/// SENT/S and RECEIVED/S are messages a second, counted between two looks, BYTES/S the bytes of those sent, and WAITS/S is how
/// often somebody went to sleep for the object. WAITING is how many of the attached processes sleep in a call on the object.
/// Where the output is no terminal, each look is written below the last one.
#[derive(Args)]
#[command(after_long_help = concat!(
    "With --json: one line a look, an object with time (seconds since 1970) and objects, each with the keys of `rsipc stat --json` and ",
    "sent_per_second, received_per_second, bytes_sent_per_second, bytes_received_per_second (null at the first look, and for what is no queue) and ",
    "waits_per_second.\n\nExamples:\n",
    "  rsipc watch\n  rsipc watch -i 0.2 jobs results\n  rsipc watch --json -c 60 > minute.jsonl"))]
pub struct WatchArgs {
    /// The objects; all, if none is named
    pub names: Vec<String>,
    /// Look every so many seconds
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub interval: Duration,
    /// End after so many looks
    #[arg(short, long, value_name = "LOOKS")]
    pub count: Option<u64>,
    /// Write JSON, one line a look
    #[arg(long)]
    pub json: bool,
}

/// Create a queue, mutex, semaphore or region
#[derive(Args)]
#[command(after_long_help = concat!(
    "Examples:\n  rsipc create queue jobs --capacity 1000 --max-message 64K\n  rsipc create queue log --unbounded --exist-ok\n",
    "  rsipc create semaphore slots --permits 4\n  rsipc create region table 16M --mode 660"))]
pub struct CreateArgs {
    #[command(subcommand)]
    pub what: Create,
    /// The permission bits, octal: who besides this user may use it (660: the group)
    #[arg(long, global = true, default_value = "600", value_parser = octal)]
    pub mode: u32,
    /// Leave it as it is if there is one of that name and kind already
    #[arg(long, global = true)]
    pub exist_ok: bool,
}

#[derive(Subcommand)]
pub enum Create {
    /// A queue of messages
    Queue {
        /// Its name: up to 200 bytes of UTF-8, no slash, no dot or at sign in front
        name: String,
        /// How many messages there is room for before senders wait; 0: a rendezvous
        #[arg(long, value_name = "MESSAGES", default_value_t = 64)]
        capacity: usize,
        /// Senders never wait; memory grows with what waits
        #[arg(long, conflicts_with = "capacity")]
        unbounded: bool,
        /// Unbounded, but so many bytes may wait at most (1M, 2G)
        #[arg(long, value_name = "BYTES", value_parser = bytes, conflicts_with = "capacity")]
        limit: Option<u64>,
        /// How long a message can be (4096, 64K, 16M)
        #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "4096")]
        max_message: u64,
        /// How many messages can be worked on, but not finished, at a time
        #[arg(long, value_name = "MESSAGES", default_value_t = 256)]
        leases: usize,
    },
    /// A mutex that guards no data of its own
    Mutex {
        /// Its name
        name: String,
    },
    /// A semaphore: signals, unless --permits says otherwise
    Semaphore {
        /// Its name: up to 200 bytes of UTF-8, no slash, no dot or at sign in front
        name: String,
        /// Signals: how many units there are to begin with
        #[arg(long, default_value_t = 0)]
        value: u32,
        /// So many permits, which come back when their holder dies
        #[arg(long, conflicts_with = "value")]
        permits: Option<u32>,
    },
    /// A region of shared memory
    Region {
        /// Its name: up to 200 bytes of UTF-8, no slash, no dot or at sign in front
        name: String,
        /// How long it is (4096, 64K, 16M)
        #[arg(value_parser = bytes)]
        size: u64,
    },
}

/// Send messages to a queue: arguments, lines, files or framed binary
///
/// Without messages or --file, each line of the standard input is a message (without its newline). What was sent before an error
/// has been sent.
#[derive(Args)]
#[command(after_long_help = concat!(
    "Framed: each message follows its length, 4 bytes, the lowest first.\n\nExamples:\n",
    "  rsipc send jobs 'resize cat.jpg'\n  find . -name '*.jpg' | rsipc send jobs\n  rsipc send pictures --file cat.jpg --file dog.jpg\n",
    "  tar c . | rsipc send backup --raw && rsipc shutdown backup"))]
pub struct SendArgs {
    /// The queue
    pub name: String,
    /// The messages, if they do not come from the standard input
    pub messages: Vec<OsString>,
    /// A file that is one message (repeatable)
    #[arg(long, value_name = "FILE", conflicts_with = "messages", value_hint = ValueHint::FilePath)]
    pub file: Vec<PathBuf>,
    /// The standard input is a stream of bytes: cut it anywhere into messages
    #[arg(long, conflicts_with_all = ["messages", "file"])]
    pub raw: bool,
    /// The standard input is framed binary
    #[arg(long, conflicts_with_all = ["messages", "file", "raw"])]
    pub framed: bool,
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Receive messages from a queue: as lines, bytes, framed binary or JSON
///
/// A message is gone from the queue when it has been written: if this command is killed before, the next receiver gets it (and
/// gets it a second time, if it was killed right after it had written it).
#[derive(Args)]
#[command(after_long_help = concat!(
    "Framed: each message follows its length, 4 bytes, the lowest first.\n",
    "With --json: one line a message, an object with len, deliveries (more than 1: somebody died over it), text (null where it is no UTF-8) ",
    "and hex (where it is no UTF-8, else null).\n\nExamples:\n",
    "  rsipc recv jobs\n  rsipc recv -w 5 jobs || echo 'nothing came'\n  rsipc recv -f jobs | while read -r job; do work \"$job\"; done\n",
    "  rsipc recv --raw pictures > cat.jpg\n  rsipc recv -f --raw backup | tar x"))]
pub struct RecvArgs {
    /// The queue
    pub name: String,
    /// Receive so many messages
    #[arg(short, long, value_name = "MESSAGES", default_value_t = 1)]
    pub count: u64,
    /// Receive until the queue is shut down (then exit with 0), or nothing comes for the time given with -w (then exit with 1)
    #[arg(short, long, conflicts_with = "count")]
    pub follow: bool,
    /// Write the messages as they are, with nothing between them
    #[arg(long)]
    pub raw: bool,
    /// Write framed binary
    #[arg(long, conflicts_with = "raw")]
    pub framed: bool,
    /// Write JSON, one line a message
    #[arg(long, conflicts_with_all = ["raw", "framed"])]
    pub json: bool,
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Shut a queue down for everybody: nothing more can be sent, and receivers get what is left
#[derive(Args)]
#[command(after_long_help = "Example:\n  rsipc shutdown jobs && rsipc rm jobs")]
pub struct ShutdownArgs {
    /// The queue
    pub name: String,
}

/// Send a request to a server and write its reply
///
/// The server is an endpoint of that name, or any of those that serve the queue of that name. The reply is written as a line:
/// with a newline behind it, unless it ends in one.
#[derive(Args)]
#[command(after_long_help = "Examples:\n  rsipc call squares 7\n  rsipc call -w 10 --raw resize < cat.jpg > small.jpg")]
pub struct CallArgs {
    /// The server's name, or the queue's
    pub name: String,
    /// The request; without it, all of the standard input
    pub request: Option<OsString>,
    /// Write the reply as it is, with nothing behind it
    #[arg(long)]
    pub raw: bool,
    /// Wait no longer than so many seconds for the reply (0.5, 10), then exit with 1
    #[arg(short = 'w', long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
}

/// Run a command for each request: the request is its input, what it writes is the reply
///
/// If there is a queue of that name, requests are taken from it: any number of servers may do so. If not, this process opens an
/// endpoint of that name. A command that fails gives no reply: the caller is told. Its environment has RSIPC_CALLER, the caller's
/// process id.
///
/// If this process is killed, so is the command, and the caller is told.
#[derive(Args)]
#[command(after_long_help = concat!("Examples:\n  rsipc serve upper -- tr a-z A-Z\n",
    "  rsipc create queue resize --max-message 16M; for i in 1 2 3 4; do rsipc serve resize -- convert - -resize 50% - & done"))]
pub struct ServeArgs {
    /// The server's name, or the queue's
    pub name: String,
    /// End after so many requests
    #[arg(short, long, value_name = "REQUESTS")]
    pub count: Option<u64>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// Run a command while holding a mutex, as flock(1) does
///
/// The mutex is created if there is none. If whoever held it last died with it, the command's environment has RSIPC_OWNER_DIED=1,
/// and a line on standard error says so: what the mutex guards may be half changed. It stays so for all who lock it until a
/// command ends with status 0.
///
/// If this process is killed, so is the command, and the mutex goes to the next one.
#[derive(Args)]
#[command(after_long_help = concat!("Examples:\n  rsipc lock deploy -- ./deploy.sh\n  rsipc lock -n nightly -- make report || echo 'it is running already'\n",
    "  rsipc lock table -- sh -c '[ -z \"$RSIPC_OWNER_DIED\" ] || ./repair; ./update'"))]
pub struct LockArgs {
    /// The mutex
    pub name: String,
    #[command(flatten)]
    pub waiting: Waiting,
    /// The exit status where it would have to wait, or the time has passed
    #[arg(short = 'E', long, value_name = "STATUS", default_value_t = failure::WOULD_WAIT)]
    pub conflict_exit_code: u8,
    /// The command and its arguments
    #[arg(last = true, required = true, value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// Take names away; who has the objects open goes on using them
#[derive(Args)]
#[command(after_long_help = "Example:\n  rsipc rm jobs results")]
pub struct RemoveArgs {
    /// The objects
    #[arg(required = true)]
    pub names: Vec<String>,
    /// It is no error if there is none of that name
    #[arg(short, long)]
    pub force: bool,
}

/// Say what is wrong here, and what to do: limits, mounts, what is left by the dead
///
/// What dead processes held comes back by itself when somebody needs it; --fix does it now. It never takes away a message, or an
/// object that somebody could still want.
#[derive(Args)]
#[command(after_long_help = concat!(
    "With --json: an object with healthy and checks, an array of check, level (ok, note, problem), found, advice (or null) and fixed.\n\n",
    "Examples:\n  rsipc doctor\n  rsipc doctor --fix"))]
pub struct DoctorArgs {
    /// Take back what dead processes held
    #[arg(long)]
    pub fix: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Measure this machine, quickly: one way and round trips between two processes
///
/// These are figures of a machine that does other things as well: a first idea, not a benchmark.
#[derive(Args)]
#[command(after_long_help = concat!(
    "With --json: an object with processors and results, an array of what (one way, round trip), bytes, seconds, messages, per_second, and for ",
    "round trips median_ns and p99_ns.\n\nExample:\n  rsipc bench -s 2"))]
pub struct BenchArgs {
    /// How long each measurement lasts
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub seconds: Duration,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct BenchPeerArgs {
    pub role: PeerRole,
}

#[derive(ValueEnum, Clone, Copy)]
pub enum PeerRole {
    /// Receives.
    Sink,
    /// Sends back what it receives.
    Echo,
}

/// Write the completions of a shell
#[derive(Args)]
#[command(after_long_help = concat!("Examples:\n",
    "  rsipc completions bash > ~/.local/share/bash-completion/completions/rsipc\n",
    "  rsipc completions zsh > \"${fpath[1]}/_rsipc\"\n  rsipc completions fish > ~/.config/fish/completions/rsipc.fish"))]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// Write the manual pages, one a command, into a directory
#[derive(Args)]
#[command(after_long_help = "Example:\n  rsipc man /usr/local/share/man/man1")]
pub struct ManArgs {
    /// Made if there is none
    #[arg(value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn bytes(text: &str) -> Result<u64, String> {
    let sizes = parse_size::Config::new().with_binary();
    sizes.parse_size(text).map_err(|error| format!("{error}: write a number of bytes such as 4096, 64K or 16M"))
}

fn octal(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8).map_err(|_| "not an octal number such as 660".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn what_can_be_typed_is_sound() {
        super::Cli::command().debug_assert();
    }
}
