//! Words whose accesses are steps of a model, if they are in memory that its threads share.

use std::ptr::NonNull;
pub(crate) use std::sync::atomic::Ordering;

use crate::engine;
pub(crate) use engine::fence;

/// Those of the machine's instructions: the engine gives no more order than that of the instructions, but for the compiler.
pub(crate) fn light_barrier() {
    engine::compiler_fence();
}

#[track_caller]
pub(crate) fn barrier_everywhere() {
    engine::fence_everywhere();
}

thread_local! {
    static OBEYS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether locks come to be biased in this scene.
pub(crate) fn set_obeys_barriers(obeys: bool) {
    OBEYS.set(obeys);
}

pub(crate) fn obey_barriers() {}

pub(crate) fn obeys_barriers() -> bool {
    OBEYS.get()
}

#[track_caller]
pub(crate) fn fence_after_rmw() {
    engine::fence_after_update();
}

/// Nothing depends on what is counted: it is no step.
#[repr(transparent)]
pub(crate) struct Counter(std::sync::atomic::AtomicU64);

impl Counter {
    pub(crate) fn add(&self, _count: u64) {}

    pub(crate) fn add_alone(&self, _count: u64) {}

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[track_caller]
pub(crate) fn read_if_there(word: &AtomicU64) -> Option<u64> {
    Some(word.load(Ordering::Acquire))
}

/// # Safety
///
/// Both places have so many bytes, and those at `to` may be written to.
pub(crate) unsafe fn copy(from: NonNull<u8>, to: NonNull<u8>, len: usize) {
    if engine::copy(from.as_ptr().expose_provenance(), to.as_ptr().expose_provenance(), len) {
        // SAFETY: the caller's promise.
        unsafe { to.copy_from(from, len) }
    }
}

macro_rules! atomic {
    ($name:ident, $value:ty) => {
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub(crate) struct $name(std::sync::atomic::$name);

        #[allow(clippy::cast_lossless, clippy::unnecessary_cast)]
        impl $name {
            pub(crate) const fn new(value: $value) -> Self {
                Self(std::sync::atomic::$name::new(value))
            }

            pub(crate) fn address(&self) -> usize {
                self.0.as_ptr().expose_provenance()
            }

            /// The newest value, which is what the memory has.
            pub(crate) fn raw(&self) -> u64 {
                self.0.load(Ordering::Relaxed) as u64
            }

            #[track_caller]
            pub(crate) fn load(&self, ordering: Ordering) -> $value {
                if !engine::is_tracked(self.address()) {
                    return self.0.load(Ordering::Relaxed);
                }
                engine::load(self.address(), || self.raw(), ordering) as $value
            }

            #[track_caller]
            pub(crate) fn store(&self, value: $value, ordering: Ordering) {
                if !engine::is_tracked(self.address())
                    || engine::store(self.address(), || self.raw(), (value as u64, size_of::<$value>()), ordering)
                {
                    self.0.store(value, Ordering::Relaxed);
                }
            }

            #[track_caller]
            fn update(&self, ordering: Ordering, change: impl FnOnce($value) -> $value) -> $value {
                let tracked = engine::is_tracked(self.address());
                if tracked {
                    engine::before_update(self.address());
                }
                let now = self.raw() as $value;
                let new = change(now);
                if !tracked || engine::update(self.address(), now as u64, new as u64, ordering) {
                    self.0.store(new, Ordering::Relaxed);
                }
                now
            }

            #[track_caller]
            pub(crate) fn swap(&self, value: $value, ordering: Ordering) -> $value {
                self.update(ordering, |_| value)
            }

            #[track_caller]
            pub(crate) fn fetch_add(&self, value: $value, ordering: Ordering) -> $value {
                self.update(ordering, |now| now.wrapping_add(value))
            }

            #[track_caller]
            pub(crate) fn fetch_or(&self, value: $value, ordering: Ordering) -> $value {
                self.update(ordering, |now| now | value)
            }

            #[track_caller]
            pub(crate) fn fetch_and(&self, value: $value, ordering: Ordering) -> $value {
                self.update(ordering, |now| now & value)
            }

            #[track_caller]
            pub(crate) fn fetch_xor(&self, value: $value, ordering: Ordering) -> $value {
                self.update(ordering, |now| now ^ value)
            }

            #[track_caller]
            pub(crate) fn fetch_max(&self, value: $value, ordering: Ordering) -> $value {
                self.update(ordering, |now| now.max(value))
            }

            #[track_caller]
            pub(crate) fn fetch_min(&self, value: $value, ordering: Ordering) -> $value {
                self.update(ordering, |now| now.min(value))
            }

            #[track_caller]
            pub(crate) fn compare_exchange(
                &self,
                expected: $value,
                value: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.exchange((expected, value), (success, failure), false)
            }

            #[track_caller]
            pub(crate) fn compare_exchange_weak(
                &self,
                expected: $value,
                value: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.exchange((expected, value), (success, failure), true)
            }

            #[track_caller]
            fn exchange(
                &self,
                (expected, value): ($value, $value),
                orders: (Ordering, Ordering),
                weak: bool,
            ) -> Result<$value, $value> {
                if !engine::is_tracked(self.address()) {
                    return self.0.compare_exchange(expected, value, Ordering::Relaxed, Ordering::Relaxed);
                }
                engine::before_update(self.address());
                let values = (expected as u64, value as u64);
                let (found, stored) = engine::exchange(self.address(), self.raw(), values, orders, weak);
                if stored {
                    self.0.store(value, Ordering::Relaxed);
                    Ok(found as $value)
                } else {
                    Err(found as $value)
                }
            }
        }
    };
}

atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);
