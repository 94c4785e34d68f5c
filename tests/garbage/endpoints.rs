//! Messages and calls between endpoints, while somebody writes over their inboxes and over the table of lives.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rsipc::{Call, Endpoint, Error, Message, Namespace, Queue, QueueOptions};

use super::input::Input;
use super::scribbler::{Memory, Write};
use super::{SHORT, directory, timed};

const MAX_MESSAGE: usize = 20;
const CALLS: usize = 30;

/// The directory, and how its table of lives was when it was new.
static PLACE: Mutex<Option<(Namespace, Vec<u8>)>> = Mutex::new(None);

fn make() -> (Namespace, Vec<u8>) {
    let namespace = directory("endpoints");
    drop(Endpoint::open(&namespace, &QueueOptions::new()).unwrap());
    let lives = fs::read(lives(&namespace)).unwrap();
    (namespace, lives[..4 * 4096].to_vec())
}

/// The table of lives stays, as long as the directory does.
fn lives(namespace: &Namespace) -> PathBuf {
    files(namespace).into_iter().find(|path| is_lives(path)).unwrap()
}

fn is_lives(path: &Path) -> bool {
    path.file_name().unwrap().to_str().unwrap().starts_with('.')
}

fn files(namespace: &Namespace) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(namespace.dir().unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

pub fn endpoints(data: &[u8]) {
    let mut guard = PLACE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (namespace, table) = guard.get_or_insert_with(make);
    File::options().write(true).open(lives(namespace)).unwrap().write_all_at(table, 0).unwrap();
    // A thread keeps its inbox for replies: each input has a thread of its own.
    let result = std::thread::scope(|scope| scope.spawn(|| run(namespace, &mut Input::new(data))).join());
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// The memory of all files in the directory.
fn memories(namespace: &Namespace) -> Vec<Memory> {
    files(namespace).iter().map(|path| Memory::open(path)).collect()
}

fn run(namespace: &Namespace, input: &mut Input) {
    let options = QueueOptions::new().capacity(2).max_message(MAX_MESSAGE).leases(2);
    let open = || Endpoint::open(namespace, &options).unwrap();
    let (server, client) = (open(), open());
    let mailbox = Queue::create(namespace.name("mailbox"), &options).unwrap();
    // From here on the thread has its inbox for replies.
    if input.byte() & 1 == 0 {
        let _ = client.call_timeout(server.address(), b"first", std::time::Duration::ZERO);
    }
    let memories = memories(namespace);
    let which = &memories[usize::from(input.byte()) % memories.len()];
    let meanwhile: Vec<Write> = (0..input.byte().saturating_sub(192) / 8).map(|_| which.write_of(input)).collect();
    which.writing(&meanwhile, || use_them(&server, &client, &mailbox, &memories, input));
    // Closing an endpoint waits for a second where somebody holds a lock.
    memories.iter().for_each(Memory::free_locks);
    timed("closing", || drop((server, client, mailbox)));
    // Also those that the dead left, or that were said to be others'.
    files(namespace).iter().filter(|path| !is_lives(path)).for_each(|path| drop(fs::remove_file(path)));
}

fn use_them(server: &Endpoint, client: &Endpoint, mailbox: &Queue, memories: &[Memory], input: &mut Input) {
    let legal = |what: &str, result: Result<usize, Error>| match result {
        Ok(len) => assert!(len <= MAX_MESSAGE, "{what}: a message of {len} bytes"),
        Err(e @ (Error::NoMemory(_) | Error::InvalidArgument(_))) => panic!("{what}: {e}"),
        Err(_) => {}
    };
    let len = |message: &Message| message.len();
    let mut calls: Vec<Call> = Vec::new();
    let mut messages: Vec<Message> = Vec::new();
    let keep = |what: &str, message: Result<Message, Error>, messages: &mut Vec<Message>| {
        legal(what, message.as_ref().map(len).map_err(Clone::clone));
        messages.extend(message);
    };
    for _ in 0..CALLS {
        if input.is_over() {
            break;
        }
        match input.byte() % 32 {
            0 => legal("try_send", timed("try_send", || client.try_send(server.address(), &[1; MAX_MESSAGE])).map(|()| 0)),
            1 => legal("send", timed("send", || server.send_timeout(client.address(), b"x", SHORT)).map(|()| 0)),
            2 => keep("try_recv", timed("try_recv", || server.try_recv()), &mut messages),
            3 => keep("recv", timed("recv", || client.recv_timeout(SHORT)), &mut messages),
            4 => {
                let result = timed("try_recv_into", || server.try_recv_into(&mut [0; MAX_MESSAGE]));
                legal("try_recv_into", result.map(|(len, _)| len));
            }
            5 | 6 => calls.extend(timed("begin_call", || client.begin_call(server.address(), b"request", SHORT))),
            7 => {
                if let Some(mut message) = messages.pop() {
                    let _ = timed("reply", || message.reply(&[1; MAX_MESSAGE]));
                }
            }
            8 => timed("drop of a message", || drop(messages.pop())),
            9 => {
                if let Some(mut call) = calls.pop() {
                    // A reply may be as long as a message of any queue.
                    let _ = timed("wait", || call.wait_timeout(SHORT));
                }
            }
            10 => drop(timed("call", || client.call_timeout(server.address(), b"call", SHORT))),
            11 => calls.extend(timed("begin_call_mailbox", || client.begin_call_mailbox(mailbox, b"request", SHORT))),
            12 => keep("recv_mailbox", timed("recv_mailbox", || server.try_recv_mailbox(mailbox)), &mut messages),
            13 => drop((timed("len", || server.len()), timed("find", || client.find("mailbox")))),
            14 => drop(timed("address_of", || client.address_of(std::process::id()))),
            15 => drop((timed("drop of calls", || calls.clear()), timed("drop of messages", || messages.clear()))),
            _ => {
                let memory = &memories[usize::from(input.byte()) % memories.len()];
                memory.write(memory.write_of(input));
            }
        }
    }
    // Some of these send.
    memories.iter().for_each(Memory::free_locks);
}
