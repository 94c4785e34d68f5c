//! The calling thread, and how the kernel learns which lock word it is busy with when it dies.
//!
//! `get_robust_list(2)`, `set_robust_list(2)`, and the kernel's Documentation/locking/robust-futexes.rst. Every thread has a *robust
//! list head* that the C library registered. When the thread ends in whatever way (exit, SIGKILL, exec), the kernel looks at the
//! words on that list, and at the one word that `list_op_pending` names:
//!
//! - a word whose owner is the dying thread: the kernel sets OWNER_DIED, clears the owner, and wakes one sleeper if WAITERS is set;
//! - the pending word, if it has no owner (just released, or not yet taken): the kernel wakes one sleeper.
//!
//! So a thread inside a call points `list_op_pending` at the word it works on ([`Call`]): two plain stores to its own memory.
//! A word that stays locked after the call goes onto the list ([`Call::link`]), between those that the C library keeps there. Where
//! in the list's node the lock word lies differs between C libraries; the head says it (`futex_offset`).

use std::cell::Cell;
use std::ptr::{NonNull, null, null_mut};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, compiler_fence};

use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::sys::memory::obey_barriers_as_parent;
use crate::sys::process::{Identity, ThreadOf, me, thread_is_gone};
use crate::sys::truncation;

/// `struct robust_list_head` of `linux/futex.h`; `list` and `pending` hold addresses of nodes, each the word's less `futex_offset`.
#[repr(C)]
struct RobustListHead {
    /// The first node, or the head itself when the list is empty.
    list: *mut Node,
    /// What to add to a node's address to get at its lock word.
    futex_offset: libc::c_long,
    /// The node of the word that the thread is working on, or null.
    list_op_pending: *mut Node,
}

/// A node of the robust list, as the kernel reads it: where the next one is. glibc and musl keep a pointer to the previous one before it.
#[repr(C)]
struct Node {
    next: *mut Node,
}

/// A thread, as the lock words know it.
#[derive(Clone, Copy)]
struct Thread {
    head: *mut RobustListHead,
    /// `gettid(2)`; 0 before the first call, and in a child after fork.
    tid: u32,
    /// This thread's [`LINKED`]: in a shared library it takes a call to find out where a thread-local variable lies.
    linked: *const Cell<u32>,
    /// None of a process's first thread.
    loses_its_id: Option<ThreadOf>,
}

const NOBODY: Thread = Thread { head: null_mut(), tid: 0, linked: null(), loses_its_id: None };

impl Thread {
    /// `Reentrant` where it is inside a call.
    #[inline]
    fn is_outside(&self) -> Result<()> {
        // SAFETY: the head lives as long as the thread, which alone writes to it.
        if unsafe { (&raw const (*self.head).list_op_pending).read_volatile() }.is_null() {
            Ok(())
        } else {
            Err(Error::Reentrant)
        }
    }
}

/// How many words a thread can have on its list: the kernel looks at 2048 (ROBUST_LIST_LIMIT), and some may be the program's own.
const MAX_LINKED: u32 = 1900;

thread_local! {
    static THREAD: Cell<Thread> = const { Cell::new(NOBODY) };
    /// How many words this module has put on the thread's list.
    static LINKED: Cell<u32> = const { Cell::new(0) };
}

/// How often this process, counted with its ancestors, is the child in a fork.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// Changes when the process becomes another one by fork: what was noted for the parent does not hold for the child.
///
/// They are counted from this process's first [`Call`] on, or from [`watch_forks`].
#[inline]
pub(crate) fn forks() -> u32 {
    FORKS.load(Relaxed)
}

extern "C" fn in_forked_child() {
    // The child has a thread id of its own. The C library has emptied its robust list.
    THREAD.set(NOBODY);
    LINKED.set(0);
    obey_barriers_as_parent();
    FORKS.fetch_add(1, Relaxed);
}

/// From here on [`forks`] counts.
pub(crate) fn watch_forks() {
    // Not a `Once`: a signal handler may come here while it is being called.
    static WATCHING: AtomicBool = AtomicBool::new(false);
    if !WATCHING.load(Relaxed) {
        // SAFETY: the handler only touches thread-local cells and atomics, and makes a system call, which is allowed in a forked
        // child. Twice is no harm.
        unsafe { libc::pthread_atfork(None, None, Some(in_forked_child)) };
        WATCHING.store(true, Relaxed);
    }
}

#[inline]
fn this_thread() -> Result<Thread> {
    let thread = THREAD.get();
    if thread.tid != 0 { Ok(thread) } else { meet_thread() }
}

#[cold]
fn meet_thread() -> Result<Thread> {
    /// The pid namespace in which this process, or its parent before a fork, first made a call, plus one; 0: none has.
    static NAMESPACE: AtomicU64 = AtomicU64::new(0);
    watch_forks();
    let here = u64::from(me().namespace) + 1;
    if NAMESPACE.compare_exchange(0, here, Relaxed, Relaxed).is_err_and(|there| there != here) {
        let why =
            "this process was forked into another pid namespace than its parent's, where the thread ids in locks mean nothing";
        return Err(Error::Unsupported(why.into()));
    }
    let mut head: *mut RobustListHead = null_mut();
    let mut len = 0usize;
    // SAFETY: the kernel fills in both places.
    let result = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut len) };
    if result != 0 || head.is_null() || len != size_of::<RobustListHead>() {
        let why = "this thread has no robust list (get_robust_list(2)); glibc registers one for every thread";
        return Err(Error::Unsupported(why.into()));
    }
    // SAFETY: gettid has no preconditions.
    let tid = unsafe { libc::gettid() }.unsigned_abs();
    let program = me().identity;
    // In a child whose fork is not known yet (a signal handler that comes between the two, `_Fork(3)`) it is the parent's, which has no
    // such thread.
    let is_known = program.pid() == std::process::id();
    let loses_its_id = (is_known && tid != program.pid()).then(|| ThreadOf::new(tid, program));
    let thread = Thread { head, tid, linked: LINKED.with(std::ptr::from_ref), loses_its_id };
    THREAD.set(thread);
    Ok(thread)
}

/// While it lives, this thread is not cancelled (`pthread_cancel(3)`): some system calls are places where a C library ends a
/// thread, which it cannot do through frames of Rust. The thread ends after the call. (`futex(2)` is no such place, nor is what
/// needs no system call.)
pub(crate) struct Uncancelled {
    before: libc::c_int,
}

// `pthread.h`, which libc does not have all of.
unsafe extern "C" {
    safe fn pthread_setcancelstate(state: libc::c_int, before: &mut libc::c_int) -> libc::c_int;
}
const PTHREAD_CANCEL_DISABLE: libc::c_int = 1;

impl Uncancelled {
    pub(crate) fn new() -> Self {
        let mut before = 0;
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &mut before);
        Self { before }
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        pthread_setcancelstate(self.before, &mut 0);
    }
}

/// Who knows of an object's lock words whether their owners are gone.
pub(crate) trait Owners {
    /// Whether the thread is known to be gone that stands in a word as `owner`.
    fn is_gone(&self, owner: u32) -> bool;

    /// Whether a thread is known to be gone, whoever has its id now.
    fn has_left(&self, _thread: ThreadOf) -> bool {
        false
    }

    /// Whether a process is known to be gone, or to have become another program.
    fn is_over(&self, _program: Identity) -> bool {
        false
    }

    /// A call goes to sleep since another one has a lock.
    fn waits(&self) {}

    /// It was woken.
    fn is_woken(&self) {}
}

/// The owners in words that hold thread ids of this pid namespace.
struct Neighbours;

impl Owners for Neighbours {
    fn is_gone(&self, owner: u32) -> bool {
        thread_is_gone(owner)
    }
}

/// While it lives, this thread is inside a call, and the kernel knows which lock word it works on.
pub(crate) struct Call<'a> {
    thread: Thread,
    /// How this thread stands in the words that it owns.
    owner: u32,
    owners: &'a dyn Owners,
    /// Whether it has waited, and counted that.
    has_waited: Cell<bool>,
}

impl<'a> Call<'a> {
    /// Enters a call that works on `word`.
    ///
    /// # Errors
    ///
    /// `Reentrant` where this thread is inside a call already, which a signal handler interrupted.
    #[inline]
    pub(crate) fn enter(word: &AtomicU32) -> Result<Self> {
        Self::enter_among(word, &Neighbours)
    }

    /// As [`Call::enter`], on a word whose owners may also be others.
    #[inline]
    pub(crate) fn enter_among(word: &AtomicU32, owners: &'a dyn Owners) -> Result<Self> {
        let thread = this_thread()?;
        thread.is_outside()?;
        let call = Self { thread, owner: thread.tid, owners, has_waited: Cell::new(false) };
        call.turn_to(word);
        Ok(call)
    }

    /// As [`Call::enter`], of a thread that has made a call before; None where it has not, or is inside one.
    ///
    /// For the shortest ways through this library: a `Result` with all that an error may say goes through memory, is written in
    /// small pieces and read in large ones, and then a processor waits until its earlier stores have left it, those to shared
    /// memory among them.
    #[inline]
    pub(crate) fn enter_simply(word: &AtomicU32) -> Option<Self> {
        Self::enter_simply_among(word, &Neighbours)
    }

    /// As [`Call::enter_simply`], on a word whose owners may also be others.
    #[inline]
    pub(crate) fn enter_simply_among(word: &AtomicU32, owners: &'a dyn Owners) -> Option<Self> {
        let thread = THREAD.get();
        // SAFETY: as in `is_outside`, for a thread that has made a call.
        if thread.tid == 0 || !unsafe { (&raw const (*thread.head).list_op_pending).read_volatile() }.is_null() {
            return None;
        }
        let call = Self { thread, owner: thread.tid, owners, has_waited: Cell::new(false) };
        call.turn_to(word);
        Some(call)
    }

    /// Enters a call of a thread that stands as `owner` in the words it owns, which is not its id: the kernel does not see to them.
    ///
    /// It must not know of them either: to the kernel, a word is this thread's if the id in it is, and in such words it may be that of a
    /// thread in another pid namespace.
    ///
    /// # Errors
    ///
    /// As [`Call::enter`].
    pub(crate) fn enter_unseen(owner: u32, owners: &'a dyn Owners) -> Result<Self> {
        /// Nobody's, and of this process alone.
        static NOWHERE: AtomicU32 = AtomicU32::new(0);
        let thread = this_thread()?;
        thread.is_outside()?;
        let call = Self { thread, owner, owners, has_waited: Cell::new(false) };
        call.point_at(call.node(&NOWHERE));
        Ok(call)
    }

    /// Enters a call that works on no word.
    ///
    /// # Errors
    ///
    /// As [`Call::enter`].
    pub(crate) fn enter_nowhere() -> Result<Self> {
        Self::enter_unseen(0, &Neighbours)
    }

    /// Whether the kernel sees to the words that this thread owns.
    #[inline]
    pub(crate) fn is_seen(&self) -> bool {
        self.owner == self.thread.tid
    }

    /// The calling thread's id.
    #[inline]
    pub(crate) fn tid(&self) -> u32 {
        self.thread.tid
    }

    /// How the calling thread stands in the words it owns.
    #[inline]
    pub(crate) fn owner(&self) -> u32 {
        self.owner
    }

    /// Whether the thread is known to be gone that stands in a word as `owner`.
    pub(crate) fn is_gone(&self, owner: u32) -> bool {
        self.owners.is_gone(owner)
    }

    /// As [`Owners::has_left`].
    pub(crate) fn has_left(&self, thread: ThreadOf) -> bool {
        self.owners.has_left(thread)
    }

    /// As [`Owners::is_over`].
    pub(crate) fn is_over(&self, program: Identity) -> bool {
        self.owners.is_over(program)
    }

    /// The calling thread, if exec takes its id away before the kernel sees to the words that it owns.
    #[inline]
    pub(crate) fn loses_its_id(&self) -> Option<ThreadOf> {
        if self.is_seen() { self.thread.loses_its_id } else { None }
    }

    /// It is about to sleep: says whether it does so for the first time.
    pub(crate) fn begins_to_wait(&self) -> bool {
        !self.has_waited.replace(true)
    }

    /// It goes to sleep since another call has a lock.
    pub(crate) fn waits(&self) {
        if self.begins_to_wait() {
            self.owners.waits();
        }
    }

    /// It was woken.
    pub(crate) fn is_woken(&self) {
        self.owners.is_woken();
    }

    /// From here on the call works on `word`. It must not own the word that it worked on before.
    #[inline]
    pub(crate) fn turn_to(&self, word: &AtomicU32) {
        if self.is_seen() {
            self.point_at(self.node(word));
        }
    }

    /// Where the list node of `word` lies: in front of or behind it, as the C library of this process has it.
    #[inline]
    fn node(&self, word: &AtomicU32) -> *mut Node {
        // SAFETY: the head lives as long as the thread.
        let offset = unsafe { (*self.thread.head).futex_offset } as isize;
        word.as_ptr().cast::<u8>().wrapping_offset(-offset).cast()
    }

    /// How many words are on this thread's list.
    #[inline]
    fn linked(&self) -> &Cell<u32> {
        // SAFETY: it is this thread's own, and lives as long as the thread.
        unsafe { &*self.thread.linked }
    }

    /// Whether [`Call::link`] can be called.
    ///
    /// # Errors
    ///
    /// `LimitReached` where this thread has as many words on its list as the kernel would see to; `Unsupported` where its C library
    /// puts the node of a word elsewhere than into the [`LINKS_LEN`] bytes behind it, less the first 4.
    #[inline]
    pub(crate) fn can_link(&self) -> Result<()> {
        if self.can_link_simply() { Ok(()) } else { self.cannot_link() }
    }

    /// Whether [`Call::can_link`] says yes at once.
    #[inline]
    pub(crate) fn can_link_simply(&self) -> bool {
        // SAFETY: the head lives as long as the thread.
        let offset = unsafe { (*self.thread.head).futex_offset };
        (-32..=-16).contains(&offset) & (self.linked().get() < MAX_LINKED)
    }

    /// Whether [`Call::link`] can be called for a stranger's two words: as [`Call::can_link`], and their links lie as glibc has them.
    pub(crate) fn can_link_two(&self) -> Result<()> {
        // SAFETY: the head lives as long as the thread.
        let offset = unsafe { (*self.thread.head).futex_offset };
        if offset == -32 && self.linked().get() + 1 < MAX_LINKED { Ok(()) } else { self.cannot_link() }
    }

    #[cold]
    fn cannot_link(&self) -> Result<()> {
        if self.linked().get() < MAX_LINKED {
            return Err(Error::Unsupported("this C library keeps its robust list in a way that rsipc does not know".into()));
        }
        self.unlink_strays();
        if self.linked().get() < MAX_LINKED {
            return Ok(());
        }
        Err(Error::LimitReached(format!("a thread can hold {MAX_LINKED} mutexes at a time")))
    }

    /// Takes off this thread's list what other threads could not ([`unlink_later`]).
    pub(crate) fn unlink_strays(&self) {
        let Some(mut strays) = STRAYS.try_lock() else { return };
        strays.retain_mut(|stray| {
            // SAFETY: what the stray keeps keeps the word mapped.
            let word = unsafe { stray.word.as_ref() };
            let owner = word.load(Relaxed) & TID;
            if stray.forks == forks() && truncation::check(word).is_err() {
                if stray.tid == self.tid() {
                    // SAFETY: as below.
                    unsafe { self.unlink(word) };
                }
                // Nobody can tell whether that thread still has it.
                std::mem::forget(std::mem::replace(&mut stray.keeps, Box::new(())));
                return false;
            }
            if stray.forks != forks() || owner != stray.tid {
                // It was a thread of the parent's, or has ended: no list of this process leads here any more.
                return false;
            }
            if stray.tid != self.tid() {
                return true;
            }
            // SAFETY: this thread linked it, as `unlink_later` was promised.
            if !unsafe { self.unlink(word) } {
                std::mem::forget(std::mem::replace(&mut stray.keeps, Box::new(())));
            }
            word.fetch_and(!TID, Relaxed);
            false
        });
    }

    #[inline]
    fn point_at(&self, node: *mut Node) {
        // The kernel reads the pointer when this very thread has stopped running, so program order is enough: the compiler must
        // not move accesses to the lock words across it.
        compiler_fence(SeqCst);
        // SAFETY: the head lives as long as the thread, which alone writes to it.
        unsafe { (&raw mut (*self.thread.head).list_op_pending).write_volatile(node) };
        compiler_fence(SeqCst);
    }

    /// Puts a word that this thread owns on its robust list, so that the kernel still sees to it after the call.
    ///
    /// # Safety
    ///
    /// [`Call::can_link`] said yes. The word is followed by [`LINKS_LEN`] writable bytes kept for this, aligned to 8, stays
    /// mapped until [`Call::unlink`], and is not on the list yet.
    #[inline]
    pub(crate) unsafe fn link(&self, word: &AtomicU32) {
        let (head, node) = (self.thread.head, self.node(word));
        // SAFETY: head and nodes belong to this thread; a node is where the caller promised room for it. glibc and musl keep the
        // pointer to the previous node right before `next`, and the lowest bit of a pointer marks a priority-inheriting mutex.
        unsafe {
            let first = (*head).list;
            set_prev(node, head.cast());
            (&raw mut (*node).next).write_unaligned(first);
            if untagged(first) != head.cast() {
                set_prev(untagged(first), node);
            }
            compiler_fence(SeqCst);
            (&raw mut (*head).list).write_volatile(node);
            compiler_fence(SeqCst);
        }
        self.linked().set(self.linked().get() + 1);
    }

    /// Takes a word off this thread's robust list. False where the links were lost, with the memory that they were in
    /// (`sys::truncation`): then what is there in its place must stay mapped for good, since those of other words may lead there.
    ///
    /// # Safety
    ///
    /// This thread put it there with [`Call::link`], at this address.
    #[inline]
    pub(crate) unsafe fn unlink(&self, word: &AtomicU32) -> bool {
        let (head, node) = (self.thread.head, self.node(word));
        // SAFETY: as in `link`; the nodes beside this one belong to locks that this thread holds.
        unsafe {
            let next = (&raw const (*node).next).read_unaligned();
            let prev = prev_of(node);
            if next.is_null() || prev.is_null() {
                unlink_lost(head, node, next);
                return false;
            }
            compiler_fence(SeqCst);
            if untagged(prev) == head.cast() {
                (&raw mut (*head).list).write_volatile(next);
            } else {
                (&raw mut (*untagged(prev)).next).write_unaligned(next);
            }
            if untagged(next) != head.cast() {
                set_prev(untagged(next), prev);
            }
            compiler_fence(SeqCst);
        }
        self.linked().set(self.linked().get().saturating_sub(1));
        true
    }
}

impl Drop for Call<'_> {
    #[inline]
    fn drop(&mut self) {
        self.point_at(null_mut());
    }
}

/// Takes a node off this thread's list whose links are not both there: its `next` if that is, and the end of the list if not.
///
/// # Safety
///
/// As for [`Call::unlink`].
#[cold]
unsafe fn unlink_lost(head: *mut RobustListHead, node: *mut Node, next: *mut Node) {
    let next = if next.is_null() { head.cast() } else { next };
    // SAFETY: all nodes on the list belong to locks that this thread holds, or to what stays in the place of such.
    unsafe {
        let mut link = &raw mut (*head).list;
        // The kernel goes no further, either.
        for _ in 0..2048 {
            let at = link.read_unaligned();
            if untagged(at) == node {
                link.write_unaligned(next);
                if untagged(next) != head.cast() {
                    set_prev(untagged(next), link.cast());
                }
                break;
            }
            if untagged(at).is_null() || untagged(at) == head.cast() {
                break;
            }
            link = &raw mut (*untagged(at)).next;
        }
    }
    LINKED.set(LINKED.get().saturating_sub(1));
}

/// The bytes behind a lock word in which the C libraries' list nodes fall: glibc's `next` is 32 bytes behind the word, musl's 28;
/// the pointer to the previous node is before it. The first 4 bytes are not used.
pub(crate) const LINKS_LEN: usize = 36;

/// A word on the list of a thread that did not let go of it itself.
struct Stray {
    forks: u32,
    /// The thread.
    tid: u32,
    word: NonNull<AtomicU32>,
    /// Keeps the word mapped.
    keeps: Box<dyn Send>,
}

// SAFETY: the word is an atomic, and stays mapped.
unsafe impl Send for Stray {}

static STRAYS: Mutex<Vec<Stray>> = Mutex::new(Vec::new());

/// The owner's thread id in a word.
const TID: u32 = libc::FUTEX_TID_MASK;

/// Leaves it to the thread `tid` to take `word` off its list, when it has reason to ([`Call::unlink_strays`]).
///
/// # Safety
///
/// That thread owns the word and has it on its list, and `keeps` keeps it mapped.
pub(crate) unsafe fn unlink_later(tid: u32, word: &AtomicU32, keeps: Box<dyn Send>) {
    let stray = Stray { forks: forks(), tid, word: NonNull::from(word), keeps };
    // In a child of fork it may be held by a thread that does not exist there. Then the word stays mapped for good.
    match STRAYS.try_lock_for(Duration::from_millis(100)) {
        Some(mut strays) => strays.push(stray),
        None => std::mem::forget(stray),
    }
}

fn untagged(node: *mut Node) -> *mut Node {
    node.map_addr(|addr| addr & !1)
}

/// # Safety
///
/// The node is one of a lock held by this thread.
unsafe fn set_prev(node: *mut Node, prev: *mut Node) {
    // SAFETY: the caller's promise; the field lies right before `next`.
    unsafe { node.cast::<*mut Node>().sub(1).write_unaligned(prev) };
}

/// # Safety
///
/// As `set_prev`.
unsafe fn prev_of(node: *mut Node) -> *mut Node {
    // SAFETY: the caller's promise; the field lies right before `next`.
    unsafe { node.cast::<*mut Node>().sub(1).read_unaligned() }
}
