//! Files that are cut short while they are mapped: what the signal handler needs to know, and the handler.
//!
//! `mmap(2)`, `sigaction(2)`, `signal-safety(7)`. Who touches a page behind the end of a mapped file, or one for which the file
//! system has no memory left, gets a SIGBUS. [`catch_truncation`] installs a handler that puts zeroed pages of this process alone
//! in the place of the rest of that mapping, so that the access goes on, and notes that it did ([`Registered::is_cut`]). Whoever
//! has used the mapping looks at the note afterwards.
//!
//! The handler finds the mappings in a table that it reads without a lock. An entry has a version, odd while it changes: the handler
//! passes over those, and over any that has changed while it was read. That of the mapping in which the thread was
//! stopped is not one of them: it was there before the mapping was used, and stays until after.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, fence};

use nix::errno::Errno;
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::sys::file::page_size;

/// One mapping, or none.
struct Entry {
    /// Odd while the next two change.
    version: AtomicU32,
    start: AtomicUsize,
    /// 0: the entry is free.
    len: AtomicUsize,
    /// There are other pages in the place of some of its own.
    cut: AtomicBool,
}

static TABLE: boxcar::Vec<Entry> = boxcar::Vec::new();

/// Whether `cut` is set anywhere. It is asked at the end of every call.
static ANY_CUT: AtomicBool = AtomicBool::new(false);

/// What SIGBUS did before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// A mapping that the handler knows, until this is dropped: before the memory is unmapped.
pub(crate) struct Registered(&'static Entry);

impl Registered {
    /// Lets the handler know of the `len` bytes at `start`.
    pub(crate) fn new(start: usize, len: usize) -> Self {
        let free = TABLE.iter().find_map(|(_, entry)| entry.claim().then_some(entry));
        let entry = free.unwrap_or_else(|| {
            let (start, len, cut) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
            let index = TABLE.push(Entry { version: AtomicU32::new(1), start, len, cut });
            &TABLE[index]
        });
        entry.cut.store(false, Relaxed);
        entry.set(start, len);
        Self(entry)
    }

    /// Whether some of it was gone when it was touched, since it was mapped.
    #[inline]
    pub(crate) fn is_cut(&self) -> bool {
        ANY_CUT.load(Relaxed) && self.0.cut.load(Relaxed)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // Nobody else changes an entry that is in use.
        self.0.version.fetch_add(1, Acquire);
        self.0.set(0, 0);
    }
}

impl Entry {
    /// Makes a free entry the caller's to set.
    fn claim(&self) -> bool {
        let version = self.version.load(Acquire);
        version.is_multiple_of(2)
            && self.len.load(Relaxed) == 0
            && self.version.compare_exchange(version, version.wrapping_add(1), Acquire, Relaxed).is_ok()
    }

    /// Sets it, whose version is odd, and makes it valid.
    fn set(&self, start: usize, len: usize) {
        fence(Release);
        self.start.store(start, Relaxed);
        self.len.store(len, Relaxed);
        // Release: with the Acquire in `range`.
        self.version.fetch_add(1, AcqRel);
    }

    /// Where the mapping begins, and where its last page ends; None if there is none, or it is being changed.
    fn range(&self, page: usize) -> Option<(usize, usize)> {
        let version = self.version.load(Acquire);
        let (start, len) = (self.start.load(Relaxed), self.len.load(Relaxed));
        fence(Acquire);
        let is_whole = version.is_multiple_of(2) && self.version.load(Relaxed) == version;
        (is_whole && len != 0).then(|| (start, start + len.next_multiple_of(page)))
    }
}

/// The mapping that an address lies in.
fn entry_at(address: usize, page: usize) -> Option<(&'static Entry, usize)> {
    TABLE.iter().find_map(|(_, entry)| match entry.range(page) {
        Some((start, end)) if (start..end).contains(&address) => Some((entry, end)),
        _ => None,
    })
}

/// What a call says whose object was cut short.
pub(crate) const CUT_SHORT: Error =
    Error::Corrupted("the object's file was cut short, or its file system had no memory left for it");

/// `Corrupted` where the mapping that an address lies in was cut short.
#[inline]
pub(crate) fn check(word: &AtomicU32) -> Result<()> {
    if ANY_CUT.load(Relaxed) && is_cut_at(word) { Err(CUT_SHORT) } else { Ok(()) }
}

#[cold]
fn is_cut_at(word: &AtomicU32) -> bool {
    entry_at(word.as_ptr().addr(), page_size()).is_some_and(|(entry, _)| entry.cut.load(Relaxed))
}

/// How long a page is, for the handler.
static PAGE: AtomicUsize = AtomicUsize::new(0);

/// Lets this process survive that the file of an object is cut short while it has it open.
///
/// Touching memory of a file that another process has truncated raises SIGBUS, which ends a process. From this call on, where
/// that happens inside an object of this library, also to the program's own access to the bytes of a [`Region`](crate::Region),
/// the rest of that object's memory is replaced with zeros that only this process sees, and the access goes on. Calls on the
/// object and on all that is placed in it return [`Error::Corrupted`] from then on, as does the one that met it; those that wait
/// notice within 100 ms. Close such an object, and open or create it anew. The same goes where the file system is full and
/// another process has taken memory away that the object had (`fallocate(2)` with FALLOC_FL_PUNCH_HOLE), or said in an object
/// that there is memory where there is none.
///
/// It installs a handler for SIGBUS in the whole process. Every other SIGBUS goes to the handler that was there before, or does what SIGBUS
/// does by default. So call it once, early, from any thread, but after others that handle SIGBUS have installed theirs: one that
/// is installed later replaces it. Further calls do nothing. Children of fork inherit it, programs started by exec do not.
///
/// What it cannot help: system calls that are given such memory fail with EFAULT; a thread that has blocked SIGBUS is ended by
/// the kernel; and of a thread that dies while it holds a mutex whose memory is gone, neither that mutex nor those that it locked
/// before are given to the next owner.
///
/// ```
/// # fn main() -> rsipc::Result<()> {
/// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-truncation-{}", std::process::id())));
/// use rsipc::{Error, Queue, QueueOptions};
///
/// rsipc::catch_truncation()?;
/// let jobs = Queue::create(namespace.name("jobs"), &QueueOptions::new())?;
/// # use std::fs::OpenOptions;
/// # let file = OpenOptions::new().write(true).open(namespace.dir()?.join("jobs")).unwrap();
/// // Somebody writes over its file with the shell's `>`.
/// file.set_len(0).unwrap();
/// assert!(matches!(jobs.send(b"a job"), Err(Error::Corrupted(_))));
/// # std::fs::remove_dir_all(namespace.dir()?).ok();
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Errors of the system.
pub fn catch_truncation() -> Result<()> {
    static INSTALLED: Mutex<bool> = Mutex::new(false);
    let mut installed = INSTALLED.lock();
    if *installed {
        return Ok(());
    }
    PAGE.store(page_size(), Relaxed);
    let doing = || Error::os(Errno::last_raw(), "installing a handler for SIGBUS");
    // SAFETY: all zeros is a value of it.
    let mut before: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills in what is there.
    if unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut before) } != 0 {
        return Err(doing());
    }
    // What the handler needs is there before the handler is.
    let before = BEFORE.get_or_init(|| before);
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_bus_error;
    let action = libc::sigaction {
        sa_sigaction: handler as usize,
        sa_flags: libc::SA_SIGINFO | libc::SA_ONSTACK | before.sa_flags & (libc::SA_NODEFER | libc::SA_RESTART),
        ..*before
    };
    // SAFETY: the handler keeps to what is allowed in one.
    if unsafe { libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) } != 0 {
        return Err(doing());
    }
    *installed = true;
    Ok(())
}

extern "C" fn on_bus_error(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let errno = Errno::last_raw();
    // SAFETY: the kernel gave it, and of a memory fault it has the address.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr().addr()) };
    let is_ours = code == libc::BUS_ADRERR && cover(address);
    Errno::set_raw(errno);
    if !is_ours {
        pass_on(signal, info, context);
    }
}

/// Puts zeroed pages in the place of those of an object's mapping from `address` on; says whether it did.
fn cover(address: usize) -> bool {
    let page = PAGE.load(Relaxed);
    let Some((entry, end)) = entry_at(address, page) else { return false };
    let start = address / page * page;
    entry.cut.store(true, Relaxed);
    ANY_CUT.store(true, Relaxed);
    let map = |len: usize| {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        // SAFETY: the pages belong to a mapping of ours, of whose bytes nobody expects anything; the thread that faulted keeps it mapped.
        unsafe { libc::syscall(libc::SYS_mmap, start, len, access, flags, -1, 0_i64) != -1 }
    };
    // The system may not promise so much memory.
    map(end - start) || map(page)
}

/// Does with a signal that is none of ours what would have been done without us.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(before) = BEFORE.get() else { return };
    // SAFETY: the kernel gave it.
    let was_sent = unsafe { (*info).si_code } <= 0;
    let by_default = || {
        // SAFETY: all zeros is a value of it, and SIG_DFL.
        let default: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: allowed in a handler.
        unsafe { libc::sigaction(signal, &raw const default, std::ptr::null_mut()) };
    };
    match before.sa_sigaction {
        libc::SIG_IGN if was_sent => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            by_default();
            // A fault happens once more when this returns; what was sent has to be sent again.
            if was_sent {
                // SAFETY: allowed in a handler.
                unsafe { libc::raise(signal) };
            }
        }
        handler => {
            if before.sa_flags & libc::SA_RESETHAND != 0 {
                by_default();
            }
            if before.sa_flags & libc::SA_SIGINFO != 0 {
                // SAFETY: it was installed as a function of this type.
                let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = unsafe { std::mem::transmute(handler) };
                handler(signal, info, context);
            } else {
                // SAFETY: as above.
                let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
                handler(signal);
            }
        }
    }
}
