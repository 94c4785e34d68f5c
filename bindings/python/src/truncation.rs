//! Files that are cut short under us.

use pyo3::prelude::*;

use crate::wait::call;

/// Lets this process survive that the file of an object is cut short while it has it open.
///
/// Touching memory of a file that another process has truncated raises SIGBUS, which ends a process. From this call on, where that
/// happens inside an object of this package, also when the program uses a memoryview of a Region, the rest of that object's memory
/// is replaced with zeros that only this process sees, and the access goes on. Calls on the object and on all that is placed in it
/// raise Corrupted from then on, as does the one that met it; those that wait notice within 100 ms. Close such an object, and open
/// or create it anew. The same goes where the file system is full and another process has taken memory away that the object had, or
/// said in an object that there is memory where there is none.
///
/// It installs a handler for SIGBUS in the whole process, below Python's own handlers. Every other SIGBUS goes to the handler that was
/// there before, or does what SIGBUS does by default. So call it once, early, but after others that handle SIGBUS have installed
/// theirs, such as faulthandler.enable(): one that is installed later replaces it. Further calls do nothing. Children of os.fork
/// inherit it, programs started by exec do not.
///
/// What it cannot help: system calls that are given such memory fail with EFAULT; a thread that has blocked SIGBUS is ended by the
/// kernel; and of a thread that dies while it holds a mutex whose memory is gone, neither that mutex nor those that it locked before
/// are given to the next owner.
///
/// Raises errors of the system.
#[pyfunction]
pub(crate) fn catch_truncation(py: Python<'_>) -> PyResult<()> {
    call(py, rsipc::catch_truncation)
}
