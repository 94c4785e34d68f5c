//! Names and namespaces: races to create, what is refused when opening, modes, listing, permissions.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use rsipc::{Error, Kind, MAX_NAME, Mutex, Namespace, Queue, QueueOptions, Region, Semaphore};
use support::{Board, Child, LONG, Test, fork};

fn small() -> QueueOptions {
    QueueOptions::new().capacity(4).max_message(16)
}

#[test]
fn impossible_names_are_refused() {
    let test = Test::new("impossible names");
    let long = "x".repeat(MAX_NAME + 1);
    for name in ["", ".", "..", ".hidden", "a/b", "/a", "a\0b", "a\nb", &long] {
        assert!(matches!(Region::create(test.name(name), 10), Err(Error::InvalidArgument(_))), "{name:?}");
        assert!(matches!(Queue::open(test.name(name)), Err(Error::InvalidArgument(_))), "{name:?}");
        assert!(matches!(Semaphore::open(test.name(name)), Err(Error::InvalidArgument(_))), "{name:?}");
        assert!(matches!(test.unlink(name), Err(Error::InvalidArgument(_))), "{name:?}");
    }
    let longest = "ü".repeat(MAX_NAME / 2);
    for name in ["a", "with space", "ünicode", "a.b-c_d", longest.as_str()] {
        Region::create(test.name(name), 10).unwrap();
        Region::open(test.name(name)).unwrap();
    }
}

#[test]
fn names_are_taken_once_and_free_again_when_unlinked() {
    let test = Test::new("taken");
    assert!(matches!(Queue::open(test.name("q")), Err(Error::NotFound { .. })));
    assert!(matches!(test.unlink("q"), Err(Error::NotFound { .. })));
    let old = Queue::create(test.name("q"), &small()).unwrap();
    assert!(matches!(Queue::create(test.name("q"), &small()), Err(Error::AlreadyExists { .. })));
    assert!(matches!(Region::create(test.name("q"), 1), Err(Error::AlreadyExists { .. })));
    assert!(matches!(Mutex::create(test.name("q"), ()), Err(Error::AlreadyExists { .. })));
    assert!(matches!(Semaphore::create(test.name("q"), 0), Err(Error::AlreadyExists { .. })));
    test.unlink("q").unwrap();
    assert!(matches!(Queue::open(test.name("q")), Err(Error::NotFound { .. })));
    // Who has it open goes on using it; the name is another object's.
    let new = Queue::create(test.name("q"), &small()).unwrap();
    old.send(b"old").unwrap();
    new.send(b"new").unwrap();
    assert_eq!((old.recv().unwrap(), new.recv().unwrap()), (b"old".to_vec(), b"new".to_vec()));
    // Closing does not unlink.
    drop(old);
    drop(new);
    Queue::open(test.name("q")).unwrap();
}

#[test]
fn all_who_open_or_create_at_once_get_the_same() {
    const PROCESSES: u64 = 8;
    let test = Test::new("races");
    for round in 0..40 {
        let board = Board::new(2);
        let name = format!("r{round}");
        let children: Vec<Child> = (0..PROCESSES)
            .map(|_| {
                fork("one of many", || {
                    board.add(0, 1);
                    while board.get(0) < PROCESSES {
                        std::hint::spin_loop();
                    }
                    let mutex = Mutex::open_or_create(test.name(&format!("{name}m")), 0u64).unwrap();
                    *mutex.lock_timeout(LONG).unwrap() += 1;
                    let semaphore = Semaphore::open_or_create(test.name(&format!("{name}s")), 5).unwrap();
                    semaphore.release().unwrap();
                    Semaphore::open_or_create_permits(test.name(&format!("{name}p")), 2).unwrap();
                    let queue = Queue::open_or_create(test.name(&format!("{name}q")), &small().capacity(8)).unwrap();
                    queue.send_timeout(b"x", LONG).unwrap();
                    Region::open_or_create(test.name(&format!("{name}r")), 100).unwrap();
                    if Region::create(test.name(&format!("{name}c")), 100).is_ok() {
                        board.add(1, 1);
                    }
                })
            })
            .collect();
        children.into_iter().for_each(Child::join);
        assert_eq!(*Mutex::<u64>::open(test.name(&format!("{name}m"))).unwrap().lock().unwrap(), PROCESSES);
        assert_eq!(Semaphore::open(test.name(&format!("{name}s"))).unwrap().value(), Ok(5 + PROCESSES as u32));
        assert_eq!(Queue::open(test.name(&format!("{name}q"))).unwrap().len(), Ok(PROCESSES as usize));
        assert_eq!(board.get(1), 1, "one creates, the others are told");
        assert_eq!(test.files().len(), 6 * (round + 1));
    }
}

#[test]
fn opening_or_creating_beside_unlinking() {
    let test = Test::new("unlinking");
    let board = Board::new(1);
    let unlinker = fork("unlinker", || {
        while board.get(0) == 0 {
            let _ = test.unlink("q");
        }
    });
    for _ in 0..3000 {
        let queue = Queue::open_or_create(test.name("q"), &small()).unwrap();
        queue.try_send(b"x").unwrap();
        queue.try_recv().unwrap();
    }
    board.set(0, 1);
    unlinker.join();
}

#[test]
fn the_wrong_kind_says_what_is_there() {
    let test = Test::new("kinds");
    Region::create(test.name("r"), 4096).unwrap();
    Mutex::create(test.name("m"), ()).unwrap();
    Semaphore::create(test.name("s"), 0).unwrap();
    Semaphore::create_permits(test.name("p"), 1).unwrap();
    Queue::create(test.name("q"), &small()).unwrap();
    let wrong = |expected: &str, found: &str, e: Option<Error>| {
        let e = e.unwrap();
        assert!(matches!(&e, Error::WrongKind { .. }), "{e}");
        assert!(e.to_string().contains(expected) && e.to_string().contains(found), "{e}");
    };
    wrong("queue", "mutex", Queue::open(test.name("m")).err());
    wrong("queue", "region", Queue::open_or_create(test.name("r"), &small()).err());
    wrong("mutex", "queue", Mutex::<()>::open(test.name("q")).err());
    wrong("semaphore", "mutex", Semaphore::open(test.name("m")).err());
    wrong("region", "semaphore", Region::open(test.name("s")).err());
    wrong("signalling", "permits", Semaphore::open_or_create(test.name("p"), 0).err());
    wrong("permits", "signalling", Semaphore::open_or_create_permits(test.name("s"), 1).err());
}

/// Opens the file as whatever it may be, which must all be refused.
fn open_all(test: &Test, name: &str) -> [Error; 4] {
    [
        Region::open(test.name(name)).map(drop).expect_err("a region"),
        Mutex::<()>::open(test.name(name)).map(drop).expect_err("a mutex"),
        Semaphore::open(test.name(name)).map(drop).expect_err("a semaphore"),
        Queue::open(test.name(name)).map(drop).expect_err("a queue"),
    ]
}

#[test]
fn files_that_are_no_objects_are_refused() {
    let test = Test::new("garbage");
    Region::create(test.name("first"), 1).unwrap();
    for (name, bytes) in [("empty", vec![]), ("short", vec![1; 7]), ("zeros", vec![0; 10_000]), ("garbage", vec![0xa5; 10_000])] {
        fs::write(test.dir.join(name), bytes).unwrap();
        for e in open_all(&test, name) {
            assert!(matches!(e, Error::Corrupted(_)), "{name}: {e}");
        }
    }
    fs::create_dir(test.dir.join("directory")).unwrap();
    symlink("first", test.dir.join("link")).unwrap();
    nix::unistd::mkfifo(&test.dir.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for name in ["directory", "link", "pipe"] {
        for e in open_all(&test, name) {
            assert!(matches!(e, Error::Corrupted(_)), "{name}: {e}");
        }
    }
    let listed: Vec<String> = test.list().unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(listed, ["first"]);
}

#[test]
fn objects_that_were_cut_short_or_of_another_layout_are_refused() {
    let test = Test::new("cut short");
    Region::create(test.name("r"), 10_000).unwrap();
    Mutex::create(test.name("m"), ()).unwrap();
    Semaphore::create(test.name("s"), 0).unwrap();
    Semaphore::create_permits(test.name("p"), 1).unwrap();
    Queue::create(test.name("q"), &small()).unwrap();
    for name in ["r", "m", "s", "p", "q"] {
        let whole = fs::read(test.dir.join(name)).unwrap();
        for len in [8, 20, 63, whole.len() / 2, whole.len() - 1] {
            fs::write(test.dir.join("cut"), &whole[..len]).unwrap();
            for e in open_all(&test, "cut") {
                assert!(matches!(e, Error::Corrupted(_) | Error::WrongKind { .. }), "{name} cut to {len}: {e}");
            }
        }
        let mut other = whole.clone();
        other[6] += 1;
        fs::write(test.dir.join("other"), other).unwrap();
        let versions = open_all(&test, "other")
            .into_iter()
            .filter(|e| matches!(e, Error::WrongVersion { found, expected, .. } if *found == expected + 1));
        assert_eq!(versions.count(), 1, "{name}");
    }
    Mutex::create(test.name("data"), [1u64; 8]).unwrap();
    let whole = fs::read(test.dir.join("data")).unwrap();
    fs::write(test.dir.join("cut"), &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(Mutex::<[u64; 8]>::open(test.name("cut")), Err(Error::Corrupted(_))));
}

#[test]
fn lists_say_what_is_there() {
    let test = Test::new("lists");
    assert_eq!(test.list(), Ok(vec![]));
    let queue = Queue::create(test.name("b"), &small().capacity(1000).max_message(100_000)).unwrap();
    Region::create(test.name("a"), 100_000).unwrap();
    Mutex::create(test.name("d"), ()).unwrap();
    Semaphore::create_permits(test.name("c"), 1).unwrap().acquire().unwrap();
    let list = test.list().unwrap();
    let kinds: Vec<(&str, Kind)> = list.iter().map(|entry| (entry.name.as_str(), entry.kind)).collect();
    assert_eq!(kinds, [("a", Kind::Region), ("b", Kind::Queue), ("c", Kind::Semaphore), ("d", Kind::Mutex)]);
    assert!(list[0].memory >= 100_000 && list[0].size >= 100_000);
    assert!(list[1].size >= 100_000_000 && list[1].memory < 1_000_000, "no more memory than was needed so far");
    (0..10).for_each(|_| queue.send(&[1; 100_000]).unwrap());
    let memory = test.list().unwrap()[1].memory;
    assert!((1_000_000..3_000_000).contains(&memory), "{memory}");
}

#[test]
fn modes_are_what_was_asked_for() {
    let test = Test::new("modes");
    Region::create(test.name("own"), 1).unwrap();
    let dir = fs::metadata(&test.dir).unwrap();
    assert_eq!(dir.mode() & 0o777, 0o700);
    let group = test.space.clone().mode(0o660);
    let old = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    Region::create(group.name("group"), 1).unwrap();
    nix::sys::stat::umask(old);
    for (name, mode) in [("own", 0o600), ("group", 0o660)] {
        assert_eq!(fs::metadata(test.dir.join(name)).unwrap().mode() & 0o777, mode);
    }
    for mode in [0o400, 0o777, 0o4600, 0] {
        let space = test.space.clone().mode(mode);
        assert!(matches!(Region::create(space.name("x"), 1), Err(Error::InvalidArgument(_))), "{mode:o}");
    }
}

#[test]
fn other_users_are_kept_out_unless_let_in() {
    let test = Test::new("users");
    let open = test.space.clone().mode(0o666);
    Queue::create(test.name("own"), &small()).unwrap();
    let queue = Queue::create(open.name("shared"), &small()).unwrap();
    let refused = |e: Option<Error>| assert!(matches!(e, Some(Error::PermissionDenied(_))), "{e:?}");
    let as_another = |what: &str, work: &dyn Fn()| {
        fork(what, || {
            // SAFETY: no preconditions.
            assert_eq!(unsafe { libc::setresuid(65534, 65534, 65534) }, 0, "the tests run as root");
            work();
        })
        .join();
    };
    as_another("a private directory", &|| {
        refused(Queue::open(test.name("own")).err());
        refused(Queue::open(test.name("shared")).err());
        refused(Queue::create(test.name("new"), &small()).err());
        refused(Queue::open_or_create(test.name("new"), &small()).err());
        refused(test.list().err());
        refused(test.unlink("own").err());
    });
    fs::set_permissions(&test.dir, fs::Permissions::from_mode(0o755)).unwrap();
    as_another("an open directory", &|| {
        refused(Queue::open(test.name("own")).err());
        Queue::open(test.name("shared")).unwrap().send(b"hello").unwrap();
        refused(test.unlink("shared").err());
    });
    assert_eq!(queue.recv_timeout(LONG).unwrap(), b"hello");
}

#[test]
fn a_child_forked_into_another_pid_namespace_is_kept_out() {
    let test = Test::new("pid namespaces");
    Queue::create(test.name("q"), &small()).unwrap();
    Mutex::create(test.name("m"), ()).unwrap();
    Semaphore::create_permits(test.name("p"), 1).unwrap();
    Region::create(test.name("r"), 10).unwrap();
    fork("parent of another namespace", || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWPID).unwrap();
        fork("first of another namespace", || {
            let errors = [
                Queue::open(test.name("q")).err(),
                Mutex::<()>::open(test.name("m")).err(),
                Semaphore::open(test.name("p")).err(),
            ];
            for e in errors {
                assert!(matches!(e, Some(Error::Unsupported(_))), "{e:?}");
            }
            // It holds no thread ids.
            Region::open(test.name("r")).unwrap();
        })
        .join();
    })
    .join();
}

#[test]
fn a_directory_that_cannot_be() {
    let test = Test::new("directories");
    Region::create(test.name("file"), 1).unwrap();
    let below_a_file = Namespace::at(test.dir.join("file"));
    assert!(matches!(Region::create(below_a_file.name("x"), 1), Err(Error::InvalidArgument(_))));
    let nowhere = Namespace::at(test.dir.join("no/such"));
    assert!(Region::create(nowhere.name("x"), 1).is_err());
    assert!(matches!(Region::open(nowhere.name("x")), Err(Error::NotFound { .. })));
    assert_eq!(nowhere.list(), Ok(vec![]));
    let no_tmpfile = Namespace::at("/proc");
    assert!(Region::create(no_tmpfile.name("x"), 1).is_err());
}

#[test]
fn the_variable_names_the_default() {
    let test = Test::new("variable");
    fork("one with the variable", || {
        // SAFETY: this process has one thread.
        unsafe { std::env::set_var(rsipc::DIR_VARIABLE, &test.dir) };
        Queue::create("q", &small()).unwrap();
        assert_eq!(Namespace::default().dir().unwrap(), test.dir);
        Namespace::default().unlink("q").unwrap();
        Mutex::create(&"m".to_string(), ()).unwrap();
    })
    .join();
    assert_eq!(test.files(), ["m"]);
}
