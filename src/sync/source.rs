//! Waiting for one of several things.
//!
//! Who does so sleeps on the words of all of them at once, as a watcher in the sense of `sync::lock`, which has the argument why no
//! wake-up is lost with it. It takes nothing: it says that something may be ready.

use std::time::Duration;

use crate::error::Result;
use crate::shm::layout::Counts;
use crate::sync::lives;
use crate::sync::lock::{self, LOOK, On, Rewake};
use crate::sync::permits::{ENDING, ENDING_LOOK};
use crate::sys::futex::{self, Slept};
use crate::sys::memory::AtomicU32;
use crate::sys::thread::Call;
use crate::time::Instant;

/// What can be waited for beside others.
pub(crate) trait Source: Send + Sync {
    /// What those sleep on who wait for it alone.
    fn event(&self) -> (On<'_>, &AtomicU32);

    /// Where it is counted how often somebody waits for it.
    fn counts(&self) -> &Counts;

    /// Whether an attempt would not have to wait, or would fail, at this moment. `closely`: the system is asked, too, who is gone.
    fn ready(&self, closely: bool) -> bool;

    /// Called once its word is prepared for a sleep, and before the last look: others may wait for somebody who waits. The call
    /// works on that word before and after.
    fn waits(&self, call: &Call<'_>) {
        let _ = call;
    }

    /// Whether its users are strangers to each other (`sync::strangers`): then the kernel must not know who works on its words.
    fn has_strangers(&self) -> bool {
        false
    }

    /// Adds the words that the kernel marks when somebody's death makes it ready, and the values to sleep on. Says whether to
    /// look again in a moment: one is marked already, whose process will be gone then, or it is ready by now.
    fn watch_lives<'a>(&'a self, words: &mut Vec<(&'a AtomicU32, u32)>) -> bool {
        let _ = words;
        false
    }
}

impl<S: Source + ?Sized> Source for &S {
    fn event(&self) -> (On<'_>, &AtomicU32) {
        (**self).event()
    }

    fn counts(&self) -> &Counts {
        (**self).counts()
    }

    fn ready(&self, closely: bool) -> bool {
        (**self).ready(closely)
    }

    fn waits(&self, call: &Call<'_>) {
        (**self).waits(call);
    }

    fn has_strangers(&self) -> bool {
        (**self).has_strangers()
    }

    fn watch_lives<'a>(&'a self, words: &mut Vec<(&'a AtomicU32, u32)>) -> bool {
        (**self).watch_lives(words)
    }
}

/// How often to look where the kernel has no `futex_waitv(2)`.
const OFTEN: Duration = Duration::from_millis(5);

/// One who waits for several things: what it knows from one sleep to the next.
pub(crate) struct Sleeper {
    /// Whether somebody may be gone.
    closely: bool,
    /// Since when the thread of one who is watched has ended, and its process has not.
    ending: Option<Instant>,
    /// Whether this wait was counted already.
    is_counted: bool,
    rewake: Rewake,
}

impl Sleeper {
    pub(crate) const fn new() -> Self {
        Self { closely: true, ending: None, is_counted: false, rewake: Rewake::new() }
    }

    /// Whether the next look should be a close one.
    pub(crate) fn closely(&mut self) -> bool {
        std::mem::take(&mut self.closely)
    }

    /// Sleeps until one of the sources may be ready, or another one's word changes; for at most `time`, and not at all where one is ready.
    /// There are at most [`MOST_WORDS`](futex::MOST_WORDS) of all these. The caller looks after this.
    pub(crate) fn sleep(&mut self, sources: &[&dyn Source], also: Option<(&AtomicU32, u32)>, time: Duration) -> Result<Slept> {
        let Some(first) = sources.first().map(|source| source.event().1).or(also.map(|also| also.0)) else {
            return Ok(Slept::NotAtAll);
        };
        // The kernel passes on what our death would take from the first; for the others their flags see to that.
        let call = if sources.iter().any(|source| source.has_strangers()) { Call::enter_nowhere() } else { Call::enter(first) }?;
        let seen: Vec<_> = sources.iter().map(|source| lock::watch(source.event())).collect();
        let mut words: Vec<_> = sources.iter().zip(&seen).map(|(source, seen)| (source.event().1, seen.0)).collect();
        words.extend(also);
        for source in sources {
            call.turn_to(source.event().1);
            source.waits(&call);
        }
        call.turn_to(first);
        // From here on whoever makes one ready wakes us.
        if pass_on(sources) {
            // Others may have looked before there was anything, and be about to sleep on what the words were then, and are again.
            for (source, seen) in sources.iter().zip(seen) {
                call.turn_to(source.event().1);
                lock::unwatch(source.event(), seen);
            }
            return Ok(Slept::NotAtAll);
        }
        let primary = words.len();
        // Those beyond the most that the kernel takes are looked at every so often.
        let mut ended = false;
        for source in sources {
            ended |= source.watch_lives(&mut words);
        }
        let time = if futex::can_wait_any() { time.min(longest(sources)) } else { time.min(OFTEN) };
        if !std::mem::replace(&mut self.is_counted, true) {
            sources.iter().for_each(|source| source.counts().waits.add(1));
        }
        let hurry = ended && self.ending.get_or_insert_with(Instant::now).elapsed() < ENDING;
        self.closely |= hurry;
        let (slept, which) = futex::wait_any(&words, if hurry { time.min(ENDING_LOOK) } else { time })?;
        self.closely |= slept == Slept::TimedOut;
        if slept == Slept::Woken {
            if let Some(source) = sources.get(which) {
                source.counts().wakeups.add(1);
            }
            let passed_on = pass_on(sources);
            // What comes after that is another wait.
            self.is_counted &= !passed_on;
            if which >= primary {
                // Others may sleep on that life for something else.
                lives::pass_on(words[which]);
                self.ending = None;
                self.closely = true;
            } else if let Some(source) = sources.get(which).filter(|_| !passed_on) {
                self.rewake.woken_for_nothing(source.event());
            }
        }
        Ok(slept)
    }
}

/// How long to sleep without a look. A word of this process alone needs none.
fn longest(sources: &[&dyn Source]) -> Duration {
    if sources.is_empty() { Duration::MAX } else { LOOK }
}

/// Wakes all the others who wait for what is ready: they are to look, too, since we may be killed, or take nothing. Says whether
/// something is.
fn pass_on(sources: &[&dyn Source]) -> bool {
    let mut ready = sources.iter().filter(|source| source.ready(false)).peekable();
    let any = ready.peek().is_some();
    ready.for_each(|source| {
        lock::wake_all(source.event().1);
    });
    any
}
