//! Messages through the shell: create, send, recv, shutdown, call, serve, rm, and their exit statuses.

mod support;

use std::fs;
use std::os::unix::ffi::OsStrExt;

use rsipc::{Queue, QueueOptions};
use serde_json::json;
use support::{Place, wait_for};

#[test]
fn messages_come_as_they_were_sent() {
    let place = Place::new();
    place.ok(&["create", "queue", "jobs", "--capacity", "10"]);
    place.ok(&["send", "jobs", "one", "two words", ""]);
    assert_eq!(place.ok(&["recv", "jobs"]), "one\n");
    assert_eq!(place.ok(&["recv", "-c", "2", "jobs"]), "two words\n\n");
    // Lines, the last one without its end.
    assert_eq!(place.run_with(&["send", "jobs"], b"a\n\nb\r\nc").code(), 0);
    assert_eq!(place.ok(&["recv", "-c", "4", "jobs"]), "a\n\nb\r\nc\n");
    // Framed binary goes through as it is.
    let frames = b"\x03\0\0\0a\nb\0\0\0\0\x01\0\0\0\xff";
    assert_eq!(place.run_with(&["send", "--framed", "jobs"], frames).code(), 0);
    assert_eq!(place.run(&["recv", "--framed", "-c", "3", "jobs"]).out, frames);
    let cut = place.run_with(&["send", "--framed", "jobs"], b"\x09\0\0\0abc");
    assert_eq!((cut.code(), cut.err.contains("ends inside a message")), (7, true), "{cut:?}");
    // JSON, one line each.
    let frames = b"\x05\0\0\0t\xc3\xa9xt\x02\0\0\0\xff\0";
    assert_eq!(place.run_with(&["send", "--framed", "jobs"], frames).code(), 0);
    let output = place.run(&["recv", "--json", "-c", "2", "jobs"]);
    let lines: Vec<serde_json::Value> = output.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], json!({ "len": 5, "deliveries": 1, "text": "t\u{e9}xt", "hex": null }));
    assert_eq!(lines[1], json!({ "len": 2, "deliveries": 1, "text": null, "hex": "ff00" }));
}

#[test]
fn a_file_is_one_message_and_a_stream_is_many() {
    let place = Place::new();
    place.ok(&["create", "queue", "files", "--max-message", "1M"]);
    let bytes: Vec<u8> = (0..300_000u32).map(|n| (n * 7 % 251) as u8).collect();
    fs::write(place.dir.join(".file"), &bytes).unwrap();
    let path = place.dir.join(".file");
    place.ok(&["send", "files", "--file", path.to_str().unwrap()]);
    assert!(place.run(&["recv", "--raw", "files"]).out == bytes);
    place.ok(&["create", "queue", "stream", "--capacity", "4", "--max-message", "4K"]);
    let receiver = place.start(&["recv", "-f", "--raw", "stream"]);
    let receiver = std::thread::spawn(|| receiver.end());
    assert_eq!(place.run_with(&["send", "--raw", "stream"], &bytes).code(), 0);
    place.ok(&["shutdown", "stream"]);
    let received = receiver.join().unwrap();
    assert_eq!(received.code(), 0);
    assert!(received.out == bytes);
    let missing = place.run(&["send", "files", "--file", "/nowhere"]);
    assert_eq!((missing.code(), missing.err.contains("/nowhere")), (7, true));
}

#[test]
fn exit_statuses_say_what_scripts_ask_for() {
    let place = Place::new();
    let code = |args: &[&str]| place.run(args).code();
    assert_eq!(code(&["create", "queue", "q", "--capacity", "1"]), 0);
    assert_eq!(code(&["create", "queue", "q"]), 5);
    assert_eq!(code(&["create", "queue", "q", "--exist-ok"]), 0);
    assert_eq!(code(&["recv", "-n", "q"]), 1);
    assert_eq!(code(&["recv", "-w", "0.01", "q"]), 1);
    assert_eq!(code(&["recv", "-f", "-w", "0.01", "q"]), 1);
    assert_eq!(code(&["send", "q", "x"]), 0);
    assert_eq!(code(&["send", "-n", "q", "x"]), 1);
    assert_eq!(code(&["send", "-w", "0.01", "q", "x"]), 1);
    assert_eq!(code(&["send", "q", &"x".repeat(5000)]), 7);
    assert_eq!(code(&["shutdown", "q"]), 0);
    assert_eq!(code(&["send", "q", "x"]), 3);
    assert_eq!(code(&["recv", "-c", "2", "q"]), 3);
    assert_eq!(code(&["recv", "-f", "q"]), 0);
    assert_eq!(code(&["recv", "q"]), 3);
    assert_eq!(code(&["recv", "missing"]), 4);
    assert_eq!(code(&["call", "missing", "x"]), 4);
    assert_eq!(code(&["stat", "missing"]), 4);
    assert_eq!(code(&["rm", "missing"]), 4);
    assert_eq!(code(&["rm", "-f", "missing", "q"]), 0);
    assert_eq!(code(&["stat", "q"]), 4);
    for wrong in [
        &["create", "queue", "a/b"][..],
        &["create", "queue", "q", "--max-message", "much"],
        &["create", "region", "r", "0"],
        &["create", "mutex", "m", "--mode", "777"],
        &["recv", "-w", "-1", "q"],
        &["recv", "--raw", "--json", "q"],
        &["frobnicate"],
        &[],
    ] {
        assert_eq!(code(wrong), 2, "{wrong:?}");
    }
    // Names are text.
    let mut command = place.command(&["stat"]);
    let output = command.arg(std::ffi::OsStr::from_bytes(b"\xff\xfe")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("UTF-8"));
}

#[test]
fn what_is_created_is_what_was_asked_for() {
    let place = Place::new();
    place.ok(&["create", "queue", "a", "--capacity", "7", "--max-message", "64K", "--mode", "660"]);
    place.ok(&["create", "queue", "b", "--unbounded"]);
    place.ok(&["create", "queue", "c", "--limit", "1M", "--leases", "0"]);
    place.ok(&["create", "semaphore", "s", "--value", "3"]);
    place.ok(&["create", "semaphore", "p", "--permits", "2"]);
    place.ok(&["create", "region", "r", "64K"]);
    place.ok(&["create", "mutex", "m"]);
    let list = place.json(&["ls", "--json"]);
    let by_name = |name: &str| list.as_array().unwrap().iter().find(|object| object["name"] == name).unwrap().clone();
    assert_eq!((&by_name("a")["capacity"], &by_name("a")["max_message"]), (&json!(7), &json!(65536)));
    assert_eq!((&by_name("b")["capacity"], &by_name("c")["kind"]), (&json!(null), &json!("queue")));
    assert_eq!((&by_name("s")["counts"], &by_name("s")["value"]), (&json!("signals"), &json!(3)));
    assert_eq!((&by_name("p")["counts"], &by_name("p")["total"]), (&json!("permits"), &json!(2)));
    assert_eq!((&by_name("r")["len"], &by_name("m")["held"]), (&json!(65536), &json!(false)));
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata(place.dir.join("a")).unwrap().mode() & 0o777, 0o660);
    assert_eq!(fs::metadata(place.dir.join("b")).unwrap().mode() & 0o777, 0o600);
    // A queue without leases can be received from, too.
    place.ok(&["send", "c", "x"]);
    assert_eq!(place.ok(&["recv", "c"]), "x\n");
}

#[test]
fn a_killed_recv_loses_nothing() {
    let place = Place::new();
    place.ok(&["create", "queue", "jobs"]);
    let waiting = place.start(&["recv", "jobs"]);
    let attached = || place.json(&["stat", "--json", "jobs"])["processes"][0]["receives"] == true;
    wait_for("a receiver", attached);
    waiting.kill();
    place.ok(&["send", "jobs", "still there"]);
    assert_eq!(place.ok(&["recv", "jobs"]), "still there\n");
    // It is killed while nobody reads what it writes: the message comes again, and says so.
    let queue = Queue::create(place.space.name("large"), &QueueOptions::new().max_message(1 << 20)).unwrap();
    queue.send(&vec![b'x'; 1 << 20]).unwrap();
    let stuck = place.start(&["recv", "--raw", "large"]);
    wait_for("a message on lease", || place.json(&["stat", "--json", "large"])["leased"] == 1);
    stuck.kill();
    let again: serde_json::Value = serde_json::from_str(&place.ok(&["recv", "--json", "large"])).unwrap();
    assert_eq!((&again["len"], &again["deliveries"]), (&json!(1 << 20), &json!(2)));
}

#[test]
fn a_recv_whose_reader_is_gone_ends() {
    let place = Place::new();
    place.ok(&["create", "queue", "jobs"]);
    place.ok(&["send", "jobs", "first"]);
    let mut command = place.command(&["recv", "-f", "jobs"]);
    let mut child = command.spawn().unwrap();
    let mut first = [0; 6];
    use std::io::Read;
    use std::os::unix::process::ExitStatusExt;
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"first\n");
    wait_for("its end", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGPIPE));
}

#[test]
fn calls_are_served_by_endpoints_and_queues() {
    let place = Place::new();
    let server = place.start(&["serve", "upper", "--", "tr", "a-z", "A-Z"]);
    wait_for("an endpoint", || place.run(&["stat", "upper"]).code() == 0);
    // A reply is a line, whether it ends as one or not, or the bytes that it is.
    assert_eq!(place.ok(&["call", "upper", "hello"]), "HELLO\n");
    assert_eq!(place.run_with(&["call", "upper"], b"two\nlines\n").text(), "TWO\nLINES\n");
    assert_eq!(place.ok(&["call", "upper", ""]), "\n");
    assert_eq!(place.ok(&["call", "--raw", "upper", "hello"]), "HELLO");
    let large = vec![b'y'; 300_000];
    assert!(place.run_with(&["call", "--raw", "upper"], &large).out == vec![b'Y'; 300_000]);
    server.kill();
    assert_eq!(place.run(&["call", "upper", "hello"]).code(), 4);

    place.ok(&["create", "queue", "work"]);
    assert_eq!(place.run(&["call", "-w", "0.05", "work", "x"]).code(), 1);
    assert_eq!(place.ok(&["recv", "work"]), "x\n");
    let servers =
        ["1", "2"].map(|_| place.start(&["serve", "-c", "1", "work", "--", "sh", "-c", "cat; echo \" for $RSIPC_CALLER\""]));
    for text in ["one", "two"] {
        let reply = place.ok(&["call", "work", text]);
        assert!(reply.starts_with(&format!("{text} for ")), "{reply}");
    }
    for server in servers {
        assert_eq!(server.end().code(), 0);
    }
    // A command that fails, and one that does not read its input.
    let failing = place.start(&["serve", "-c", "1", "work", "--", "false"]);
    assert_eq!(place.run_with(&["call", "work"], &[b'x'; 4000]).code(), 6);
    let failing = failing.end();
    assert_eq!((failing.code(), failing.err.contains("no reply")), (0, true), "{failing:?}");
    // A server that is killed at work takes its command with it.
    let server = place.start(&[
        "serve",
        "work",
        "--",
        "sh",
        "-c",
        "echo $$ > $RSIPC_DIR/.pid.new; mv $RSIPC_DIR/.pid.new $RSIPC_DIR/.pid; sleep 600",
    ]);
    let caller = place.start(&["call", "work", "x"]);
    let pid = place.dir.join(".pid");
    wait_for("the command", || pid.exists());
    server.kill();
    assert_eq!(caller.end().code(), 6);
    let command = fs::read_to_string(pid).unwrap();
    let command = format!("/proc/{}/stat", command.trim());
    wait_for("its command's end", || {
        fs::read_to_string(&command).is_ok_and(|stat| stat.contains(") Z ")) || !fs::exists(&command).unwrap()
    });
    place.ok(&["shutdown", "work"]);
    assert_eq!(place.run(&["serve", "work", "--", "cat"]).code(), 0);
}
