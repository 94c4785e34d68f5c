//! Looking at a running system, and looking after it: ls, stat, watch, doctor, lock, bench, completions, man.

mod support;

use std::fs;
use std::process::Command;

use rsipc::{Endpoint, Mutex, Queue, QueueOptions, Semaphore};
use serde_json::{Value, json};
use support::{Place, wait_for};

#[test]
fn stat_shows_who_uses_an_object_and_who_waits() {
    let place = Place::new();
    place.ok(&["create", "queue", "jobs", "--capacity", "5"]);
    place.ok(&["create", "semaphore", "slots", "--permits", "1"]);
    let receiver = place.start(&["recv", "jobs"]);
    let find = |seen: &Value| {
        let processes = seen["processes"].as_array().unwrap().clone();
        processes.into_iter().find(|process| process["pid"] == receiver.pid())
    };
    // Whether it waits is seen where processes may be looked into.
    wait_for("a receiver", || find(&place.json(&["stat", "--json", "jobs"])).is_some_and(|process| process["waiting"] != false));
    let seen = place.json(&["stat", "--json", "jobs"]);
    let process = find(&seen).unwrap();
    assert_eq!((&process["command"], &process["alive"], &process["receives"]), (&json!("rsipc"), &json!(true), &json!(true)));
    assert_eq!((&process["sends"], &process["holds"]), (&json!(false), &json!(0)));
    let counted = ["sent", "received", "bytes_sent", "bytes_received", "waits", "wakeups", "recoveries", "deaths"];
    let keys = ["name", "kind", "size", "memory", "problem", "capacity", "max_message", "waiting", "leased", "shut_down"];
    for key in keys.iter().chain(&counted) {
        assert!(seen.get(key).is_some(), "{key}: {seen}");
    }
    let text = place.ok(&["stat", "jobs"]);
    assert!(text.contains(&receiver.pid().to_string()) && text.contains("capacity     5\n"), "{text}");
    let list = place.ok(&["ls"]);
    assert!(list.contains(&format!("rsipc({})", receiver.pid())) && list.contains("0/5") && list.contains("1/1"), "{list}");
    // Nothing is in colour where nobody sees it.
    assert!(!list.contains('\x1b'));
    place.ok(&["send", "jobs", "x"]);
    assert_eq!(receiver.end().code(), 0);
    let seen = place.json(&["stat", "--json", "jobs"]);
    assert_eq!(["sent", "received", "bytes_sent", "bytes_received"].map(|key| seen[key].as_u64().unwrap()), [1, 1, 1, 1]);
    let text = place.ok(&["stat", "jobs"]);
    assert!(text.contains("ever sent    1 messages, 1 bytes\nreceived     1 messages, 1 bytes\n"), "{text}");
}

#[test]
fn what_is_counted_is_shown_of_all_that_somebody_waits_for() {
    let place = Place::new();
    place.ok(&["create", "queue", "jobs"]);
    Mutex::create(place.space.name("table"), 0u64).unwrap();
    place.ok(&["create", "region", "memory", "4096"]);
    let stat = |name| place.json(&["stat", "--json", name]);
    let receiver = place.start(&["recv", "jobs"]);
    wait_for("a receiver that sleeps", || stat("jobs")["waits"] == 1);
    place.ok(&["send", "jobs", "eleven byte"]);
    assert_eq!(receiver.end().code(), 0);
    assert_eq!((&stat("jobs")["bytes_received"], &stat("jobs")["deaths"]), (&json!(11), &json!(0)));
    let mut holder = place.start(&["lock", "table", "--", "sh", "-c", "echo locked; exec sleep 600"]);
    holder.line();
    holder.kill();
    assert_eq!(stat("table")["recoveries"], 0);
    place.ok(&["lock", "table", "--", "true"]);
    let seen = stat("table");
    assert_eq!((&seen["recoveries"], &seen["deaths"], seen.get("sent")), (&json!(1), &json!(1), None));
    let text = place.ok(&["stat", "table"]);
    assert!(text.contains("deaths       1 noticed, 1 recoveries\n"), "{text}");
    assert_eq!(stat("memory").get("waits"), None);
}

#[test]
fn what_is_no_object_is_told() {
    let place = Place::new();
    assert_eq!(place.json(&["ls", "--json"]), json!([]));
    place.ok(&["create", "queue", "whole"]);
    let mut bytes = fs::read(place.dir.join("whole")).unwrap();
    // Another version of its layout.
    bytes[6] ^= 0x40;
    fs::write(place.dir.join("other"), bytes).unwrap();
    let seen = place.json(&["stat", "--json", "other"]);
    assert!(seen["problem"].as_str().unwrap().contains("layout version"), "{seen}");
    let doctor = place.run(&["doctor", "--json"]);
    let report: Value = serde_json::from_str(&doctor.text()).unwrap();
    assert_eq!((doctor.code(), &report["healthy"]), (1, &json!(false)));
    place.ok(&["rm", "other"]);
}

#[test]
fn watch_counts_what_passes() {
    let place = Place::new();
    let queue = Queue::create(place.space.name("jobs"), &QueueOptions::new()).unwrap();
    let mut watch = place.start(&["watch", "--json", "-i", "0.05", "-c", "1000000", "jobs"]);
    let first: Value = serde_json::from_str(&watch.line()).unwrap();
    assert_eq!(first["objects"][0]["sent_per_second"], json!(null));
    for _ in 0..50 {
        queue.send(b"x").unwrap();
    }
    for _ in 0..20 {
        queue.recv().unwrap();
    }
    let rendezvous = Queue::create(place.space.name("meeting"), &QueueOptions::new().capacity(0)).unwrap();
    let mut sent = 0.0;
    wait_for("a rate", || {
        let look: Value = serde_json::from_str(&watch.line()).unwrap();
        let object = &look["objects"][0];
        sent += object["sent_per_second"].as_f64().unwrap();
        sent > 0.0 && object["waiting"] == 30 && object["received_per_second"].is_number() && look["time"].is_number()
    });
    watch.signal(libc::SIGINT);
    assert_eq!(watch.end().code(), 128 + libc::SIGINT);
    // A rendezvous has rates, too.
    let mut watch = place.start(&["watch", "--json", "-i", "0.05", "-c", "1000000", "meeting"]);
    watch.line();
    let receiver = place.start(&["recv", "meeting"]);
    rendezvous.send(b"x").unwrap();
    assert_eq!(receiver.end().code(), 0);
    wait_for("a rate", || {
        let look: Value = serde_json::from_str(&watch.line()).unwrap();
        let object = &look["objects"][0];
        ["sent_per_second", "bytes_received_per_second"].iter().all(|key| object[key].as_f64().unwrap() > 0.0)
    });
    watch.signal(libc::SIGINT);
    watch.end();
    let text = place.ok(&["watch", "-i", "0.01", "-c", "2"]);
    assert!(text.matches("SENT/S").count() == 2 && text.contains("30/64") && !text.contains('\x1b'), "{text}");
    assert_eq!(place.run(&["watch", "-i", "0", "-c", "1"]).code(), 2);
    assert_eq!(place.run(&["watch", "-c", "1", "missing"]).code(), 4);
}

/// On a terminal it leaves the other screen when it is told to end.
#[test]
fn watch_leaves_the_terminal_as_it_was() {
    let place = Place::new();
    place.ok(&["create", "queue", "jobs"]);
    let typescript = place.dir.join(".typescript");
    let command = format!("exec {} watch -i 0.02", env!("CARGO_BIN_EXE_rsipc"));
    let mut child = pty::start(&command, &place.dir, &typescript);
    let written = || fs::read_to_string(&typescript).unwrap_or_default();
    wait_for("a screen", || written().contains("jobs"));
    child.interrupt();
    child.end();
    let written = written();
    assert!(written.contains("\x1b[?1049h") && written.contains("\x1b[?25l"), "{written:?}");
    let (_, left) = written.rsplit_once("\x1b[?25h").unwrap();
    assert_eq!(left, "\x1b[?1049l");
}

#[test]
fn lock_does_as_flock_does() {
    let place = Place::new();
    let code = |args: &[&str]| place.run(args).code();
    assert_eq!(code(&["lock", "m", "--", "sh", "-c", "exit 7"]), 7);
    assert_eq!(code(&["lock", "m", "--", "sh", "-c", "kill -9 $$"]), 137);
    assert_eq!(code(&["lock", "m", "--", "/nonexistent"]), 127);
    let mut holder = place.start(&["lock", "m", "--", "sh", "-c", "echo $$; exec sleep 600"]);
    let command = holder.line();
    assert_eq!(code(&["lock", "-n", "m", "--", "true"]), 1);
    assert_eq!(code(&["lock", "-w", "0.01", "-E", "9", "m", "--", "true"]), 9);
    let seen = place.json(&["stat", "--json", "m"]);
    assert_eq!((&seen["held"], &seen["holder"]), (&json!(true), &json!(holder.pid())));
    // A holder that is killed takes its command with it, and the next one is told, until one has done its work.
    let waiting = place.start(&["lock", "m", "--", "sh", "-c", "echo \"died $RSIPC_OWNER_DIED\"; exit 1"]);
    holder.kill();
    let output = waiting.end();
    assert_eq!((output.code(), output.text().as_str()), (1, "died 1\n"));
    assert!(output.err.contains("owner died"), "{output:?}");
    let stat = format!("/proc/{command}/stat");
    wait_for("the command's end", || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ")));
    assert_eq!(place.json(&["stat", "--json", "m"])["owner_died"], true);
    assert_eq!(place.ok(&["lock", "m", "--", "sh", "-c", "echo \"died $RSIPC_OWNER_DIED\""]), "died 1\n");
    assert_eq!(place.ok(&["lock", "m", "--", "sh", "-c", "echo \"died $RSIPC_OWNER_DIED\""]), "died \n");
    // SIGTERM is the command's affair, and the lock is kept until it has ended.
    let mut holder =
        place.start(&["lock", "m", "--", "sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"]);
    holder.line();
    holder.signal(libc::SIGTERM);
    assert_eq!(holder.end().code(), 5);
    assert_eq!(code(&["lock", "-n", "m", "--", "true"]), 0);
}

#[test]
fn doctor_finds_what_the_dead_left_and_takes_it_back() {
    let place = Place::new();
    place.ok(&["create", "queue", "jobs"]);
    place.ok(&["create", "semaphore", "slots", "--permits", "2"]);
    place.ok(&["create", "mutex", "m"]);
    place.ok(&["send", "jobs", "a job"]);
    // A process that holds something of everything, and is killed.
    // SAFETY: the child makes calls of rsipc only, and is killed.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let queue = Queue::open(place.space.name("jobs")).unwrap();
        let lease = queue.lease().unwrap();
        let slots = Semaphore::open(place.space.name("slots")).unwrap();
        slots.acquire().unwrap();
        let mutex = Mutex::<()>::open(place.space.name("m")).unwrap();
        let guard = mutex.lock().unwrap();
        let endpoint = Endpoint::open_named(place.space.name("server"), &QueueOptions::new()).unwrap();
        loop {
            std::thread::sleep(std::time::Duration::from_secs(600));
            let _ = (&lease, &guard, &endpoint);
        }
    }
    wait_for("an endpoint", || place.run(&["stat", "server"]).code() == 0);
    // SAFETY: it is our child, which is waited for only now.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
    let list = place.ok(&["ls"]);
    assert!(list.contains(&format!("dead process {child} holds 1")) && list.contains("an owner died"), "{list}");
    // What it says of the machine is the machine's affair.
    let doctor = |args: &[&str]| -> Vec<Value> {
        let report: Value = serde_json::from_str(&place.run(args).text()).unwrap();
        report["checks"].as_array().unwrap().iter().filter(|check| check["check"] == "dead").cloned().collect()
    };
    let found = doctor(&["doctor", "--json"]);
    assert!(found.len() == 5 && found.iter().all(|check| check["level"] == "note" && check["advice"].is_string()), "{found:?}");
    let fixed = doctor(&["doctor", "--fix", "--json"]);
    // The mutex is left to who knows what it guards.
    assert_eq!(fixed.iter().filter(|check| check["fixed"] == true).count(), 4, "{fixed:?}");
    assert_eq!(doctor(&["doctor", "--json"]).len(), 1);
    assert_eq!(place.json(&["stat", "--json", "slots"])["value"], 2);
    assert_eq!(place.run(&["stat", "server"]).code(), 4);
    assert_eq!(place.ok(&["recv", "-n", "jobs"]), "a job\n");
    place.ok(&["lock", "m", "--", "true"]);
    assert_eq!(doctor(&["doctor", "--json"]).len(), 0);
}

#[test]
fn doctor_sees_limits_and_mounts() {
    let place = Place::new();
    let with = |limit: &str| {
        let rsipc = env!("CARGO_BIN_EXE_rsipc");
        let script = format!("ulimit {limit}; exec {rsipc} doctor --json");
        let output = std::process::Command::new("sh").args(["-c", &script]).env("RSIPC_DIR", &place.dir).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let problems: Vec<String> = (report["checks"].as_array().unwrap().iter())
            .filter(|check| check["level"] == "problem")
            .map(|check| check["check"].as_str().unwrap().to_owned())
            .collect();
        (output.status.code().unwrap(), problems)
    };
    for (limit, problem) in [("-n 64", "open files"), ("-f 100000", "file size")] {
        let (code, problems) = with(limit);
        assert!(code == 1 && problems.iter().any(|found| found == problem), "{limit}: {problems:?}");
    }
    let text = place.run(&["doctor"]);
    assert!(text.text().contains("/proc") && text.text().contains("tmpfs"), "{text:?}");
    assert_eq!(place.run(&["--dir", "/proc", "doctor"]).code(), 1);
}

#[test]
fn bench_measures_and_leaves_nothing() {
    let place = Place::new();
    let bench = place.start(&["bench", "--json", "-s", "0.02"]);
    let pid = bench.pid();
    let output = bench.end();
    assert_eq!(output.code(), 0, "{output:?}");
    let report: Value = serde_json::from_str(&output.text()).unwrap();
    let results = report["results"].as_array().unwrap();
    assert_eq!(results.len(), 5);
    for result in results {
        assert!(result["messages"].as_u64().unwrap() > 0 && result["per_second"].as_f64().unwrap() > 0.0, "{result}");
        assert_eq!(result["median_ns"].is_number(), result["what"] == "round trip");
    }
    assert!(!fs::exists(format!("/dev/shm/rsipc-bench-{pid}")).unwrap());
    assert!(place.ok(&["bench", "-s", "0.01"]).contains("not pinned"));
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    let place = Place::new();
    let commands =
        ["ls", "stat", "watch", "create", "send", "recv", "shutdown", "call", "serve", "lock", "rm", "doctor", "bench"];
    let scripts = ["bash", "zsh", "fish"].map(|shell| place.ok(&["completions", shell]));
    let man = place.dir.join("man1");
    place.ok(&["man", man.to_str().unwrap()]);
    let overview = fs::read_to_string(man.join("rsipc.1")).unwrap();
    let help = place.ok(&["--help"]);
    for command in commands {
        assert!(scripts.iter().all(|script| script.contains(command)), "{command}");
        assert!(overview.contains(&format!("rsipc\\-{command}")) && help.contains(command), "{command}");
        let page = fs::read_to_string(man.join(format!("rsipc-{command}.1"))).unwrap();
        assert!(page.contains("rsipc"), "{command}");
        let help = place.ok(&[command, "--help"]);
        assert!(command == "create" || help.contains("\nExample"), "{help}");
        assert!(page.contains("\n.SH EXAMPLES\n") == help.contains("\nExample"), "{page}");
        assert!(!page.contains("EXTRA"), "{page}");
    }
    assert!(help.contains("Exit status") && overview.contains("\n.SH \"EXIT STATUS\"\n"), "{overview}");
    assert!(!fs::exists(man.join("rsipc-bench-peer.1")).unwrap());
}

#[test]
fn names_are_completed() {
    let place = Place::new();
    for name in ["jobs", "two words", "$(exit)"] {
        place.ok(&["create", "queue", name]);
    }
    assert_eq!(place.ok(&["ls", "--names"]), "$(exit)\njobs\ntwo words\n");
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.ok(&["completions", shell]).contains("ls --names"), "{shell}");
    }
    // What bash does when the key is pressed behind these words.
    let completed = |words: &[&str]| {
        let mut bash = Command::new("bash");
        bash.args([
            "-c",
            r#"rsipc=$0; source <("$rsipc" completions bash); COMP_WORDS=("$rsipc" "$@"); COMP_CWORD=$#
            _rsipc_or_names "$rsipc" "${@: -1}"; printf '%s\n' "${COMPREPLY[@]}""#,
        ]);
        let output = bash.arg(env!("CARGO_BIN_EXE_rsipc")).args(words).env("RSIPC_DIR", &place.dir).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(completed(&["recv", "j"]), ["jobs"]);
    assert_eq!(completed(&["rm", "jobs", ""]), [r"\$\(exit\)", "jobs", r"two\ words"]);
    assert_eq!(completed(&["recv", "--js"]), ["--json"]);
    assert_eq!(completed(&["stat", "none"]), [""]);
}

/// A terminal of its own for a command (`openpty(3)`).
mod pty {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::unix::process::CommandExt;
    use std::path::Path;
    use std::process::{Child, Command};
    use std::thread::JoinHandle;

    pub struct Terminal {
        child: Child,
        keyboard: File,
        reader: Option<JoinHandle<()>>,
    }

    /// Runs a command on it; what it writes goes to a file.
    pub fn start(command: &str, dir: &Path, into: &Path) -> Terminal {
        let pty = nix::pty::openpty(None, None).unwrap();
        let (master, slave) = (File::from(pty.master), File::from(pty.slave));
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).env("RSIPC_DIR", dir).env("TERM", "xterm");
        shell.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
        let own_session = || {
            // SAFETY: system calls only: a session of its own, whose terminal this is.
            let done = unsafe { libc::setsid() >= 0 && libc::ioctl(0, libc::TIOCSCTTY, 0) == 0 };
            if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        };
        // SAFETY: it makes system calls only.
        unsafe { shell.pre_exec(own_session) };
        let child = shell.spawn().unwrap();
        drop(shell);
        let (mut screen, mut file) = (master.try_clone().unwrap(), File::create(into).unwrap());
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // It fails when the command has closed it.
            while let Ok(len @ 1..) = screen.read(&mut bytes) {
                file.write_all(&bytes[..len]).unwrap();
            }
        });
        Terminal { child, keyboard: master, reader: Some(reader) }
    }

    impl Terminal {
        /// Types Ctrl-C.
        pub fn interrupt(&mut self) {
            self.keyboard.write_all(b"\x03").unwrap();
        }

        pub fn end(mut self) {
            super::wait_for("the command's end", || self.child.try_wait().unwrap().is_some());
            self.reader.take().unwrap().join().unwrap();
        }
    }

    impl Drop for Terminal {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
