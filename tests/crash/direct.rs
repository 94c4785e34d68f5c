//! Scenes with endpoints: whoever calls gets an answer or learns that there is none, and the dead leave nothing.

use std::path::PathBuf;
use std::time::Duration;

use rsipc::{Endpoint, Error, Namespace, Queue};

use crate::scenes::{fresh, options};
use crate::step::{Fault, HANG, Scene, Sleepers};
use crate::support::Test;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Opens an endpoint with a name.
    Open,
    /// Closes it, while a request is in its inbox.
    Close,
    /// Receives a request, and replies.
    Serve,
    /// The same, from a mailbox.
    ServeMailbox,
    /// Sends to one that is asleep.
    Send,
    /// Calls one that is asleep.
    Call,
}

struct DirectScene {
    dir: PathBuf,
    space: Namespace,
    act: Act,
}

/// What a sleeper's call gave.
const REPLY: u64 = 1;
const NO_REPLY: u64 = 2;
const GONE: u64 = 3;
const MESSAGE: u64 = 4;
const WRONG: u64 = 5;

pub fn direct(test: &Test, act: Act) -> Box<dyn Scene + '_> {
    std::fs::create_dir_all(&test.dir).unwrap();
    let dir = test.dir.join(fresh());
    let space = Namespace::at(&dir);
    drop(Queue::create(space.name("mailbox"), &options()).unwrap());
    Box::new(DirectScene { dir, space, act })
}

impl DirectScene {
    fn named(&self, name: &str) -> Endpoint {
        Endpoint::open_named(self.space.name(name), &options()).unwrap()
    }

    fn mailbox(&self) -> Queue {
        Queue::open(self.space.name("mailbox")).unwrap()
    }

    /// What is right for who sleeps.
    fn expected(&self) -> &[u64] {
        match self.act {
            Act::Open => &[],
            Act::Close => &[NO_REPLY, GONE],
            Act::Serve => &[REPLY, GONE],
            // Another one may serve it.
            Act::ServeMailbox => &[REPLY, GONE],
            Act::Send | Act::Call => &[MESSAGE],
        }
    }
}

impl Scene for DirectScene {
    fn victim(&self) -> Box<dyn FnOnce() + '_> {
        if self.act == Act::Open {
            return Box::new(|| std::mem::forget(self.named("victim")));
        }
        let (mine, mailbox) = (self.named("victim"), self.mailbox());
        match self.act {
            Act::Close => Box::new(|| drop(mine)),
            Act::Serve => Box::new(move || {
                mine.recv().unwrap().reply(b"reply").unwrap();
                std::mem::forget(mine);
            }),
            Act::ServeMailbox => Box::new(move || {
                mine.recv_mailbox(&mailbox).unwrap().reply(b"reply").unwrap();
                std::mem::forget((mine, mailbox));
            }),
            Act::Open | Act::Send => Box::new(move || {
                mine.send(mine.find("sleeper").unwrap(), b"message").unwrap();
                std::mem::forget(mine);
            }),
            Act::Call => Box::new(move || {
                assert_eq!(mine.call(mine.find("sleeper").unwrap(), b"message").unwrap(), b"reply");
                std::mem::forget(mine);
            }),
        }
    }

    fn command(&self) -> Option<String> {
        let act = match self.act {
            Act::Open => "open",
            Act::Close => "close",
            Act::Serve => "serve",
            Act::ServeMailbox => "serve_mailbox",
            Act::Send => "send",
            Act::Call => "call",
        };
        Some(format!("endpoint_{act} {} - -", self.dir.display()))
    }

    fn sleepers(&self) -> usize {
        usize::from(self.act != Act::Open)
    }

    fn sleep(&self, _index: usize) -> u64 {
        let mine = self.named("sleeper");
        let reply = match self.act {
            Act::Send | Act::Call => {
                let mut message = mine.recv().unwrap();
                if message.wants_reply() {
                    message.reply(b"reply").unwrap();
                }
                return if message.bytes() == b"message" { MESSAGE } else { WRONG };
            }
            Act::ServeMailbox => mine.call_mailbox(&self.mailbox(), b"request"),
            _ => mine.find("victim").and_then(|to| mine.call(to, b"request")),
        };
        match reply {
            Ok(reply) if reply == b"reply" => REPLY,
            Err(Error::NoReply) => NO_REPLY,
            Err(Error::PeerGone) => GONE,
            _ => WRONG,
        }
    }

    fn stuck(&self, sleepers: &Sleepers) -> bool {
        matches!(self.act, Act::Close | Act::Serve) && !sleepers.all_done()
    }

    fn finish(&self, sleepers: &Sleepers, completed: bool) -> Vec<Fault> {
        let mut faults = vec![];
        let (mine, mailbox) = (self.named("victim"), self.mailbox());
        // Another one does what the victim may have left.
        while self.act == Act::ServeMailbox
            && let Ok(mut request) = mine.recv_mailbox_timeout(&mailbox, Duration::from_millis(1))
        {
            request.reply(b"reply").unwrap();
        }
        if matches!(self.act, Act::Send | Act::Call) && !completed {
            // Nobody may be there any more, where the victim's message arrived.
            let _ = mine.find("sleeper").and_then(|to| mine.send_timeout(to, b"message", HANG));
        }
        faults.extend(sleepers.wait_done(self.sleepers()).err());
        if let Some(wrong) = sleepers.results().iter().find(|result| !self.expected().contains(result)) {
            faults.push(Fault::Lost(format!("a sleeper's result is {wrong}")));
        }
        if completed && self.act == Act::Serve && sleepers.results() != [REPLY] {
            faults.push(Fault::Lost("the reply".into()));
        }
        sleepers.end();
        drop((mine, mailbox));
        drop(self.named("sleeper"));
        let mut left: Vec<String> =
            std::fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.retain(|name| name != "mailbox" && !name.starts_with(".lives-"));
        if !left.is_empty() {
            faults.push(Fault::Leaked(format!("files {left:?}")));
        }
        std::fs::remove_dir_all(&self.dir).unwrap();
        faults
    }
}
