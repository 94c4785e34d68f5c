//! Names and namespaces: races to create, what is refused when opening, modes, listing, permissions.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use rsipc::{Endpoint, Error, Kind, MAX_NAME, Mutex, Namespace, Queue, QueueOptions, Region, Semaphore};
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
fn open_all(test: &Namespace, name: &str) -> [Error; 4] {
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

/// A name that leads to something else than a file of ours: nothing is opened, made or written through it.
#[test]
fn names_that_somebody_made_something_else_of() {
    let test = Test::new("something else");
    let elsewhere = Test::new("elsewhere");
    Queue::create(elsewhere.name("q"), &small()).unwrap().send(b"theirs").unwrap();
    Region::create(elsewhere.name("r"), 10).unwrap();
    Mutex::create(elsewhere.name("m"), ()).unwrap();
    Semaphore::create(elsewhere.name("s"), 1).unwrap();
    Region::create(test.name("first"), 1).unwrap();
    let at = |name: &str| test.dir.join(name);
    for kind in ["q", "r", "m", "s"] {
        symlink(elsewhere.dir.join(kind), at(&format!("link-{kind}"))).unwrap();
    }
    symlink(elsewhere.dir.join("nothing"), at("dangling")).unwrap();
    symlink(at("loop"), at("loop")).unwrap();
    nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let board = Board::new(1);
    let reader = fork("one who waits for a writer", || {
        fs::File::open(at("pipe")).unwrap();
        board.set(0, 1);
    });
    fs::create_dir(at("directory")).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    for name in ["link-q", "link-r", "link-m", "link-s", "dangling", "loop", "pipe", "directory", "socket"] {
        let open_or_create = [
            Region::open_or_create(test.name(name), 10).err(),
            Mutex::open_or_create(test.name(name), ()).err(),
            Semaphore::open_or_create(test.name(name), 1).err(),
            Semaphore::open_or_create_permits(test.name(name), 1).err(),
            Queue::open_or_create(test.name(name), &small()).err(),
        ];
        for e in open_all(&test, name).into_iter().chain(open_or_create.into_iter().flatten()) {
            let is_clear = ["regular file", "symbolic link"].iter().any(|why| e.to_string().contains(why));
            assert!(matches!(e, Error::Corrupted(_)) && is_clear, "{name}: {e}");
        }
        let create = [
            Region::create(test.name(name), 10).err(),
            Mutex::create(test.name(name), ()).err(),
            Semaphore::create(test.name(name), 1).err(),
            Queue::create(test.name(name), &small()).err(),
            Endpoint::open_named(test.name(name), &small()).err(),
        ];
        for e in create {
            assert!(matches!(e, Some(Error::AlreadyExists { .. })), "{name}: {e:?}");
        }
        let endpoint = Endpoint::open(&test, &small()).unwrap();
        assert!(matches!(endpoint.find(name), Err(Error::Corrupted(_))), "{name}");
    }
    let devices = Namespace::at("/dev");
    for name in ["null", "zero"] {
        for e in open_all(&devices, name) {
            assert!(matches!(e, Error::Corrupted(_)) && e.to_string().contains("regular file"), "{name}: {e}");
        }
    }
    // Nobody came to the socket or to the pipe, and nothing was made or changed elsewhere.
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().err().unwrap().kind(), std::io::ErrorKind::WouldBlock);
    assert!(reader.is_alive() && board.get(0) == 0);
    assert_eq!(elsewhere.files(), ["m", "q", "r", "s"]);
    assert_eq!(Queue::open(elsewhere.name("q")).unwrap().try_recv(), Ok(b"theirs".to_vec()));
    let listed: Vec<String> = test.list().unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(listed, ["first"]);
    // The name is taken away, not what it leads to. What is no file at all is not removed in passing.
    test.unlink("link-q").unwrap();
    Queue::open(elsewhere.name("q")).unwrap();
    assert!(test.unlink("directory").is_err());
    assert!(at("directory").is_dir());
}

/// The names that rsipc uses itself, in the same way.
#[test]
fn hidden_names_that_somebody_made_something_else_of() {
    for kind in ["link", "pipe", "directory", "socket"] {
        let test = Test::new("hidden names");
        let elsewhere = Test::new("elsewhere");
        fs::create_dir(&test.dir).unwrap();
        fs::create_dir(&elsewhere.dir).unwrap();
        let namespace = fs::metadata("/proc/self/ns/pid").unwrap().ino() as u32;
        let lives = test.dir.join(format!(".lives-{namespace}"));
        // What the address's file is called, one sees elsewhere.
        let seen = Test::new("an address");
        let endpoint = Endpoint::open(&seen, &small()).unwrap();
        let address = test.dir.join(seen.files().into_iter().find(|name| name.starts_with('@') && name.ends_with(".0")).unwrap());
        drop(endpoint);
        for path in [&lives, &address] {
            match kind {
                "link" => symlink(elsewhere.dir.join("made"), path).unwrap(),
                "pipe" => nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
                "directory" => fs::create_dir(path).unwrap(),
                _ => drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
            }
        }
        // Without a table of lives there are no endpoints; an address that is taken is not used.
        assert!(matches!(Endpoint::open(&test, &small()), Err(Error::Corrupted(_))), "{kind}");
        assert!(fs::symlink_metadata(&lives).is_ok(), "{kind}");
        if kind == "directory" {
            fs::remove_dir(&lives).unwrap()
        } else {
            fs::remove_file(&lives).unwrap()
        }
        let (one, other) = (Endpoint::open(&test, &small()).unwrap(), Endpoint::open(&test, &small()).unwrap());
        assert!(one.address().serial() != 0 && other.address().serial() != 0, "{kind}");
        one.send(other.address(), b"hello").unwrap();
        assert_eq!(other.recv_timeout(LONG).unwrap().bytes(), b"hello");
        assert_eq!(elsewhere.files(), Vec::<String>::new(), "{kind}");
        assert!(fs::symlink_metadata(&address).is_ok(), "{kind}");
    }
}

/// Does something in a process of another user.
fn as_another(what: &str, work: &dyn Fn()) {
    fork(what, || {
        // SAFETY: no preconditions.
        assert_eq!(unsafe { libc::setresuid(65534, 65534, 65534) }, 0, "the tests run as root");
        work();
    })
    .join();
}

#[test]
fn objects_of_another_user() {
    let test = Test::new("another user");
    let open = test.space.clone().mode(0o666);
    Queue::create(test.name("own"), &small()).unwrap();
    Queue::create(open.name("shared"), &small()).unwrap();
    fs::set_permissions(&test.dir, fs::Permissions::from_mode(0o1777)).unwrap();
    let refused = |what: &str, e: Option<Error>| assert!(matches!(e, Some(Error::PermissionDenied(_))), "{what}: {e:?}");
    // Modes that let others do less than read and write: there is no half access.
    for mode in [0o600, 0o604, 0o602, 0o644, 0o622] {
        fs::set_permissions(test.dir.join("own"), fs::Permissions::from_mode(mode)).unwrap();
        as_another("one who opens", &|| {
            let what = format!("{mode:o}");
            refused(&what, Queue::open(test.name("own")).err());
            refused(&what, Queue::open_or_create(test.name("own"), &small()).err());
            refused(&what, Endpoint::open(&test, &small()).unwrap().find("own").err());
            // It is there, whether one may open it or not.
            assert!(matches!(Queue::create(test.name("own"), &small()), Err(Error::AlreadyExists { .. })), "{what}");
            assert!(test.list().unwrap().iter().all(|entry| entry.name != "own"), "{what}");
        });
    }
    as_another("one who is let in", &|| {
        Queue::open(test.name("shared")).unwrap().send(b"hello").unwrap();
        // What is in a directory of all belongs to who made it.
        refused("unlinking", test.unlink("shared").err());
        Queue::create(open.name("theirs"), &small()).unwrap().send(b"from another").unwrap();
        Queue::create(test.name("private"), &small()).unwrap();
    });
    assert_eq!(Queue::open(test.name("shared")).unwrap().try_recv(), Ok(b"hello".to_vec()));
    assert_eq!(Queue::open(test.name("theirs")).unwrap().try_recv(), Ok(b"from another".to_vec()));
    let third = fork("a third one", || {
        // SAFETY: no preconditions.
        assert_eq!(unsafe { libc::setresuid(65533, 65533, 65533) }, 0);
        refused("of another", Queue::open(test.name("private")).err());
        refused("unlinking", test.unlink("theirs").err());
        Queue::open(test.name("theirs")).unwrap();
    });
    third.join();
}

#[test]
fn a_directory_of_another_user() {
    let test = Test::new("a directory of another user");
    fs::create_dir(&test.dir).unwrap();
    std::os::unix::fs::chown(&test.dir, Some(65533), Some(65533)).unwrap();
    let refused = |what: &str, e: Option<Error>| assert!(matches!(e, Some(Error::PermissionDenied(_))), "{what}: {e:?}");
    for mode in [0o700, 0o755] {
        fs::set_permissions(&test.dir, fs::Permissions::from_mode(mode)).unwrap();
        as_another("one without access", &|| {
            refused("a queue", Queue::create(test.name("q"), &small()).err());
            refused("a queue", Queue::open_or_create(test.name("q"), &small()).err());
            refused("a region", Region::create(test.name("r"), 10).err());
            refused("an endpoint", Endpoint::open(&test, &small()).err());
            let below = Namespace::at(test.dir.join("below"));
            refused("a directory", Queue::create(below.name("q"), &small()).err());
        });
    }
    assert_eq!(test.files(), Vec::<String>::new());
    // Its owner lets others in.
    fs::set_permissions(&test.dir, fs::Permissions::from_mode(0o777)).unwrap();
    as_another("one who is let in", &|| Queue::create(test.name("q"), &small()).unwrap().send(b"x").unwrap());
    assert_eq!(Queue::open(test.name("q")).unwrap().try_recv(), Ok(b"x".to_vec()));
}

#[test]
fn the_users_own_directory_is_nobody_elses() {
    // In a mount namespace of its own, where nobody else uses /dev/shm.
    fork("one with a /dev/shm of its own", || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        let private = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
        nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let nothing = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("tmpfs"), "/dev/shm", Some("tmpfs"), nothing, Some("mode=1777")).unwrap();
        // SAFETY: this process has one thread.
        unsafe { std::env::remove_var(rsipc::DIR_VARIABLE) };
        let shm = std::path::Path::new("/dev/shm");
        let user = 65534;
        // Taken by others, in every way, before the user came.
        fs::create_dir(shm.join(format!("rsipc-{user}"))).unwrap();
        fs::create_dir(shm.join("open")).unwrap();
        fs::set_permissions(shm.join("open"), fs::Permissions::from_mode(0o777)).unwrap();
        std::os::unix::fs::chown(shm.join("open"), Some(user), Some(user)).unwrap();
        symlink(shm.join("open"), shm.join(format!("rsipc-{user}.1"))).unwrap();
        fs::write(shm.join(format!("rsipc-{user}.2")), b"").unwrap();
        nix::unistd::mkfifo(&shm.join(format!("rsipc-{user}.3")), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::rename(shm.join("open"), shm.join(format!("rsipc-{user}.4"))).unwrap();
        as_another("the user", &|| {
            Queue::create("q", &small()).unwrap().send(b"x").unwrap();
            assert_eq!(Namespace::default().dir().unwrap(), shm.join(format!("rsipc-{user}.5")));
            assert_eq!(Queue::open("q").unwrap().try_recv(), Ok(b"x".to_vec()));
        });
        // None of the others was used.
        for n in ["", ".4"] {
            assert_eq!(fs::read_dir(shm.join(format!("rsipc-{user}{n}"))).unwrap().count(), 0, "{n}");
        }
        // And when all are taken.
        for n in 5..8 {
            let _ = fs::remove_dir_all(shm.join(format!("rsipc-{user}.{n}")));
            fs::create_dir(shm.join(format!("rsipc-{user}.{n}"))).unwrap();
        }
        as_another("the user", &|| match Queue::create("q", &small()).err() {
            Some(Error::PermissionDenied(why)) => assert!(why.contains("another user's") && why.contains("RSIPC_DIR"), "{why}"),
            e => panic!("{e:?}"),
        });
    })
    .join();
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
