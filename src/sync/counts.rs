//! Counting what calls do to an object when they sleep, and when they put right what the dead have left (`crate::Counters`).
//!
//! It takes no part in any protocol: who is killed before it has counted leaves a count short, and nothing else. All of it is
//! where a call makes a system call anyway, or looks at the whole object. What messages there were is said by positions, and by
//! counters beside them.

use std::time::Duration;

use crate::error::Result;
use crate::shm::layout::Counts;
use crate::sys::futex::Slept;
use crate::sys::thread::Call;

impl Counts {
    /// What `sleep` does, which puts a thread to sleep while a word has a value, and counts it: all sleeps of one call are one wait.
    pub(crate) fn counting(
        &self,
        call: &Call<'_>,
        mut sleep: impl FnMut(u32, Duration) -> Result<Slept>,
    ) -> impl FnMut(u32, Duration) -> Result<Slept> {
        move |seen, time| {
            // Before the sleep: who looks sees that somebody waits.
            if call.begins_to_wait() {
                self.waits.add(1);
            }
            let slept = sleep(seen, time)?;
            if slept == Slept::Woken {
                self.wakeups.add(1);
            }
            Ok(slept)
        }
    }

    /// So many deaths were noticed, and so many things put right that were left by them.
    pub(crate) fn recovered(&self, deaths: u64, recoveries: u64) {
        self.deaths.add(deaths);
        self.recoveries.add(recoveries);
    }
}
