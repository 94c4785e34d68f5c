//! What the tests share: a directory of their own, and commands that are given a limited time.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use rsipc::Namespace;
use serde_json::Value;

/// Longer than any step takes on a busy machine: what lasts longer hangs.
pub const LONG: Duration = Duration::from_secs(60);

/// A directory of objects, removed at the end.
pub struct Place {
    pub dir: PathBuf,
    pub space: Namespace,
}

/// What a command wrote, and how it ended.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub out: Vec<u8>,
    pub err: String,
}

/// A command that runs, killed when this is dropped.
pub struct Running {
    child: Child,
    what: String,
}

impl Place {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let dir = PathBuf::from(format!("/dev/shm/rsipc-cli-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed)));
        Self { space: Namespace::at(&dir), dir }
    }

    /// `rsipc` with these arguments.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rsipc"));
        command.args(args).env("RSIPC_DIR", &self.dir).env_remove("RSIPC_OWNER_DIED");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let heed_interrupts = || {
            // What a shell starts in the background ignores SIGINT, and so would this.
            // SAFETY: a system call.
            unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
            Ok(())
        };
        // SAFETY: it makes a system call and nothing else.
        unsafe { command.pre_exec(heed_interrupts) };
        command
    }

    pub fn start(&self, args: &[&str]) -> Running {
        Running { child: self.command(args).spawn().unwrap(), what: args.join(" ") }
    }

    /// Runs it to its end, with this as its input.
    pub fn run_with(&self, args: &[&str], input: &[u8]) -> Output {
        let mut running = self.start(args);
        let mut stdin = running.child.stdin.take().unwrap();
        let input = input.to_vec();
        // It need not read it.
        let feed = thread::spawn(move || drop(stdin.write_all(&input)));
        let output = running.end();
        feed.join().unwrap();
        output
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, b"")
    }

    /// Runs it, which must give 0; gives what it wrote.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.code(), 0, "{args:?}: {output:?}");
        output.text()
    }

    /// Runs it, and reads the JSON that it wrote.
    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Output {
    /// The exit status, as a shell gives it.
    pub fn code(&self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.out.clone()).unwrap()
    }
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: it is our child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(self.child.id().cast_signed(), signal) }, 0);
    }

    /// Waits for its end.
    pub fn end(mut self) -> Output {
        let (mut out, mut err) = (self.child.stdout.take().unwrap(), self.child.stderr.take().unwrap());
        drop(self.child.stdin.take());
        let out = thread::spawn(move || {
            let mut bytes = Vec::new();
            out.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let err = thread::spawn(move || {
            let mut text = String::new();
            err.read_to_string(&mut text).unwrap();
            text
        });
        let what = self.what.clone();
        wait_for(&what, || self.child.try_wait().unwrap().is_some());
        let status = self.child.wait().unwrap();
        Output { status, out: out.join().unwrap(), err: err.join().unwrap() }
    }

    /// Kills it, and waits for its end.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has written a line.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        let out = self.child.stdout.as_mut().unwrap();
        let mut byte = [0];
        while out.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < end, "{what}: not done after {LONG:?}");
        thread::sleep(Duration::from_millis(5));
    }
}
