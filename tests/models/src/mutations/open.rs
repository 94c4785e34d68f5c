//! What is not noticed. "It is thought" is no proof, and "unknown" is what it says.

use super::{Open, Place};

const fn place(file: &'static str, function: &'static str, piece: &'static str) -> Place {
    Place { file, function, piece }
}

pub const OPEN: &[Open] = &[
    Open {
        places: &[place("sync/lock.rs", "wake_one", "futex::wake(word, 1, Kind::Lock)")],
        what: "NoWake",
        why: "then nobody seems to be asleep, the word is made quiet, and all are woken: only more is done than is needed",
    },
    Open {
        places: &[place("sync/lock.rs", "release_and_wake", "futex::wake(word, 1, Kind::Change)")],
        what: "NoWake",
        why: "unknown: where nobody else was woken all are, which hides it; a scene is missing in which one that wants the lock sleeps, too",
    },
    Open {
        places: &[place("sync/lock.rs", "notify_slow", "futex::wake(event, count, Kind::Any)")],
        what: "NoWake",
        why: "as in `release_slow`",
    },
    Open {
        places: &[place(
            "sync/lock.rs",
            "notify_beside",
            "futex::wake(event, if is_watched(watched) { u32::MAX } else { 1 }, Kind::Any)",
        )],
        what: "NoWake, WakeOne",
        why: "without the wake: as in `release_slow`. With one woken: unknown",
    },
    Open {
        places: &[place("sync/lock.rs", "wake_all", "futex::wake(word, u32::MAX, Kind::Any)")],
        what: "WakeOne",
        why: "unknown: who is woken and sees WAITERS gone wakes all, which may make it the same. Its callers are not tried one by one",
    },
    Open {
        places: &[place("sync/lock.rs", "set_waiters", "word.load(Acquire)")],
        what: "ToRelaxed",
        why: "unknown: it needs two releases and two sleepers, deeper than was tried. The fence that follows orders the look that follows it; what is left is the generation, read between the two",
    },
    Open {
        places: &[place("sync/source.rs", "pass_on", "lock::wake_all(source.event().1)")],
        what: "NoWake",
        why: "not tried: `wake_all` is weakened for all its callers at once",
    },
    Open {
        places: &[
            place("queue/handoff.rs", "until_taken", "lock::wake_all(&side.lock)"),
            place("queue/receiving.rs", "recv_whole", "lock::wake_all(&shared.recv.lock)"),
        ],
        what: "NoWake",
        why: "not tried: as above",
    },
    Open {
        places: &[
            place("sync/permits.rs", "give", "holder.value.store(rest, Release)"),
            place("sync/permits.rs", "watch_lives", "peer.value.load(Acquire)"),
        ],
        what: "ToRelaxed",
        why: "unknown: who watches too many lives, or one too few, may only be late; what is free is counted under the lock",
    },
    Open {
        places: &[
            place("sync/peers.rs", "identity", "self.identity.load(Acquire)"),
            place("sync/peers.rs", "join", "peer.identity.store(me.0, Release)"),
        ],
        what: "ToRelaxed",
        why: "hardly modelled: identities are set before the threads begin, but for those of holders of permits",
    },
    Open {
        places: &[place("queue/watch.rs", "watch_lessees", "peer.value.load(Acquire)")],
        what: "ToRelaxed",
        why: "not modelled: lives are shown before the threads begin",
    },
    Open {
        places: &[
            place("sync/bias.rs", "announce", "word.fetch_or(WAITERS, Release)"),
            place("sync/bias.rs", "end_mine", "word.compare_exchange(seen, seen & !BIASED, Acquire, Relaxed)"),
        ],
        what: "ToRelaxed",
        why: "it is thought needed: else a lock might be biased anew between the beginning of `take` and its barrier, and a third thread set WAITERS after that. Not met in 190,000 executions of \"biased lock: two others come\"",
    },
    Open {
        places: &[place(
            "queue/ring.rs",
            "look",
            "Ok(Look { slot, position: side.position.load(Acquire), ready: true, behind: false })",
        )],
        what: "ToRelaxed",
        why: "unknown: no scene comes there",
    },
    Open {
        places: &[
            place("queue/ring.rs", "commit_filled", "self.shared.send.position.store(position, Release)"),
            place("queue/ring.rs", "commit_emptied", "self.shared.recv.position.store(position, Release)"),
            place("queue/ring.rs", "commit_emptied_at_hint", "side.position.store(self.next(position), Release)"),
            place("queue/ring.rs", "put_many", "side.position.store(position, Release)"),
            place("queue/ring.rs", "take_many", "side.position.store(position, Release)"),
        ],
        what: "ToRelaxed",
        why: "unknown: a hint, which `look` corrects by the slots",
    },
    Open {
        places: &[place("queue/ring.rs", "history", "slot.head().sequence.load(Acquire)")],
        what: "ToRelaxed",
        why: "unknown: the scenes have such deaths, and none fails. The kernel's own change of the dead owner's word may order it; the models have that as Acquire and Release",
    },
    Open {
        places: &[
            place("queue/log.rs", "is_empty", "self.shared.recv.log.load(Acquire)"),
            place("queue/log.rs", "is_empty", "self.shared.send.log.load(Acquire)"),
        ],
        what: "ToRelaxed",
        why: "unknown: how far receivers are matters where the log's bytes are used again, which takes more messages than a scene has",
    },
    Open {
        places: &[
            place("queue/log.rs", "look_at_receivers", "recv.log_given_back.load(Acquire)"),
            place("queue/log.rs", "give_back", "given_back.store(from, Release)"),
        ],
        what: "ToRelaxed",
        why: "not modelled: no scene gives memory of the log back, which takes more messages than it has. To be looked at first",
    },
    Open {
        places: &[place("queue/log.rs", "is_taken", "self.shared.recv.log.load(Acquire)")],
        what: "ToRelaxed",
        why: "unknown: the scenes have such deaths, and none fails. The kernel's own change of the dead owner's word may order it; the models have that as Acquire and Release",
    },
    Open {
        places: &[
            place("queue/log.rs", "len", "(recv.log_taken.load(Acquire), recv.log.load(Acquire))"),
            place("queue/log.rs", "len", "let end = send.log.load(Acquire)"),
            place("queue/log.rs", "len", "recv.log.load(Acquire) == begin"),
        ],
        what: "ToRelaxed",
        why: "not modelled: no scene asks for the length",
    },
    Open {
        places: &[
            place("queue/log.rs", "put_in", "let end = send.log.load(Acquire)"),
            place("queue/log.rs", "number_at", "number.load(Acquire)"),
            place("queue/log.rs", "number_at", "self.shared.send.log.load(Acquire) == end"),
        ],
        what: "ToRelaxed",
        why: "not modelled: no scene asks for the counters",
    },
    Open {
        places: &[place("queue/blocks.rs", "take_from_the_dead", "self.shared.send.transit.load(Acquire)")],
        what: "ToRelaxed",
        why: "unknown: the scenes have such deaths, and none fails. The kernel's own change of the dead owner's word may order it; the models have that as Acquire and Release",
    },
    Open {
        places: &[place("queue/blocks.rs", "give_back", "head.owner.store(State::Returned.nobodys(), Release)")],
        what: "ToRelaxed",
        why: "covered, it is thought, by the lock of this side: who looks has it from the last owner, or from the kernel, which marked it",
    },
    Open {
        places: &[
            place("queue/blocks.rs", "say_returned", "self.shared.recv.returned.swap(1, Release)"),
            place("queue/blocks.rs", "first_returned", "self.shared.recv.returned.swap(0, Acquire)"),
        ],
        what: "ToRelaxed",
        why: "unknown: a hint; receivers that are told of the end look at the blocks themselves",
    },
    Open {
        places: &[place(
            "sync/lock.rs",
            "try_acquire_awaited",
            "word.compare_exchange(seen, call.owner() | seen, Acquire, Relaxed)",
        )],
        what: "ToRelaxed",
        why: "unknown: who takes an offer so has acquired the offer itself, and does not take the lock of a dead owner so, which is what left something to be mended",
    },
    Open {
        places: &[
            place("queue/handoff.rs", "leave_word", "claim.head.word.store(0, Release)"),
            place("queue/handoff.rs", "own_word", "word.compare_exchange(seen, call.owner(), Acquire, Relaxed)"),
        ],
        what: "ToRelaxed",
        why: "covered, it is thought, by the block's owner, which is taken with Acquire before the word",
    },
    Open {
        places: &[
            place(
                "queue/handoff.rs",
                "offer",
                "head.offer.compare_exchange(number | OPEN, number | WITHDRAWN, Acquire, Acquire)",
            ),
            place("queue/handoff.rs", "until_taken", "claim.head.offer.load(Acquire)"),
        ],
        what: "ToRelaxed, FailureToRelaxed",
        why: "unknown: the sender seems to read nothing after this that a receiver wrote",
    },
    Open {
        places: &[place("queue/handoff.rs", "until_taken", "futex::wake(&side.lock, u32::MAX, Kind::Any)")],
        what: "NoWake, WakeOne",
        why: "unknown: it is for a receiver that dies with a wake-up, in a scene with more senders than there are here",
    },
    Open {
        places: &[
            place("queue/handoff.rs", "take_offer", "recv.transit.store((index + 1) | flag, Release)"),
            place("queue/handoff.rs", "take_offer", "recv.transit.store(0, Release);\n            return None"),
            place(
                "queue/handoff.rs",
                "take_offer",
                "let woken = self.wake_sender(index);\n        recv.transit.store(0, Release)",
            ),
        ],
        what: "ToRelaxed",
        why: "covered, it is thought, by the lock of this side: who looks has it from the last owner, or from the kernel, which marked it",
    },
    Open {
        places: &[place(
            "queue/handoff.rs",
            "take_offer",
            "head.offer.compare_exchange(offer, offer & !STATE | TAKEN, AcqRel, Relaxed)",
        )],
        what: "ToAcquire, ToRelease",
        why: "Acquire: `open_offer` has acquired the same offer. Release: as in `until_taken`",
    },
    Open {
        places: &[place("queue/handoff.rs", "was_accepted", "head.offer.load(Acquire)")],
        what: "ToRelaxed",
        why: "covered, it is thought, by the lock of this side: who looks has it from the last owner, or from the kernel, which marked it",
    },
    Open {
        places: &[
            place("queue/handoff.rs", "wake_sender", "fence_after_rmw()"),
            place("queue/handoff.rs", "wake_sender", "futex::wake(word, u32::MAX, Kind::One(index))"),
            place("queue/handoff.rs", "release_sender", "futex::wake(&side.lock, u32::MAX, Kind::One(index))"),
        ],
        what: "ToAcqRel, NoWake, WakeOne",
        why: "unknown: each of the two wakes seems to stand in for the other, and the lock's release reads the newest word and wakes all where it woke nobody",
    },
    Open {
        places: &[place("queue/handoff.rs", "end_handoffs", "shared.phase.swap(CLOSED, Release)")],
        what: "ToRelaxed",
        why: "unknown: there is nothing in a rendezvous that a closed one must still give",
    },
    Open {
        places: &[place("queue/claims.rs", "wait_for_block", "futex::wake(&side.lock, 1, Kind::Change)")],
        what: "NoWake",
        why: "no scene comes there in few executions: it is for a wake-up of the kernel that came to the wrong one, after a death",
    },
    Open {
        places: &[place("queue/receiving.rs", "wake_emptied", "futex::wake(&self.shared.recv.lock, u32::MAX, FOR_A_BLOCK)")],
        what: "NoWake, WakeOne",
        why: "unknown: no scene comes there in few executions",
    },
    Open {
        places: &[
            place(
                "queue/claims.rs",
                "end_transit",
                "self.blocks.head(index)?.owner.store(self.blocks.mine(State::Held), Release)",
            ),
            place("queue/claims.rs", "end_transit", "side.transit.store(0, Release)"),
        ],
        what: "ToRelaxed",
        why: "unknown: the scenes have such deaths, and none fails. The kernel's own change of the dead owner's word may order it; the models have that as Acquire and Release",
    },
    Open {
        places: &[
            place("queue/sending.rs", "send_locked", "shared.log_from.store(position.wrapping_add(1), Release)"),
            place("queue/sending.rs", "send_locked", "shared.log_from.store(0, Release)"),
            place("queue/sending.rs", "must_log", "self.shared.log_from.store(0, Release)"),
            place("queue/receiving.rs", "log_is_next", "self.shared.log_from.load(Acquire)"),
        ],
        what: "ToRelaxed",
        why: "unknown: thousands of executions at random of `log: two send, one receives` did not fail; the second place is one where no scene comes, for want of memory",
    },
    Open {
        places: &[
            place("queue/sending.rs", "put_block", "side.transit.store(index + 1, Release)"),
            place("queue/sending.rs", "put_block", "head.owner.store(State::Queued.nobodys(), Release)"),
            place("queue/sending.rs", "put_block", "side.transit.store(0, Release)"),
            place("queue/sending.rs", "mend_sending", "side.transit.load(Acquire)"),
        ],
        what: "ToRelaxed",
        why: "covered, it is thought, by the lock of this side: who looks has it from the last owner, or from the kernel, which marked it",
    },
    Open {
        places: &[place("queue/receiving.rs", "recv_block", "head.owner.load(Acquire)")],
        what: "ToRelaxed",
        why: "covered by the slot's sequence number, which `look` has acquired: it is stored after the owner",
    },
    Open {
        places: &[place("queue/receiving.rs", "mark", "head.owner.store(self.blocks.mine(state), Release)")],
        what: "ToRelaxed",
        why: "unknown: the scenes have such deaths, and none fails. The kernel's own change of the dead owner's word may order it; the models have that as Acquire and Release",
    },
    Open {
        places: &[
            place("queue/receiving.rs", "pass_to_me", "recv.transit.store((index + 1) | flags, Release)"),
            place("queue/receiving.rs", "pass_to_me", "recv.transit.store(0, Release)"),
            place("queue/receiving.rs", "mend_receiving", "recv.transit.load(Acquire)"),
            place("queue/receiving.rs", "mend_receiving", "let free = match State::in_word(head.owner.load(Acquire))"),
            place("queue/receiving.rs", "mend_receiving", "head.owner.store(State::Queued.nobodys(), Release)"),
        ],
        what: "ToRelaxed",
        why: "covered, it is thought, by the lock of this side: who looks has it from the last owner, or from the kernel, which marked it",
    },
];
