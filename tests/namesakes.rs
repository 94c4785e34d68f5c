//! Thread ids that are given to another thread while a mutex still bears them.
//!
//! Each test makes a pid namespace of its own, where nobody else makes threads. The test's own process uses no objects: its children
//! do. Making pid namespaces takes root.

mod support;

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rsipc::{Error, Mutex};
use support::{Board, Child, LONG, Test, fork, wait_for};

/// Does this in a pid namespace.
fn where_ids_can_be_chosen(work: impl FnOnce()) {
    fork("around", || {
        unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS).expect("making a pid namespace takes root");
        fork("first of a namespace", || {
            let none: Option<&str> = None;
            mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none).unwrap();
            mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none).unwrap();
            work();
        })
        .join();
    })
    .join();
}

/// The next thread in this pid namespace gets the id.
fn choose_next_id(id: u64) {
    std::fs::write("/proc/sys/kernel/ns_last_pid", (id - 1).to_string()).unwrap();
}

/// A process whose second thread has locked the mutex, and has then called exec; what that thread's id was.
fn one_that_execs_from_its_second_thread(mutex: &Mutex, become_another: impl FnOnce(u64) + Send) -> (Child, u64) {
    let board = Board::new(1);
    let child = fork("execs from its second thread", || {
        let exec = || {
            std::mem::forget(mutex.lock().unwrap());
            let id = nix::unistd::gettid().as_raw() as u64;
            board.set(0, id);
            become_another(id);
        };
        std::thread::scope(|scope| drop(scope.spawn(exec).join()));
    });
    wait_for("its lock", || board.get(0) != 0);
    let id = board.get(0);
    let program = |process: &str| std::fs::read(format!("/proc/{process}/cmdline")).unwrap();
    // It has none for a moment, in the middle of the exec.
    wait_for("the exec", || ![Vec::new(), program("self")].contains(&program(&child.pid.to_string())));
    (child, id)
}

fn sleep_for_a_minute(_: u64) {
    let error = Command::new("/bin/sleep").arg("60").exec();
    panic!("{error}");
}

#[test]
fn an_owner_that_became_another_program_and_whose_id_is_another_threads() {
    let test = Test::new("namesake");
    where_ids_can_be_chosen(|| {
        for among in ["first threads", "other threads"] {
            let mutex = Mutex::create(test.name(among), ()).unwrap();
            let (_other_program, id) = one_that_execs_from_its_second_thread(&mutex, sleep_for_a_minute);
            let board = Board::new(1);
            let be = || {
                board.set(0, nix::unistd::gettid().as_raw() as u64);
                std::thread::sleep(LONG);
            };
            let namesake = if among == "first threads" {
                choose_next_id(id);
                fork("namesake", be)
            } else {
                fork("namesake's process", || {
                    choose_next_id(id);
                    std::thread::scope(|scope| scope.spawn(be).join().unwrap());
                })
            };
            wait_for("the namesake", || board.get(0) != 0);
            assert_eq!(board.get(0), id, "an id in use");
            // Several come at once, and each is told until one says that all is well.
            let others: Vec<Child> =
                (0..3).map(|_| fork("other", || assert!(mutex.lock_timeout(LONG / 4).unwrap().owner_died()))).collect();
            others.into_iter().for_each(Child::join);
            assert!(namesake.is_alive());
            namesake.kill();
        }
    });
}

#[test]
fn a_namesake_of_an_owner_that_became_another_program_gets_it() {
    let test = Test::new("namesake locks");
    where_ids_can_be_chosen(|| {
        for among in ["first threads", "other threads"] {
            let mutex = Mutex::create(test.name(among), ()).unwrap();
            let (_other_program, id) = one_that_execs_from_its_second_thread(&mutex, sleep_for_a_minute);
            let lock = || {
                assert_eq!(nix::unistd::gettid().as_raw() as u64, id, "an id in use");
                let mut guard = mutex.lock_timeout(LONG).unwrap();
                assert!(guard.owner_died());
                guard.mark_consistent();
                // Its own lock, however long others look.
                assert_eq!(mutex.try_lock().map(drop), Err(Error::Deadlock));
                let waiter = || assert_eq!(mutex.lock_timeout(Duration::from_millis(350)).map(drop), Err(Error::TimedOut));
                let waiters = [fork("waiter", waiter), fork("waiter", waiter)];
                waiters.into_iter().for_each(Child::join);
            };
            if among == "first threads" {
                choose_next_id(id);
                fork("namesake", lock).join();
            } else {
                fork("namesake's process", || {
                    choose_next_id(id);
                    std::thread::scope(|scope| scope.spawn(lock).join().unwrap());
                })
                .join();
            }
            assert!(!mutex.lock_timeout(LONG).unwrap().owner_died());
        }
    });
}

#[test]
fn an_owner_that_became_another_program_which_has_a_thread_of_its_id() {
    const IS_PROGRAM: &str = "RSIPC_TEST_IS_PROGRAM";
    if std::env::var_os(IS_PROGRAM).is_some() {
        std::thread::sleep(LONG);
        return;
    }
    let test = Test::new("namesake in the other program");
    where_ids_can_be_chosen(|| {
        let mutex = Mutex::create(test.name("m"), ()).unwrap();
        let become_another = |id| {
            choose_next_id(id);
            let name = "an_owner_that_became_another_program_which_has_a_thread_of_its_id";
            let error = Command::new("/proc/self/exe")
                .arg0("another program")
                .args(["--exact", name, "--test-threads=2"])
                .env(IS_PROGRAM, "1")
                .stdout(Stdio::null())
                .exec();
            panic!("{error}");
        };
        let (other_program, id) = one_that_execs_from_its_second_thread(&mutex, become_another);
        let threads = format!("/proc/{}/task", other_program.pid);
        wait_for("its thread", || std::fs::read_dir(&threads).unwrap().count() == 2);
        assert!(std::fs::exists(format!("{threads}/{id}")).unwrap(), "an id in use");
        assert!(mutex.lock_timeout(LONG / 4).unwrap().owner_died());
        assert!(other_program.is_alive());
    });
}
