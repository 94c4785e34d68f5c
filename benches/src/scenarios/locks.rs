//! Locks and semaphores.

use anyhow::Result;
use rsipc::Semaphore;

use crate::channel::alone;
use crate::harness::{Better, Scenario, Subject, Wanted};
use crate::peers::locks::{Death, Lock, Locked, PthreadMutex, RsipcMutex, sem_t, semaphore, semop_undo};
use crate::processes::{Cpus, Measured, Role, Turn, now, processes};
use crate::scenarios::Ground;

pub fn all(ground: &Ground) -> Vec<Scenario> {
    vec![
        mutex_pair(ground),
        contended(ground, Question::Handovers),
        contended(ground, Question::LongestWait),
        semaphore_pair(ground),
        permit_pair(ground),
    ]
}

const PAIR: &str = "ns per pair";

fn mutex_pair(ground: &Ground) -> Scenario {
    let against = "glibc, robust";
    let of_calls = ground.clone();
    Scenario {
        name: "mutex-pair",
        title: "lock and unlock a mutex that nobody else wants",
        unit: PAIR,
        better: Better::Lower,
        count: 500_000,
        whole: false,
        subjects: vec![
            Subject::new(against, against, |n| pairs(&PthreadMutex::new(Death::Robust)?, n)),
            Subject::new("rsipc", against, move |n| pairs(&RsipcMutex::new(of_calls.space()?)?, n)).wanted(Wanted::Ratio(0.7)),
            Subject::new("glibc, not robust", against, |n| pairs(&PthreadMutex::new(Death::Plain)?, n)),
            Subject::new("parking_lot, one process, not robust", against, |n| {
                alone(n, || {
                    let mutex = parking_lot::Mutex::new(0u64);
                    move || *std::hint::black_box(&mutex).lock() += 1
                })
            }),
        ],
    }
}

fn pairs(lock: &impl Lock, count: u64) -> Result<Measured> {
    alone(count, || {
        let mut lock = lock.open();
        move || lock.with(|data| data[0] += 1)
    })
}

/// What is asked of two processes that both want a mutex all the time.
#[derive(Clone, Copy, PartialEq)]
enum Question {
    /// How often it passes from one to the other.
    Handovers,
    /// How long the one waited that waited longest, which tells whether anybody starves.
    LongestWait,
}

fn contended(ground: &Ground, question: Question) -> Scenario {
    let against = "glibc, robust (sleeps)";
    let of_calls = ground.clone();
    let (name, title, unit, better) = match question {
        Question::Handovers => {
            ("mutex-contended", "two processes lock and unlock one mutex: handovers", "handovers per s", Better::Higher)
        }
        Question::LongestWait => (
            "mutex-longest-wait",
            "two processes lock and unlock one mutex: the longest wait",
            "ns per longest wait",
            Better::Lower,
        ),
    };
    Scenario {
        name,
        title,
        unit,
        better,
        // In microseconds.
        count: 200_000,
        whole: true,
        subjects: vec![
            Subject::new(against, against, move |n| contend(&PthreadMutex::new(Death::Robust)?, question, n)),
            Subject::new("rsipc (spins first)", against, move |n| contend(&RsipcMutex::new(of_calls.space()?)?, question, n))
                .wanted(Wanted::Ratio(1.0)),
            Subject::new("glibc, not robust (sleeps)", against, move |n| contend(&PthreadMutex::new(Death::Plain)?, question, n)),
        ],
    }
}

/// Two processes lock and unlock for so many microseconds. The data: who had the lock last, and how often that changed.
fn contend(lock: &impl Lock, question: Question, microseconds: u64) -> Result<Measured> {
    let role = |me: u64| {
        move |turn: &Turn| {
            let (mut lock, mut longest, mut handovers) = (lock.open(), 0, 0);
            turn.measure(|| {
                let mut last = now();
                let end = last + microseconds * 1000;
                while last < end {
                    lock.with(|data| {
                        data[1] += u64::from(data[0] != me);
                        data[0] = me;
                        handovers = data[1];
                    });
                    let this = now();
                    longest = longest.max(this - last);
                    last = this;
                }
                // The first one to leave knows of as many handovers as there were while both were there.
                if me == 1 { handovers } else { 0 }
            });
            if question == Question::LongestWait {
                turn.took(longest, u64::from(me == 1));
            }
        }
    };
    processes(Cpus::Any, &[Role::new("the one", role(1)), Role::new("the other", role(2))])
}

fn semaphore_pair(ground: &Ground) -> Scenario {
    let against = "sem_t, not robust";
    let of_calls = ground.clone();
    Scenario {
        name: "semaphore-pair",
        title: "take and give back a unit of a signalling semaphore",
        unit: PAIR,
        better: Better::Lower,
        count: 500_000,
        whole: false,
        subjects: vec![
            Subject::new(against, against, |n| alone(n, sem_t)),
            Subject::new("rsipc, signals", against, move |n| {
                let space = of_calls.space()?;
                Semaphore::create(space.name("signals"), 1)?;
                alone(n, || semaphore(Semaphore::open(space.name("signals")).expect("it was created")))
            })
            .wanted(Wanted::Ratio(1.0)),
        ],
    }
}

fn permit_pair(ground: &Ground) -> Scenario {
    let against = "System V with SEM_UNDO";
    let of_calls = ground.clone();
    Scenario {
        name: "permit-pair",
        title: "take and give back a permit, which comes back from the dead",
        unit: PAIR,
        better: Better::Lower,
        count: 100_000,
        whole: false,
        subjects: vec![
            Subject::new(against, against, |n| alone(n, semop_undo)),
            Subject::new("rsipc, permits", against, move |n| {
                let space = of_calls.space()?;
                Semaphore::create_permits(space.name("permits"), 1)?;
                alone(n, || semaphore(Semaphore::open(space.name("permits")).expect("it was created")))
            })
            .wanted(Wanted::Figure(30.0)),
            Subject::new("sem_t, not robust", against, |n| alone(n, sem_t)),
        ],
    }
}
