//! Files of any bytes, opened as every kind of object.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Mutex as Lock;

use rsipc::{Endpoint, Error, Mutex, Namespace, Queue, QueueOptions, Region, Semaphore};

use super::input::Input;
use super::{directory, kinds, timed};

/// The objects' files, and an endpoint to look for others with.
struct Objects {
    namespace: Namespace,
    files: Vec<(Vec<u8>, u64)>,
    path: PathBuf,
    endpoint: Endpoint,
}

static OBJECTS: Lock<Option<Objects>> = Lock::new(None);

/// So much of a file may differ from zero.
const HEAD: usize = 24 * 1024;

fn make() -> Objects {
    let namespace = directory("attach");
    let name = |name| namespace.name(name);
    Region::create(name("region"), 5000).unwrap();
    Mutex::create(name("mutex"), 7u64).unwrap();
    Semaphore::create(name("semaphore"), 1).unwrap();
    Semaphore::create_permits(name("permits"), 1).unwrap();
    for (i, options) in kinds().iter().enumerate() {
        let queue = Queue::create(namespace.name(&format!("queue{i}")), options).unwrap();
        let _ = queue.try_send(&vec![1; queue.max_message()]);
    }
    let mut files: Vec<(Vec<u8>, u64)> =
        namespace.list().unwrap().iter().map(|entry| contents(&namespace, &entry.name)).collect();
    let endpoint = Endpoint::open_named(namespace.name("endpoint"), &QueueOptions::new().max_message(20)).unwrap();
    files.push(contents(&namespace, "endpoint"));
    let path = namespace.dir().unwrap().join("x");
    Objects { namespace, files, path, endpoint }
}

/// How a file begins, and how long it is.
fn contents(namespace: &Namespace, name: &str) -> (Vec<u8>, u64) {
    let file = File::open(namespace.dir().unwrap().join(name)).unwrap();
    let mut head = vec![0; HEAD];
    let read = file.read_at(&mut head, 0).unwrap();
    head.truncate(read);
    (head, file.metadata().unwrap().len())
}

pub fn attach(data: &[u8]) {
    let mut guard = OBJECTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Objects { namespace, files, path, endpoint } = guard.get_or_insert_with(make);
    let mut input = Input::new(data);
    let which = usize::from(input.byte());
    let (mut bytes, mut len) = match files.get(which) {
        Some(file) => file.clone(),
        None => (Vec::new(), 0),
    };
    if bytes.is_empty() {
        len = input.number(4) << (input.byte() % 16);
        bytes.extend(input.rest().iter().take(HEAD));
    } else {
        while !input.is_over() {
            let at = match input.byte() {
                at @ 0..128 => u64::from(at),
                at => (u64::from(at & 127) << 8 | input.number(1)) << 2,
            } as usize;
            let value = match input.byte() {
                0 => 0,
                1 => u64::MAX,
                2 => 1 << (input.byte() % 64),
                3 => u64::MAX >> (input.byte() % 64),
                4 => len.wrapping_add(input.number(1)),
                5 => {
                    len = [input.number(2), input.number(4), len + input.number(2)][usize::from(input.byte() % 3)];
                    continue;
                }
                6 => input.number(8),
                n => u64::from(n),
            };
            let width = [1, 2, 4, 8][usize::from(input.byte() % 4)];
            bytes.iter_mut().skip(at).zip(&value.to_le_bytes()[..width]).for_each(|(to, from)| *to = *from);
        }
    }
    let _ = fs::remove_file(&path);
    let file = File::options().create_new(true).write(true).open(&path).unwrap();
    file.set_len(len).unwrap();
    bytes.truncate(usize::try_from(len).unwrap());
    file.write_all_at(&bytes, 0).unwrap();
    drop(file);
    open_all(namespace, endpoint, len);
}

fn open_all(namespace: &Namespace, endpoint: &Endpoint, len: u64) {
    let name = || namespace.name("x");
    let expected = |e: Error| {
        assert!(!matches!(e, Error::InvalidArgument(_) | Error::NotFound { .. } | Error::AlreadyExists { .. }), "{e}");
    };
    let _ = timed("opening a mutex", || Mutex::<u64>::open(name()).map(|mutex| mutex.is_inconsistent())).map_err(expected);
    let _ = timed("opening a semaphore", || Semaphore::open(name()).map(|semaphore| semaphore.kind())).map_err(expected);
    match timed("opening a region", || Region::open(name())) {
        Ok(region) => {
            assert!(region.len() as u64 <= len, "a region of {} bytes in a file of {len}", region.len());
            let view = region.view().unwrap();
            let mut byte = [0];
            // SAFETY: nobody else uses it.
            unsafe { view.read(view.len() - 1, &mut byte).unwrap() };
        }
        Err(e) => expected(e),
    }
    match timed("opening a queue", || Queue::open(name())) {
        Ok(queue) => {
            let longest = queue.max_message();
            let _ = timed("sending", || queue.try_send(&vec![1; longest.min(1 << 16)]));
            for _ in 0..2 {
                if let Ok(message) = timed("receiving", || queue.try_recv()) {
                    assert!(message.len() <= longest);
                }
            }
            if let Ok(lease) = timed("leasing", || queue.try_lease()) {
                assert!(lease.message().len() <= longest);
            }
            let _ = (timed("counting", || queue.len()), timed("listing", || queue.peers()));
        }
        Err(e) => expected(e),
    }
    // Whose it says that it is.
    if let Ok(address) = timed("finding", || endpoint.find("x")) {
        let _ = timed("sending to it", || endpoint.send_timeout(address, b"x", super::SHORT));
    }
    timed("listing", || namespace.list()).unwrap();
}
