//! Futexes whose sleepers the engine has.

use std::time::Duration;

use crate::engine::{self, Woken};
use crate::error::Result;
use crate::sync::lock::LOOK;
use crate::sys::memory::AtomicU32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slept {
    Woken,
    NotAtAll,
    TimedOut,
    Interrupted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Lock,
    Change,
    One(u32),
    Any,
}

impl Kind {
    fn mask(self) -> u32 {
        match self {
            Self::Lock => 1,
            Self::Change => 2,
            Self::One(number) => 4 << (number % 30),
            Self::Any => u32::MAX,
        }
    }
}

pub(crate) const MOST_WORDS: usize = 128;

pub(crate) fn wait(word: &AtomicU32, expected: u32, kind: Kind, time: Duration) -> Result<Slept> {
    let (slept, _) = sleep(&[(word, expected)], kind, time);
    Ok(slept)
}

pub(crate) fn wait_any(words: &[(&AtomicU32, u32)], time: Duration) -> Result<(Slept, usize)> {
    Ok(sleep(words, Kind::Any, time))
}

fn sleep(words: &[(&AtomicU32, u32)], kind: Kind, time: Duration) -> (Slept, usize) {
    let words: Vec<_> = words.iter().map(|(word, expected)| (word.address(), word.raw(), *expected, kind.mask())).collect();
    match engine::sleep(&words, time < LOOK) {
        Woken::By(which) => (Slept::Woken, which),
        Woken::NotAtAll => (Slept::NotAtAll, 0),
        Woken::TimedOut => (Slept::TimedOut, 0),
    }
}

pub(crate) fn can_wait_any() -> bool {
    true
}

#[track_caller]
pub(crate) fn wake(word: &AtomicU32, most: u32, kind: Kind) -> u32 {
    engine::wake(word.address(), word.raw(), most, kind.mask())
}
