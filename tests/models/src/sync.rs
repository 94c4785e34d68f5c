//! The library's own, and what stands beside it there.

/// Scenes are short.
pub(crate) const BIAS_AFTER: u32 = 0;
pub(crate) const QUIET_AFTER: u32 = 1;

#[path = "../../../src/sync/bias.rs"]
pub(crate) mod bias;
#[path = "../../../src/sync/counts.rs"]
pub(crate) mod counts;
#[path = "../../../src/sync/holder.rs"]
pub(crate) mod holder;
#[path = "../../../src/sync/lock.rs"]
pub(crate) mod lock;
#[path = "../../../src/sync/peers.rs"]
pub(crate) mod peers;
#[path = "../../../src/sync/permits.rs"]
pub(crate) mod permits;
#[path = "../../../src/sync/quiet.rs"]
pub(crate) mod quiet;
#[path = "../../../src/sync/signals.rs"]
pub(crate) mod signals;
#[path = "../../../src/sync/source.rs"]
pub(crate) mod source;
#[path = "../../../src/sync/spin.rs"]
pub(crate) mod spin;

/// Each thread of a scene that asks for it has a life.
pub(crate) mod lives {
    use std::cell::RefCell;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use crate::error::{Error, Result};
    use crate::shm::Shared;
    use crate::sync::lock::{TID, WAITERS};
    use crate::sys::futex::{self, Kind};
    use crate::sys::memory::{AtomicU32, Ordering::Relaxed};
    use crate::sys::process::Identity;
    use crate::sys::thread::Call;

    thread_local! {
        static LIVES: RefCell<Option<Arc<Lives>>> = const { RefCell::new(None) };
    }

    pub(crate) struct Lives(Vec<Shared<AtomicU32>>);

    /// From here on there are so many lives in this execution.
    pub(crate) fn are(count: usize) {
        LIVES.set((count != 0).then(|| Arc::new(Lives((0..count).map(|_| Shared::new(4)).collect()))));
    }

    /// The calling thread has one from here on.
    pub(crate) fn begin(life: u32) {
        let Some(lives) = LIVES.with_borrow(Clone::clone) else { return };
        let word: &AtomicU32 = &lives.0[life as usize - 1];
        let call = Call::enter(word).unwrap();
        word.fetch_or(call.tid(), Relaxed);
        // SAFETY: nothing is needed here.
        unsafe { call.link(word) };
    }

    impl Lives {
        pub(crate) fn of(_dir: &Path) -> Result<Arc<Self>> {
            LIVES.with_borrow(Clone::clone).ok_or_else(|| Error::Unsupported("there are no lives here".into()))
        }

        pub(crate) fn watch_of(&self, life: u32, _identity: Identity) -> Option<(&AtomicU32, u32)> {
            let word: &AtomicU32 = self.0.get((life as usize).checked_sub(1)?)?;
            let seen = word.fetch_or(WAITERS, Relaxed) | WAITERS;
            (seen & TID != 0).then_some((word, seen))
        }
    }

    pub(crate) fn pass_on((life, seen): (&AtomicU32, u32)) {
        if life.load(Relaxed) != seen {
            futex::wake(life, u32::MAX, Kind::Any);
        }
    }

    #[derive(Default)]
    pub(crate) struct Ending(());

    impl Ending {
        pub(crate) fn slice(&mut self) -> Duration {
            Duration::from_millis(1)
        }
    }
}

/// All are of one pid namespace.
pub(crate) mod users {
    use std::path::PathBuf;

    use crate::engine;
    use crate::error::Result;
    use crate::shm::Shared;
    use crate::sys::memory::AtomicU32;
    use crate::sys::process::{Identity, me};
    use crate::sys::thread::{Call, Owners};

    pub(crate) struct Users(());

    impl Users {
        pub(crate) fn new<T>(_object: &Shared<T>, _dir: Option<PathBuf>) -> Result<Self> {
            Ok(Self(()))
        }

        pub(crate) fn are_at_home(&self) -> bool {
            true
        }

        pub(crate) fn are_strangers(&self) -> bool {
            false
        }

        pub(crate) fn enter(&self, word: &AtomicU32) -> Result<Call<'_>> {
            Call::enter(word)
        }

        pub(crate) fn enter_simply(&self, word: &AtomicU32) -> Option<Call<'_>> {
            Call::enter(word).ok()
        }

        pub(crate) fn me(&self) -> Identity {
            me().identity
        }

        pub(crate) fn is_me(&self, identity: Identity) -> bool {
            identity == me().identity
        }

        pub(crate) fn is_gone(&self, identity: Identity) -> bool {
            identity.is_gone(me().namespace)
        }

        pub(crate) fn watch(&self, _identity: Identity) -> Option<(&AtomicU32, u32)> {
            None
        }
    }

    impl Owners for Users {
        fn is_gone(&self, owner: u32) -> bool {
            engine::is_gone(owner)
        }
    }
}

pub(crate) mod semaphore {
    pub(crate) const MAX_VALUE: u32 = 1 << 30;
}
