//! Every call on queues of every kind, while somebody writes over them.

use std::fs;
use std::sync::Mutex;

use rsipc::{Error, Lease, Loan, MessageView, Queue, WaitSet};

use super::input::Input;
use super::scribbler::{Memory, Write};
use super::{SHORT, directory, kinds, timed};

/// A kind of queue: its name, how its file begins when it is new, and its memory.
struct Kind {
    head: Vec<u8>,
    memory: Memory,
    name: String,
}

struct Kinds {
    namespace: rsipc::Namespace,
    kinds: Vec<Kind>,
}

static KINDS: Mutex<Option<Kinds>> = Mutex::new(None);

fn make() -> Kinds {
    let namespace = directory("queues");
    let make = |(i, options): (usize, &rsipc::QueueOptions)| {
        let name = format!("q{i}");
        drop(Queue::create(namespace.name(&name), options).unwrap());
        let path = namespace.dir().unwrap().join(&name);
        let memory = Memory::open(&path);
        let mut head = fs::read(&path).unwrap();
        head.truncate(512);
        Kind { head, memory, name }
    };
    let kinds = kinds().iter().enumerate().map(make).collect();
    Kinds { namespace, kinds }
}

/// So many calls at most are made for one input.
const CALLS: usize = 40;

pub fn queues(data: &[u8]) {
    let mut guard = KINDS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Kinds { namespace, kinds } = guard.get_or_insert_with(make);
    let mut input = Input::new(data);
    let kind = &kinds[usize::from(input.byte()) % kinds.len()];
    let memory = &kind.memory;
    memory.restore(&kind.head);
    let queue = Queue::open(namespace.name(&kind.name)).unwrap();
    let meanwhile: Vec<Write> = (0..input.byte().saturating_sub(192) / 8).map(|_| memory.write_of(&mut input)).collect();
    memory.writing(&meanwhile, || use_it(&queue, memory, &mut input));
    memory.free_locks();
    if let Ok(again) = timed("open", || Queue::open(namespace.name(&kind.name))) {
        use_it(&again, memory, &mut Input::new(&[20, 1, 2, 3, 10]));
    }
}

/// Whatever came back is an error that says what it should, or of legal length.
fn legal(what: &str, queue: &Queue, result: Result<usize, Error>) {
    match result {
        Ok(len) => assert!(len <= queue.max_message(), "{what}: a message of {len} bytes"),
        Err(e @ (Error::NoMemory(_) | Error::InvalidArgument(_))) => panic!("{what}: {e}"),
        Err(_) => {}
    }
}

fn use_it(queue: &Queue, memory: &Memory, input: &mut Input) {
    let max = queue.max_message();
    let bytes = vec![7; max + 1];
    let mut leases: Vec<Lease<'_>> = Vec::new();
    let (mut loans, mut views): (Vec<Loan<'_>>, Vec<MessageView<'_>>) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; max];
    for _ in 0..CALLS {
        if input.is_over() {
            break;
        }
        match input.byte() % 32 {
            0 | 20 => {
                let len = input.one_of(&[max, 0, 1, max / 2, max + 1]);
                legal("try_send", queue, timed("try_send", || queue.try_send(&bytes[..len])).map(|()| 0));
            }
            1 => legal("try_recv", queue, timed("try_recv", || queue.try_recv()).map(|message| message.len())),
            2 => {
                let len = input.one_of(&[max, 0, max / 2]);
                let result = timed("try_recv_into", || queue.try_recv_into(&mut buffer[..len]));
                assert!(result.as_ref().is_ok_and(|&got| got <= len) || result.is_err());
                legal("try_recv_into", queue, result);
            }
            3 => match timed("try_lease", || queue.try_lease()) {
                Ok(lease) => {
                    legal("try_lease", queue, Ok(lease.message().len()));
                    leases.push(lease);
                }
                Err(e) => legal("try_lease", queue, Err(e)),
            },
            4 => drop(leases.pop().map(|lease| timed("finish", || lease.finish()))),
            5 => drop(leases.pop().map(|lease| timed("give back", || lease.give_back()))),
            6 => timed("drop of a lease", || drop(leases.pop())),
            7 => {
                let len = input.one_of(&[max, 1]).min(max);
                legal("send", queue, timed("send_timeout", || queue.send_timeout(&bytes[..len], SHORT)).map(|()| 0));
            }
            8 => legal("recv", queue, timed("recv_timeout", || queue.recv_timeout(SHORT)).map(|message| message.len())),
            9 => {
                let lease = timed("lease_timeout", || queue.lease_timeout(SHORT));
                legal("lease", queue, lease.as_ref().map(|lease| lease.message().len()).map_err(Clone::clone));
                leases.extend(lease);
            }
            10 => {
                let len = timed("len", || queue.len());
                if let (Ok(len), Some(capacity)) = (len, queue.capacity()) {
                    // And those that were given back.
                    assert!(len <= capacity + 300, "{len} messages");
                }
                let _ = (timed("peers", || queue.peers()), queue.is_shut_down());
            }
            11 => {
                // A lock that somebody holds for good makes this wait for good.
                memory.free_locks();
                let _ = timed("shutdown", || queue.shutdown());
            }
            12 => {
                let set = WaitSet::new().recv(queue).send(queue);
                let _ = (timed("try_wait", || set.try_wait()), timed("wait_timeout", || set.wait_timeout(SHORT)));
            }
            13 => queue.end_with_peers(input.byte() & 1 == 0),
            14 => std::thread::scope(|scope| {
                let partner = scope.spawn(|| timed("recv of a partner", || queue.recv_timeout(3 * SHORT)));
                let result = timed("send to a partner", || queue.send_timeout(&bytes[..max], 3 * SHORT));
                legal("send to a partner", queue, result.map(|()| 0));
                legal("recv of a partner", queue, partner.join().unwrap().map(|message| message.len()));
            }),
            15 => {
                let _ = (queue.will_send(), queue.will_recv());
            }
            21 => {
                let len = input.one_of(&[max, 0, 1, max / 2, max + 1]);
                let loan = timed("try_loan", || queue.try_loan(len));
                legal("try_loan", queue, loan.as_ref().map(Loan::len).map_err(Clone::clone));
                if let Ok(mut loan) = loan {
                    timed("write into a loan", || loan.write(0, &bytes[..len])).unwrap();
                    loans.push(loan);
                }
            }
            22 => {
                if let Some(loan) = loans.pop() {
                    let sent = timed("try_send of a loan", || loan.try_send());
                    legal("try_send of a loan", queue, sent.map(|()| 0).map_err(Error::from));
                }
            }
            23 => match timed("try_recv_view", || queue.try_recv_view()) {
                Ok(view) => {
                    legal("try_recv_view", queue, Ok(view.len()));
                    timed("read of a view", || view.read(0, &mut buffer[..view.len()])).unwrap();
                    views.push(view);
                }
                Err(e) => legal("try_recv_view", queue, Err(e)),
            },
            24 => timed("drop of a view or a loan", || drop((views.pop(), loans.pop()))),
            _ => memory.write(memory.write_of(input)),
        }
    }
}
