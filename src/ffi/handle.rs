//! What a handle of C points to: a cell that outlives its object for a while, so that a closed handle can be told.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize};

use crate::direct::inner::Inside;
use crate::error::{Error, Result};
use crate::ffi::{Out, ipc_endpoint, ipc_mutex, ipc_queue, ipc_region, ipc_request, ipc_semaphore, null};
use crate::sys::thread::{Call, Uncancelled};
use crate::{Endpoint, Message, Mutex, Queue, Region, Semaphore};

/// A request, which any thread may reply to.
pub(super) type Request = parking_lot::Mutex<Message>;

/// What a handle of any kind points to.
struct Cell {
    /// OPEN, or CLOSED for good.
    state: AtomicU32,
    /// There while the state is OPEN.
    object: UnsafeCell<MaybeUninit<Object>>,
}

/// The states of `Cell::state`.
const OPEN: u32 = u32::from_le_bytes(*b"open");
const CLOSED: u32 = u32::from_le_bytes(*b"shut");

#[allow(clippy::large_enum_variant, reason = "a process has few handles, and a call follows one pointer less")]
pub(super) enum Object {
    Region(Region),
    Mutex(Mutex),
    Semaphore(Semaphore),
    Queue(Queue),
    Endpoint(Endpoint),
    Request(Request),
}

const _: () = {
    const fn used_by_all_threads<T: Send + Sync>() {}
    used_by_all_threads::<Object>();
};

/// An opaque structure of C, and the object that it stands for.
pub(super) trait Handle: Sized {
    type Object;
    const KIND: &str;
    fn wrap(object: Self::Object) -> Object;
    fn unwrap(object: &Object) -> Option<&Self::Object>;
}

macro_rules! handles {
    ($($handle:ident: $kind:ident, $word:literal;)*) => { $(
        impl Handle for $handle {
            type Object = $kind;
            const KIND: &str = $word;
            fn wrap(object: $kind) -> Object {
                Object::$kind(object)
            }
            #[inline]
            fn unwrap(object: &Object) -> Option<&$kind> {
                match object {
                    Object::$kind(object) => Some(object),
                    _ => None,
                }
            }
        }
    )* };
}
handles! {
    ipc_region: Region, "region";
    ipc_mutex: Mutex, "mutex";
    ipc_semaphore: Semaphore, "semaphore";
    ipc_queue: Queue, "queue";
    ipc_endpoint: Endpoint, "endpoint";
    ipc_request: Request, "request";
}

/// A handle of an object that is C's from now on.
pub(super) fn new<H: Handle>(object: H::Object) -> *mut H {
    let object = UnsafeCell::new(MaybeUninit::new(H::wrap(object)));
    Box::into_raw(Box::new(Cell { state: AtomicU32::new(OPEN), object })).cast()
}

/// Makes an object, and puts a handle of it into `*out`; NULL where that fails.
///
/// # Safety
///
/// `out` is as the header says.
pub(super) unsafe fn put<H: Handle>(out: *mut *mut H, make: impl FnOnce() -> Result<H::Object>) -> Result<()> {
    // SAFETY: the caller's promise.
    let out = unsafe { Out::new(out, "out", null_mut()) }?;
    let _uncancelled = Uncancelled::new();
    out.set(new(make()?));
    Ok(())
}

/// [`put`], for an object in a region.
///
/// # Safety
///
/// The pointers are as the header says.
pub(super) unsafe fn put_in<H: Handle>(
    out: *mut *mut H,
    region: *const ipc_region,
    make: impl FnOnce(&Region) -> Result<H::Object>,
) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe { put(out, || make(get(region)?)) }
}

/// The object behind a handle.
///
/// # Safety
///
/// `handle` is null, or was made by [`new`], and is not closed by another thread during `'a`.
#[inline]
pub(super) unsafe fn get<'a, H: Handle>(handle: *const H) -> Result<&'a H::Object> {
    // SAFETY: the caller's promise.
    let object = unsafe { object(handle.cast(), H::KIND) }?;
    H::unwrap(object).ok_or_else(|| no_handle(H::KIND))
}

/// The object behind a handle of any kind.
///
/// # Safety
///
/// As for [`get`].
pub(super) unsafe fn any<'a>(handle: *const c_void) -> Result<&'a Object> {
    // SAFETY: the caller's promise.
    unsafe { object(handle.cast(), "handle") }
}

/// The object in a cell.
///
/// # Safety
///
/// As for [`get`].
#[inline]
unsafe fn object<'a>(cell: *const Cell, kind: &str) -> Result<&'a Object> {
    if cell.is_null() {
        return Err(null(kind));
    }
    // SAFETY: the caller's promise; a cell that is closed is still one for a while.
    match unsafe { (*cell).state.load(Acquire) } {
        OPEN => {}
        CLOSED => return Err(closed()),
        _ => return Err(Error::invalid("this is no handle")),
    }
    // SAFETY: it is open.
    Ok(unsafe { (*(*cell).object.get()).assume_init_ref() })
}

/// Closes a handle, and drops the object.
///
/// # Safety
///
/// As for [`get`], and no other thread uses the handle.
pub(super) unsafe fn close<H: Handle>(handle: *mut H) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe { get(handle) }?;
    // Objects take locks of this process at their end, for which a signal handler that interrupted their holder would wait for ever.
    let _inside = Inside::enter()?;
    // A thread that can make no call at all closes its handles all the same.
    if let Err(Error::Reentrant) = Call::enter_nowhere() {
        return Err(Error::Reentrant);
    }
    let _uncancelled = Uncancelled::new();
    let cell = handle.cast::<Cell>();
    // SAFETY: `get` saw a cell. Its object is dropped by the one who closes it.
    unsafe {
        if (*cell).state.compare_exchange(OPEN, CLOSED, AcqRel, Relaxed).is_err() {
            return Err(closed());
        }
        (*(*cell).object.get()).assume_init_drop();
        bury(cell);
    }
    Ok(())
}

/// Keeps the cell of a closed handle, so that its memory is not used anew before as many others were closed as there are graves.
///
/// # Safety
///
/// The cell came from [`new`] and was just closed.
unsafe fn bury(cell: *mut Cell) {
    const GRAVES: usize = 64;
    static CLOSED: [AtomicPtr<Cell>; GRAVES] = [const { AtomicPtr::new(null_mut()) }; GRAVES];
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // AcqRel: with itself, for what is in the cell.
    let old = CLOSED[NEXT.fetch_add(1, Relaxed) % GRAVES].swap(cell, AcqRel);
    if !old.is_null() {
        // SAFETY: it came from a box, and whoever takes it out of its grave owns it. Its object is gone already.
        drop(unsafe { Box::from_raw(old) });
    }
}

#[cold]
fn closed() -> Error {
    Error::invalid("this handle has been closed")
}

#[cold]
fn no_handle(kind: &str) -> Error {
    let article = if kind == ipc_endpoint::KIND { "an" } else { "a" };
    Error::invalid(format!("this is not the handle of {article} {kind}"))
}
