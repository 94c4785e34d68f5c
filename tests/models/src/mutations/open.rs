//! What is not noticed, and why.

use super::{Open, Place};

const fn place(file: &'static str, function: &'static str, piece: &'static str) -> Place {
    Place { file, function, piece }
}

pub const OPEN: &[Open] = &[
    Open {
        places: &[place("sync/lock.rs", "wake_one", "futex::wake(word, 1, Kind::Lock)")],
        what: "NoWake",
        why: "nothing is lost: nobody seems to be asleep then, so the word is made quiet, and all are woken; or it has another owner by then, who keeps WAITERS and does the same",
    },
    Open {
        places: &[place("sync/lock.rs", "release_and_wake", "futex::wake(word, 1, Kind::Change)")],
        what: "NoWake",
        why: "nothing is lost, but it comes later: who is woken for the lock takes it and releases it, and the last such release finds nobody who wants it, and wakes all",
    },
    Open {
        places: &[
            place("sync/lock.rs", "notify_slow", "futex::wake(event, count, Kind::Any)"),
            place(
                "sync/lock.rs",
                "notify_beside",
                "futex::wake(event, if is_watched(watched) { u32::MAX } else { 1 }, Kind::Any)",
            ),
        ],
        what: "NoWake",
        why: "nothing is lost: as in `wake_one`. (Where `notify_beside` wakes one instead of all, that is noticed)",
    },
    Open {
        places: &[place("sync/holder.rs", "note", "self.thread.store(thread.0, Release)")],
        what: "ToRelaxed",
        why: "deeper than is tried (330,000 executions of \"lock of an exec: two others come\"): as in `clear`, which comes right before it, where both are seen late",
    },
    Open {
        places: &[
            place("sync/holder.rs", "forget_namesake", "fence(Release)"),
            place("sync/holder.rs", "claim", "word.load(Acquire)"),
        ],
        what: "ToRelaxed",
        why: "the one keeps the record's change before the word's, the other the look at the word before the record's: what changes a record is a read-modify-write there, which the engine makes in the order of the source, and of the newest value",
    },
    Open {
        places: &[place("sync/source.rs", "pass_on", "lock::wake_all(source.event().1)")],
        what: "NoWake",
        why: "tried by hand, and no scene fails: who changes something for one that waits for several things wakes all already. It is for others who were not asleep yet, and sleep on what the word is once more",
    },
    Open {
        places: &[
            place("queue/handoff.rs", "until_taken", "lock::wake_all(&side.lock)"),
            place("queue/receiving.rs", "recv_whole", "lock::wake_all(&shared.recv.lock)"),
        ],
        what: "NoWake",
        why: "tried by hand, and no scene fails: a release follows, which wakes all where it wakes nobody else. Where it does, the last one does",
    },
    Open {
        places: &[
            place("sync/bias.rs", "announce", "word.fetch_or(WAITERS, Release)"),
            place("sync/bias.rs", "end_mine", "word.compare_exchange(seen, seen & !BIASED, Acquire, Relaxed)"),
        ],
        what: "ToRelaxed",
        why: "needed, and deeper than is tried (190,000 executions of \"biased lock: two others come\"): one announces itself, and stops before its barrier; the user ends the bias, releases the lock, takes it, and does not see `is_shared`, so that it begins anew; the barrier and the look at `busy`; the user enters; a third thread sets WAITERS; and the first one's exchange finds the word that it wants",
    },
    Open {
        places: &[place("queue/log.rs", "number_at", "number.load(Acquire)")],
        what: "ToRelaxed",
        why: "it keeps the look at the log's end behind it; the engine makes loads in the order of the source",
    },
    Open {
        places: &[
            place("queue/handoff.rs", "wake_sender", "fence_after_rmw()"),
            place("queue/handoff.rs", "wake_sender", "futex::wake(word, u32::MAX, Kind::One(index))"),
        ],
        what: "ToAcqRel, NoWake",
        why: "nothing is lost: `release_sender` wakes the same one where this has woken nobody, and its exchange reads the newest word. (What is stored after the fence comes after it for a death, too: a compiler's fence, which is not weakened.)",
    },
    Open {
        places: &[place("queue/handoff.rs", "release_sender", "futex::wake(&side.lock, u32::MAX, Kind::One(index))")],
        what: "NoWake",
        why: "deeper than is tried: a sender looks between the taking of the lock and that of its offer, and sleeps between the first wake and the release; then the release must wake another receiver, who takes an offer of one that sleeps, so that its release does not wake all, and receives no more",
    },
    Open {
        places: &[place("queue/handoff.rs", "until_taken", "futex::wake(&side.lock, u32::MAX, Kind::Any)")],
        what: "NoWake, WakeOne",
        why: "deeper than is tried: what `release_sender` is there for, and its author dies between the release and the wake. Others that want the lock are woken by `lock::wait` as well (\"rendezvous: a receiver dies with the lock that another wants\")",
    },
    Open {
        places: &[place("queue/receiving.rs", "wake_emptied", "futex::wake(&self.shared.recv.lock, u32::MAX, FOR_A_BLOCK)")],
        what: "WakeOne",
        why: "not tried: it takes two that wait for a block, for one message. (That one is woken is noticed)",
    },
];
