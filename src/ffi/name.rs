//! Names
//!
//! A name is 1 to 200 bytes of UTF-8, without slashes and control characters, and does not begin with a
//! dot. It is one in a namespace, a directory on a tmpfs with a file for each object. The default namespace
//! is the directory that the environment variable RSIPC_DIR names, or else /dev/shm/rsipc-UID, which is
//! made on first use and is private to the user: nobody else can open, list, squat on or replace what is in
//! it. Containers, groups of users and tests choose another.
//!
//! An object is created whole: nobody ever opens one that is half made, and a process that dies while it
//! creates one leaves nothing.

use std::ffi::{CString, OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;

use super::error::{call, ipc_result};
use super::{Options, null, options, string};
use crate::error::{Error, Result};
use crate::name::{Entry, Kind, MAX_NAME, Name, Namespace};

/// The longest name, in bytes, without the zero byte at its end.
pub const IPC_MAX_NAME: usize = 200;

/// Where an object's name is, and who may open what is created there. Start from IPC_OPTIONS_INIT and set
/// what is to differ. Functions that take one only read it during the call; NULL is the defaults.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ipc_options {
    /// sizeof(ipc_options): later releases may add fields at the end.
    pub size: usize,
    /// The namespace's directory, or NULL for the default one. It is made (for this user alone) when
    /// something is created in it and it does not exist. Whoever may write to it can replace the objects in
    /// it.
    pub dir: *const c_char,
    /// The permission bits of what is created, whatever the umask is; 0 means 0600. 0660 is for a group,
    /// 0666 for everybody: those who are to use an object need to read and write it. Without effect when
    /// opening.
    pub mode: u32,
    /// Zero.
    pub reserved: u32,
}

// SAFETY: plain numbers and a raw pointer.
unsafe impl Options for ipc_options {
    const NAME: &str = "ipc_options";
    const FIRST_SIZE: usize = 24;
}

/// What an object is.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ipc_kind {
    /// An ipc_region.
    IPC_KIND_REGION = 1,
    /// An ipc_mutex.
    IPC_KIND_MUTEX = 2,
    /// An ipc_semaphore, of either kind.
    IPC_KIND_SEMAPHORE = 3,
    /// An ipc_queue.
    IPC_KIND_QUEUE = 4,
    /// The name of an ipc_endpoint.
    IPC_KIND_ENDPOINT = 5,
}

/// One object in a namespace. Later releases may add fields at the end.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ipc_entry {
    /// Its name. Valid during the callback.
    pub name: *const c_char,
    /// How long its memory is, in bytes.
    pub size: u64,
    /// How much memory it costs now, in bytes.
    pub memory: u64,
    /// What it is.
    pub kind: ipc_kind,
}

/// A function that ipc_list calls, once an object. `user` is what ipc_list was given. It may call any
/// function of this library; it must return (no longjmp, no exception).
pub type ipc_list_callback = Option<unsafe extern "C" fn(entry: *const ipc_entry, user: *mut c_void)>;

/// Takes a name away. Processes that have the object open go on using it; its memory goes with the last of
/// them. A new object of that name is another object. Any thread of any process that may write to the
/// namespace's directory.
///
/// Errors: IPC_ERR_NOT_FOUND where there is none; IPC_ERR_INVALID_ARGUMENT for an impossible name;
/// IPC_ERR_PERMISSION_DENIED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_unlink(name: *const c_char, options: *const ipc_options) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (name, namespace) = unsafe { (string(name, "name")?, namespace(options)?) };
        namespace.unlink(name)
    })
}

/// Calls `callback` for each object in a namespace, sorted by name. Files that are not objects are left
/// out; a namespace that does not exist yet is empty. The list is taken before the first call of
/// `callback`: objects may have come or gone since.
///
/// Errors: IPC_ERR_PERMISSION_DENIED and IPC_ERR_OS when the directory cannot be read;
/// IPC_ERR_INVALID_ARGUMENT for a NULL callback.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_list(options: *const ipc_options, callback: ipc_list_callback, user: *mut c_void) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let namespace = unsafe { namespace(options) }?;
        let callback = callback.ok_or_else(|| null("callback"))?;
        for Entry { name, kind, size, memory } in namespace.list()? {
            let name = CString::new(name).map_err(|_| Error::Corrupted("a name with a zero byte"))?;
            let kind = match kind {
                Kind::Region => ipc_kind::IPC_KIND_REGION,
                Kind::Mutex => ipc_kind::IPC_KIND_MUTEX,
                Kind::Semaphore => ipc_kind::IPC_KIND_SEMAPHORE,
                Kind::Queue => ipc_kind::IPC_KIND_QUEUE,
                Kind::Endpoint => ipc_kind::IPC_KIND_ENDPOINT,
            };
            let entry = ipc_entry { name: name.as_ptr(), size, memory, kind };
            // SAFETY: C promises a function of this type.
            unsafe { callback(&raw const entry, user) };
        }
        Ok(())
    })
}

/// The namespace that options name.
///
/// # Safety
///
/// The pointer is as the header says.
pub(super) unsafe fn namespace(given: *const ipc_options) -> Result<Namespace> {
    // SAFETY: the caller's promise.
    let Some(ipc_options { dir, mode, reserved, .. }) = (unsafe { options(given) })? else {
        return Ok(Namespace::default());
    };
    if reserved != 0 {
        return Err(Error::invalid("the reserved field of ipc_options must be 0, as IPC_OPTIONS_INIT sets it"));
    }
    let namespace = if dir.is_null() {
        Namespace::default()
    } else {
        // SAFETY: the caller's promise.
        let dir = unsafe { std::ffi::CStr::from_ptr(dir) }.to_bytes();
        if dir.is_empty() {
            return Err(Error::invalid("the dir of ipc_options is empty: NULL is the default namespace"));
        }
        Namespace::at(OsStr::from_bytes(dir))
    };
    Ok(if mode == 0 { namespace } else { namespace.mode(mode) })
}

/// Calls `act` with the object's name.
///
/// # Safety
///
/// The pointers are as the header says.
pub(super) unsafe fn named<T>(
    name: *const c_char,
    options: *const ipc_options,
    act: impl FnOnce(Name<'_>) -> Result<T>,
) -> Result<T> {
    // SAFETY: the caller's promise.
    let (name, namespace) = unsafe { (string(name, "name")?, namespace(options)?) };
    act(namespace.name(name))
}

const _: () = assert!(IPC_MAX_NAME == MAX_NAME && ipc_options::FIRST_SIZE == size_of::<ipc_options>());
