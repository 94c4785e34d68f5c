//! What a handle holds until it is closed, while calls use it.
//!
//! Each call takes it and gives it back, so that costs what a short call does. Where Python has a global lock, that lock guards a plain
//! count of the calls; in free-threaded Python it takes atomic read-modify-writes.

pub(crate) use of_this_python::{Held, Open};

#[cfg(not(Py_GIL_DISABLED))]
mod of_this_python {
    use std::cell::{Cell, UnsafeCell};
    use std::marker::PhantomData;
    use std::ops::Deref;
    use std::sync::Arc;

    use pyo3::Python;

    /// An object, until it is taken out. Touched by attached threads only, one at a time.
    pub(crate) struct Held<T> {
        object: UnsafeCell<Option<Arc<T>>>,
        is_taken: Cell<bool>,
        /// How many calls use it. It stays as long as there are any.
        calls: Cell<usize>,
    }

    // SAFETY: whoever touches the cells is attached (`Python<'_>`), which one thread is at a time; `Open` reads the object alone,
    // which stays as it is meanwhile.
    unsafe impl<T: Send + Sync> Sync for Held<T> {}

    /// An object in use by a call. It begins and ends attached, so it is not sent where the thread is not.
    pub(crate) struct Open<'a, T>(&'a Held<T>, PhantomData<*const ()>);

    // SAFETY: what a detached thread does with it is to read the object.
    unsafe impl<T: Send + Sync> Sync for Open<'_, T> {}

    impl<T> Held<T> {
        pub(crate) fn new(object: Arc<T>) -> Self {
            Self { object: UnsafeCell::new(Some(object)), is_taken: Cell::new(false), calls: Cell::new(0) }
        }

        #[inline]
        pub(crate) fn open(&self, _py: Python<'_>) -> Option<Open<'_, T>> {
            if self.is_taken.get() {
                return None;
            }
            self.calls.set(self.calls.get() + 1);
            Some(Open(self, PhantomData))
        }

        pub(crate) fn is_taken(&self, _py: Python<'_>) -> bool {
            self.is_taken.get()
        }

        /// Takes it out: no call begins to use it from here on. It goes when the last one ends that does.
        pub(crate) fn take(&self, _py: Python<'_>) {
            self.is_taken.set(true);
            self.drop_unused();
        }

        fn drop_unused(&self) {
            if self.calls.get() == 0 {
                // SAFETY: no call uses it, and none begins to.
                drop(unsafe { (*self.object.get()).take() });
            }
        }
    }

    impl<T> Open<'_, T> {
        /// The object, for who keeps it beyond the call.
        pub(crate) fn share(&self) -> Arc<T> {
            // SAFETY: it stays as it is while a call uses it.
            unsafe { (*self.0.object.get()).clone() }.expect("it stays while a call uses it")
        }
    }

    impl<T> Deref for Open<'_, T> {
        type Target = T;

        #[inline]
        fn deref(&self) -> &T {
            // SAFETY: as in `share`.
            unsafe { (*self.0.object.get()).as_deref() }.expect("it stays while a call uses it")
        }
    }

    impl<T> Drop for Open<'_, T> {
        #[inline]
        fn drop(&mut self) {
            self.0.calls.set(self.0.calls.get() - 1);
            if self.0.is_taken.get() {
                self.0.drop_unused();
            }
        }
    }
}

#[cfg(Py_GIL_DISABLED)]
mod of_this_python {
    use std::marker::PhantomData;
    use std::ops::Deref;
    use std::sync::Arc;

    use arc_swap::{ArcSwapOption, Guard};
    use pyo3::Python;

    /// An object, until it is taken out.
    pub(crate) struct Held<T>(ArcSwapOption<T>);

    /// An object in use by a call.
    pub(crate) struct Open<'a, T>(Guard<Option<Arc<T>>>, PhantomData<&'a Held<T>>);

    impl<T> Held<T> {
        pub(crate) fn new(object: Arc<T>) -> Self {
            Self(ArcSwapOption::new(Some(object)))
        }

        #[inline]
        pub(crate) fn open(&self, _py: Python<'_>) -> Option<Open<'_, T>> {
            let object = self.0.load();
            object.is_some().then(|| Open(object, PhantomData))
        }

        pub(crate) fn is_taken(&self, _py: Python<'_>) -> bool {
            self.0.load().is_none()
        }

        /// Takes it out: no call begins to use it from here on. It goes when the last one ends that does.
        pub(crate) fn take(&self, _py: Python<'_>) {
            drop(self.0.swap(None));
        }
    }

    impl<T> Open<'_, T> {
        /// The object, for who keeps it beyond the call.
        pub(crate) fn share(&self) -> Arc<T> {
            self.0.clone().expect("only made for an object that is there")
        }
    }

    impl<T> Deref for Open<'_, T> {
        type Target = T;

        #[inline]
        fn deref(&self) -> &T {
            self.0.as_ref().expect("only made for an object that is there")
        }
    }
}

/// A SeqCst fence between attached threads, which the global lock is already where there is one.
#[inline]
pub(crate) fn fence_if_free_threaded() {
    #[cfg(Py_GIL_DISABLED)]
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}
