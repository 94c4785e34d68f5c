//! The robust mutex between processes: when its holder dies the next one gets it, and is told.
//!
//! The word is that of `sync::lock`; while the mutex is held it is on its owner's robust list (`sys::thread`), since other calls are made
//! meanwhile. That list has links in the memory of the mutex, which unlocking writes through: mutexes are for peers that
//! trust each other.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::ptr::NonNull;
use std::time::Duration;

use bytemuck::Pod;

use crate::counters::Counters;
use crate::error::{Error, Result};
use crate::name::Name;
use crate::shm::layout::MutexLayout;
use crate::shm::region::Region;
use crate::shm::{self, Shared};
use crate::sync::lock::{self, Left, TID};
use crate::sync::users::Users;
use crate::sys::memory::Ordering::Relaxed;
use crate::sys::memory::{AtomicU32, AtomicU64, obey_barriers};
use crate::sys::thread::{Call, forks};
use crate::sys::truncation::CUT_SHORT;
use crate::time::Deadline;

/// The states of `MutexLayout::state`. An owner died, and nobody has marked the data consistent since.
pub(crate) const INCONSISTENT: u32 = 1;
/// Given up: nobody gets the mutex any more.
pub(crate) const NOT_RECOVERABLE: u32 = 2;
const CONSISTENT: u32 = 0;

/// A mutex that processes share, with the data that it guards (plain old data; `()` where the data lies elsewhere).
///
/// It belongs to the thread that locks it, which alone can unlock it. It is robust: if that thread ends in whatever way (its
/// process was killed, it returned, it called exec), the next who locks the mutex gets it, and [`MutexGuard::owner_died`] says
/// that the data may be half changed. A thread can hold 1900 mutexes at a time. That stays so for every later owner until one of
/// them has repaired the data and says so with [`MutexGuard::mark_consistent`], or gives the mutex up for good with
/// [`MutexGuard::give_up`].
///
/// All methods may be called from any thread. Locking and unlocking make no system call unless somebody waits.
///
/// Mutexes are for processes that trust each other: one that writes over the mutex's memory can crash those who use it.
///
/// ```
/// # fn main() -> rsipc::Result<()> {
/// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-mutex-{}", std::process::id())));
/// let total = rsipc::Mutex::create(namespace.name("total"), 40u64)?;
/// let mut guard = total.lock()?;
/// if guard.owner_died() {
///     *guard = 0; // Repair what the dead owner may have left half done ...
///     guard.mark_consistent(); // ... and say so.
/// }
/// *guard += 2;
/// assert_eq!(*guard, 42);
/// # drop(guard);
/// # namespace.unlink("total")?;
/// # std::fs::remove_dir_all(namespace.dir()?).ok();
/// # Ok(())
/// # }
/// ```
pub struct Mutex<T: Pod = ()> {
    shared: Shared<MutexLayout>,
    users: Users,
    data: NonNull<T>,
    /// Who holds it through this handle (0: nobody), as it stands in the word: a thread whose robust list leads through this
    /// mapping, unless it is a stranger. In the upper half `forks()` when it took it.
    held: AtomicU64,
    /// How often it was unlocked through this handle since it became loud (`sync::quiet`), nobody having waited.
    calm: AtomicU32,
}

// SAFETY: the data is plain, and only reached by who holds the lock.
unsafe impl<T: Pod + Send> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: Pod + Send> Sync for Mutex<T> {}

impl<T: Pod> Mutex<T> {
    /// How many bytes it takes in a region, with its data, at an offset that is a multiple of 8 (and of the data's alignment).
    pub const SIZE: usize = size_of::<MutexLayout>() + size_of::<T>();

    /// Creates a mutex that guards `value`.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`; `InvalidArgument` for an impossible name; `NoSpace`, `PermissionDenied` and other errors of the system.
    pub fn create<'a>(name: impl Into<Name<'a>>, value: T) -> Result<Self> {
        Self::create_named(&name.into(), value)
    }

    fn create_named(name: &Name<'_>, value: T) -> Result<Self> {
        const { assert!(align_of::<T>() <= 64, "the data of a mutex is aligned to 64 bytes at most") };
        let fill = |layout: &MutexLayout| fill(layout, value);
        let (shared, _) = shm::create::<MutexLayout>(name, Self::SIZE, Self::SIZE, fill)?;
        Self::new(shared, Some(name.dir()?))
    }

    /// Opens a mutex. One that guards data of another length is `WrongKind`; as `Mutex<()>` any can be opened.
    ///
    /// # Errors
    ///
    /// `NotFound`; `WrongKind`, `WrongVersion`, `Corrupted`, `PermissionDenied` and other errors of the system; `Unsupported` as
    /// [`Queue::open`](crate::Queue::open).
    pub fn open<'a>(name: impl Into<Name<'a>>) -> Result<Self> {
        Self::open_named(&name.into())
    }

    fn open_named(name: &Name<'_>) -> Result<Self> {
        Self::new(shm::open(name)?.0, Some(name.dir()?))
    }

    /// Opens a mutex, or creates it guarding `value`. Processes that do so at the same time get the same one.
    ///
    /// # Errors
    ///
    /// As [`Mutex::create`] and [`Mutex::open`], less `AlreadyExists` and `NotFound`.
    pub fn open_or_create<'a>(name: impl Into<Name<'a>>, value: T) -> Result<Self> {
        let name = name.into();
        shm::open_or_create(|| Self::open_named(&name), || Self::create_named(&name, value))
    }

    /// Creates a mutex that guards `value` at `offset` of a region, in [`Mutex::SIZE`] bytes that are zero.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` where there is an object; `InvalidArgument` where the memory is in use, too short, or wrongly aligned.
    ///
    /// # Safety
    ///
    /// These bytes of the region are left to the mutex: nothing else is written or placed there.
    pub unsafe fn create_in(region: &Region, offset: usize, value: T) -> Result<Self> {
        let shared = region.place(offset)?;
        data_behind::<T>(&shared)?;
        shm::create_in(&shared, |layout| fill(layout, value))?;
        Self::new(shared, None)
    }

    /// Opens a mutex at `offset` of a region.
    ///
    /// # Errors
    ///
    /// `NotFound` where nothing was created there; otherwise as [`Mutex::open`].
    ///
    /// # Safety
    ///
    /// As for [`Mutex::create_in`].
    pub unsafe fn open_in(region: &Region, offset: usize) -> Result<Self> {
        let shared = region.place(offset)?;
        shm::open_in(&shared)?;
        Self::new(shared, None)
    }

    /// `dir`: where the mutex's name is; None for one in a region.
    fn new(shared: Shared<MutexLayout>, dir: Option<PathBuf>) -> Result<Self> {
        if size_of::<T>() != 0 && shared.data_len.load(Relaxed) as usize != size_of::<T>() {
            return Err(Error::WrongKind {
                expected: "mutex with data of this length",
                found: "mutex with data of another length",
            });
        }
        let data = data_behind::<T>(&shared)?;
        let users = Users::new(&shared, dir)?;
        obey_barriers();
        Ok(Self { shared, users, data, held: AtomicU64::new(0), calm: AtomicU32::new(0) })
    }

    /// Locks it, and waits as long as need be.
    ///
    /// # Errors
    ///
    /// `Deadlock` where this thread holds it already; `NotRecoverable` where it was given up; `Interrupted` by a signal handler;
    /// `LimitReached` where this thread holds 1900 mutexes.
    #[inline]
    pub fn lock(&self) -> Result<MutexGuard<'_, T>> {
        self.lock_until(Deadline::Never)
    }

    /// Locks it if nobody holds it.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where somebody holds it; otherwise as [`Mutex::lock`].
    #[inline]
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>> {
        self.lock_until(Deadline::Now)
    }

    /// Locks it, and waits no longer than `timeout` (monotonic clock). A timeout of zero is not to wait.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-lock-timeout-{}", std::process::id())));
    /// use std::time::Duration;
    ///
    /// use rsipc::{Error, Mutex};
    ///
    /// let mutex = Mutex::create(namespace.name("disk"), ())?;
    /// let guard = mutex.lock_timeout(Duration::from_secs(1))?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| assert_eq!(mutex.lock_timeout(Duration::from_millis(10)).err(), Some(Error::TimedOut)));
    /// });
    /// drop(guard);
    /// # std::fs::remove_dir_all(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `TimedOut`; `WouldBlock` for a timeout of zero; otherwise as [`Mutex::lock`].
    pub fn lock_timeout(&self, timeout: Duration) -> Result<MutexGuard<'_, T>> {
        self.lock_until(Deadline::after(timeout))
    }

    #[inline]
    fn lock_until(&self, deadline: Deadline) -> Result<MutexGuard<'_, T>> {
        if self.lock_simply() {
            return Ok(MutexGuard { mutex: self, not_send: PhantomData });
        }
        self.lock_in_any_case(deadline)
    }

    /// Locks it if that is simple: it is free, nobody waits for it, and there is nothing to be told. If not, nothing was done.
    #[inline(always)]
    fn lock_simply(&self) -> bool {
        let shared = &*self.shared;
        let Some(call) = self.users.enter_simply(&shared.word) else { return false };
        if !call.can_link_simply() || !shared.quiet.try_acquire(&call, &shared.word) {
            return false;
        }
        if shared.state.load(Relaxed) != CONSISTENT || self.shared.is_cut() {
            back_out(call.owner(), &shared.word);
            return false;
        }
        shared.holder.note(&call);
        // SAFETY: as in `lock_in_any_case`.
        unsafe { call.link(&shared.word) };
        self.held.store(u64::from(forks()) << 32 | u64::from(call.owner()), Relaxed);
        true
    }

    /// As `lock_until`, in all cases.
    #[cold]
    fn lock_in_any_case(&self, deadline: Deadline) -> Result<MutexGuard<'_, T>> {
        let shared = &*self.shared;
        let call = self.users.enter(&shared.word)?;
        if call.is_seen() {
            call.can_link()?;
        } else if self.users.are_at_home() && shared.holder.is_this_thread(&shared.word, call.tid()) {
            // It took it before the first stranger came.
            return Err(Error::Deadlock);
        }
        if shared.quiet.acquire(&call, &shared.word, Some(&shared.holder), deadline)? == Left::Died {
            note_death(shared);
        }
        let state = shared.state.load(Relaxed);
        if self.shared.is_cut() {
            lock::release_and_wake_all(&shared.word);
            return Err(CUT_SHORT);
        }
        if state == NOT_RECOVERABLE {
            lock::release_and_wake_all(&shared.word);
            return Err(Error::NotRecoverable);
        }
        shared.holder.note(&call);
        if call.is_seen() {
            // SAFETY: the links are behind the word; the mapping stays while it is held (see `Drop`); it was not held till now.
            unsafe { call.link(&shared.word) };
        }
        self.held.store(u64::from(forks()) << 32 | u64::from(call.owner()), Relaxed);
        Ok(MutexGuard { mutex: self, not_send: PhantomData })
    }

    /// How often somebody waited for it since it was created, in all processes, and how often its owner died.
    ///
    /// # Errors
    ///
    /// `Corrupted` where its file was cut short ([`catch_truncation`](crate::catch_truncation)).
    pub fn counters(&self) -> Result<Counters> {
        self.shared.checked(Ok(Counters::of(&self.shared.counts)))
    }

    /// Unlocks it, for those who cannot keep a guard and have forgotten it (`std::mem::forget`): bindings to other languages.
    ///
    /// # Errors
    ///
    /// `NotOwner` where the calling thread does not hold it through this handle.
    ///
    /// # Safety
    ///
    /// No guard of this thread's lock is used any more.
    pub unsafe fn force_unlock(&self) -> Result<()> {
        self.unlock()
    }

    #[inline]
    fn unlock(&self) -> Result<()> {
        if self.unlock_simply() { Ok(()) } else { self.unlock_in_any_case() }
    }

    /// Unlocks it if that is simple: the kernel knows who holds it, and nobody gave it up. If not, nothing was done.
    #[inline(always)]
    fn unlock_simply(&self) -> bool {
        let shared = &*self.shared;
        let Some(call) = self.users.enter_simply(&shared.word) else { return false };
        let seen = shared.word.load(Relaxed);
        let is_mine = self.held.load(Relaxed) as u32 == call.owner() && seen & TID == call.owner();
        if !is_mine || shared.state.load(Relaxed) == NOT_RECOVERABLE || self.shared.is_cut() {
            return false;
        }
        self.held.store(0, Relaxed);
        // SAFETY: as in `unlock_in_any_case`.
        if !unsafe { call.unlink(&shared.word) } {
            std::mem::forget(self.shared.clone());
        }
        // die here: the word is still ours, and pending.
        shared.holder.forget(&call);
        shared.quiet.release((call.owner(), seen), &shared.word, &self.calm);
        true
    }

    /// As `unlock`, in all cases.
    #[cold]
    fn unlock_in_any_case(&self) -> Result<()> {
        let shared = &*self.shared;
        let call = self.enter_again()?;
        match self.check_held(&call) {
            Err(CUT_SHORT) if self.held.load(Relaxed) as u32 == call.owner() => {}
            result => result?,
        }
        self.held.store(0, Relaxed);
        // SAFETY: this thread holds it through this handle, so it was linked at this address.
        if call.is_seen() && !unsafe { call.unlink(&shared.word) } {
            std::mem::forget(self.shared.clone());
        }
        // Of a region that was cut behind it, the mutex is there still, and others wait for it.
        if shared.word.load(Relaxed) & TID == call.owner() {
            // die here: the word is still ours, and pending.
            shared.holder.forget(&call);
            if shared.state.load(Relaxed) == NOT_RECOVERABLE {
                lock::release_and_wake_all(&shared.word);
            } else {
                lock::release(&call, &shared.word);
            }
        }
        self.shared.checked(Ok(()))
    }

    /// Enters a call of who may hold it.
    #[inline]
    fn enter_again(&self) -> Result<Call<'_>> {
        self.users.enter_again(&self.shared.word, self.held.load(Relaxed) as u32)
    }

    #[inline]
    fn check_held(&self, call: &Call<'_>) -> Result<()> {
        let owner = self.shared.word.load(Relaxed) & TID;
        if self.shared.is_cut() {
            Err(CUT_SHORT)
        } else if self.held.load(Relaxed) as u32 == call.owner() && owner == call.owner() {
            Ok(())
        } else {
            Err(Error::NotOwner("this thread does not hold the mutex through this handle"))
        }
    }

    /// Whether a thread of this process holds it through this handle.
    #[must_use]
    pub fn is_held(&self) -> bool {
        let held = self.held.load(Relaxed);
        let owner = self.shared.word.load(Relaxed) & TID;
        held as u32 != 0 && (held >> 32) as u32 == forks() && (owner == held as u32 || self.shared.is_cut())
    }

    /// Whether an owner died and nobody has marked the data consistent since. For who holds it without a guard.
    #[must_use]
    pub fn is_inconsistent(&self) -> bool {
        self.shared.state.load(Relaxed) == INCONSISTENT
    }

    /// [`MutexGuard::mark_consistent`] for who holds it without a guard.
    ///
    /// # Errors
    ///
    /// `NotOwner` where the calling thread does not hold it through this handle.
    pub fn mark_consistent(&self) -> Result<()> {
        self.set_state(CONSISTENT)
    }

    /// Gives the mutex up, for who holds it without a guard; it must still be unlocked. See [`MutexGuard::give_up`].
    ///
    /// # Errors
    ///
    /// `NotOwner` where the calling thread does not hold it through this handle.
    pub fn give_up(&self) -> Result<()> {
        self.set_state(NOT_RECOVERABLE)
    }

    fn set_state(&self, state: u32) -> Result<()> {
        let call = self.enter_again()?;
        // Should we die in here the kernel finds the word both pending and on the list, and takes it from us once.
        self.check_held(&call)?;
        self.shared.state.store(state, Relaxed);
        Ok(())
    }
}

/// Lets go of a lock at once, of which there is more to be said.
#[cold]
fn back_out(owner: u32, word: &AtomicU32) {
    lock::release_as(owner, word);
}

/// An owner died: its successors are told until one of them marks the data consistent.
#[cold]
fn note_death(shared: &MutexLayout) {
    // die here: OWNER_DIED again, and the next one comes here.
    shared.counts.recovered(1, 1);
    shared.holder.clear();
    if shared.state.load(Relaxed) == CONSISTENT {
        shared.state.store(INCONSISTENT, Relaxed);
    }
}

fn fill<T: Pod>(layout: &MutexLayout, value: T) {
    layout.data_len.store(size_of::<T>() as u32, Relaxed);
    layout.quiet.begin();
    // SAFETY: `data_behind` saw the room for it, or the file was made as long; nobody else sees it yet.
    unsafe { NonNull::from(layout).add(1).cast::<T>().write_unaligned(value) };
}

/// Where the data of a mutex lies.
fn data_behind<T: Pod>(shared: &Shared<MutexLayout>) -> Result<NonNull<T>> {
    let (rest, len) = shared.rest();
    if len < size_of::<T>() {
        return Err(Error::Corrupted("the mutex's data is longer than the memory it lies in: it was cut short"));
    }
    if !rest.cast::<T>().is_aligned() {
        return Err(Error::invalid(format!("the data of this mutex lies at a multiple of {} bytes", align_of::<T>())));
    }
    Ok(rest.cast())
}

impl<T: Pod> Drop for Mutex<T> {
    fn drop(&mut self) {
        if self.is_held() {
            // A thread holds it and has lost its guard. Its robust list leads through this mapping, which must stay.
            std::mem::forget(self.shared.clone());
        }
    }
}

impl<T: Pod> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").field("inconsistent", &self.is_inconsistent()).finish_non_exhaustive()
    }
}

/// The lock on a [`Mutex`], which is unlocked when this is dropped. It cannot leave its thread; others may look through it meanwhile.
///
/// ```compile_fail,E0277
/// fn elsewhere(guard: rsipc::MutexGuard<'static, u64>) {
///     std::thread::spawn(move || drop(guard));
/// }
/// ```
#[must_use = "the mutex is unlocked when the guard is dropped"]
pub struct MutexGuard<'a, T: Pod = ()> {
    mutex: &'a Mutex<T>,
    not_send: PhantomData<*const ()>,
}

// SAFETY: through a shared reference the data and the mutex's state are read, and nothing else.
unsafe impl<T: Pod + Sync> Sync for MutexGuard<'_, T> {}

impl<T: Pod> MutexGuard<'_, T> {
    /// Whether an owner died with the lock and nobody has marked the data consistent since: the data may be half changed.
    #[must_use]
    pub fn owner_died(&self) -> bool {
        self.mutex.is_inconsistent()
    }

    /// Says that the data is consistent (again): later owners are not told of the death any more.
    pub fn mark_consistent(&mut self) {
        // In a child of fork the lock is its parent's, and stays as it is.
        let _ = self.mutex.set_state(CONSISTENT);
    }

    /// Gives the mutex up as not recoverable and unlocks it: all who wait for it, and all who come, get `NotRecoverable`.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-give-up-{}", std::process::id())));
    /// let mutex = rsipc::Mutex::create(namespace.name("ledger"), [0u64; 100])?;
    /// let guard = mutex.lock()?;
    /// // Suppose `guard.owner_died()`, and that nobody can tell what belongs into the ledger.
    /// guard.give_up();
    /// assert_eq!(mutex.lock().err(), Some(rsipc::Error::NotRecoverable));
    /// # std::fs::remove_dir_all(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    pub fn give_up(self) {
        let _ = self.mutex.set_state(NOT_RECOVERABLE);
    }
}

impl<T: Pod> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `data_behind` saw that it is there and aligned, any bits are a value, and all who keep to the lock leave it alone.
        unsafe { self.mutex.data.as_ref() }
    }
}

impl<T: Pod> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        unsafe { self.mutex.data.clone().as_mut() }
    }
}

impl<T: Pod> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // In a child of fork the lock is its parent's, and stays so.
        let _ = self.mutex.unlock();
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MutexGuard").field("data", &**self).field("owner_died", &self.owner_died()).finish()
    }
}
