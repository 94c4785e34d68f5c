//! Messages that are written and read where they lie.

use std::ffi::c_int;
use std::mem::transmute;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rsipc::{Error, MessageView as RustView, NotSent, Queue};

use crate::args;
use crate::errors::{Doing, exception};
use crate::wait::wait;

/// Something of the queue's that buffers are given out of. It is given back when its user has ended it, and the last buffer is gone.
struct Lent<T> {
    /// None once it is sent, or given back; while it is being sent, too.
    object: Option<T>,
    /// How many buffers of it there are.
    exports: usize,
    /// Its user has ended it.
    over: bool,
}

impl<T> Lent<T> {
    fn new(object: T) -> Mutex<Self> {
        Mutex::new(Self { object: Some(object), exports: 0, over: false })
    }

    /// What its user still has.
    fn open(&self) -> Option<&T> {
        self.object.as_ref().filter(|_| !self.over)
    }

    /// What is to be dropped now that its user has ended it.
    fn end(&mut self) -> Option<T> {
        self.over = true;
        self.object.take_if(|_| self.exports == 0)
    }

    /// What is to be dropped now that one buffer less is there.
    fn unexport(&mut self) -> Option<T> {
        self.exports -= 1;
        let over = self.over && self.exports == 0;
        self.object.take_if(|_| over)
    }
}

fn lock<T>(lent: &Mutex<Lent<T>>) -> MutexGuard<'_, Lent<T>> {
    lent.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fills a buffer with the bytes that `bytes` gives.
///
/// # Safety
///
/// `view` is as the interpreter says, and the bytes are there while there are exports.
unsafe fn export<T>(
    object: &Bound<'_, PyAny>,
    lent: &Mutex<Lent<T>>,
    (view, flags): (*mut ffi::Py_buffer, c_int),
    read_only: bool,
    bytes: impl FnOnce(&mut T) -> (*mut u8, usize),
) -> PyResult<()> {
    if view.is_null() {
        return Err(PyBufferError::new_err("there is no buffer to be filled"));
    }
    // SAFETY: the caller's promise; without an owner the buffer counts as not filled.
    unsafe { (*view).obj = null_mut() };
    let mut lent = lock(lent);
    if lent.open().is_none() {
        return Err(PyBufferError::new_err(
            "it has no bytes any more: it was sent, given back or released before, or is being sent",
        ));
    }
    let (start, len) = bytes(lent.object.as_mut().expect("it is open"));
    let len = ffi::Py_ssize_t::try_from(len).expect("mapped memory is not longer than isize");
    // SAFETY: the caller's promise.
    match unsafe { ffi::PyBuffer_FillInfo(view, object.as_ptr(), start.cast(), len, c_int::from(read_only), flags) } {
        0 => {
            lent.exports += 1;
            Ok(())
        }
        _ => Err(PyErr::fetch(object.py())),
    }
}

/// Memory of a queue, lent to be filled with a message and sent, without a copy: Queue.loan returns it.
///
/// It has the buffer protocol: memoryview(loan), numpy.frombuffer(memoryview(loan), dtype=...) work on the queue's own memory, which begins
/// at a multiple of 64 (of 4096 in a queue for messages of more than 4096 bytes). Its bytes are at first whatever an earlier message left
/// there.
///
/// `with queue.loan(n) as loan:` gives the memory back at the end of the block if the block has not sent it; nothing is sent
/// then. So does the end of the process. Any thread may use it. A child of fork has none of its parent's loans. A loan keeps the
/// queue open, also after its handle was closed.
#[pyclass(frozen, module = "rsipc")]
pub(crate) struct Loan {
    lent: Mutex<Lent<rsipc::Loan<'static>>>,
    /// What the loan borrows. The last field, because fields are dropped in their order.
    _queue: Arc<Queue>,
}

impl Loan {
    pub(crate) fn of(queue: &Arc<Queue>, loan: rsipc::Loan<'_>) -> Self {
        let queue = Arc::clone(queue);
        // SAFETY: the `Arc` beside it keeps the queue, whose address does not change, until the loan has been dropped.
        let loan = unsafe { transmute::<rsipc::Loan<'_>, rsipc::Loan<'static>>(loan) };
        Self { lent: Lent::new(loan), _queue: queue }
    }

    /// Takes the loan to change or send it, which is only possible while no buffer of it is in use.
    fn take(&self, py: Python<'_>) -> PyResult<rsipc::Loan<'static>> {
        let mut lent = lock(&self.lent);
        if lent.open().is_none() {
            return Err(exception(
                py,
                &Error::NotOwner("the loan is over: it was sent or given back before, or is being sent"),
                Doing::Other,
            ));
        }
        if lent.exports != 0 {
            return Err(PyBufferError::new_err(
                "an array or memoryview of this loan is still in use, through which a message could be changed after it was sent: delete it \
                 (del, memoryview.release()) before",
            ));
        }
        Ok(lent.object.take().expect("it is open"))
    }

    /// Puts back what was taken; gives what is to be dropped, if it was ended meanwhile.
    fn put_back(&self, loan: rsipc::Loan<'static>) -> Option<rsipc::Loan<'static>> {
        let mut lent = lock(&self.lent);
        lent.object = Some(loan);
        if lent.over { lent.end() } else { None }
    }
}

#[pymethods]
impl Loan {
    /// Sends the message, and waits for room (in a rendezvous, for a receiver that takes it) `timeout` seconds: None is for ever, 0 not at
    /// all. Nothing is copied. The bytes are not the program's any more then.
    ///
    /// Raises BufferError while an array or memoryview of it is in use; otherwise what Queue.send raises, and NotOwner where the loan is
    /// over, and in a child of fork. Nothing is sent then, and the loan can be sent again.
    #[pyo3(signature = (timeout=None))]
    fn send(&self, py: Python<'_>, #[pyo3(from_py_with = args::timeout)] timeout: Option<Duration>) -> PyResult<()> {
        let mut loan = Some(self.take(py)?);
        let sent = wait(py, timeout, Doing::Send, |time| {
            let attempt = loan.take().expect("it was put back").send_timeout(time);
            attempt.map_err(|NotSent { loan: unsent, error }| {
                loan = Some(unsent);
                error
            })
        });
        drop(loan.and_then(|unsent| self.put_back(unsent)));
        sent
    }

    /// Sends the message if there is room (in a rendezvous, if a receiver waits for one at this moment): send(timeout=0).
    fn try_send(&self, py: Python<'_>) -> PyResult<()> {
        self.send(py, Some(Duration::ZERO))
    }

    /// Makes it shorter: the message will be its first `size` bytes. Does nothing where it is not longer.
    ///
    /// Raises BufferError while an array or memoryview of it is in use; NotOwner where the loan is over.
    #[pyo3(signature = (size))]
    fn truncate(&self, py: Python<'_>, #[pyo3(from_py_with = args::size)] size: usize) -> PyResult<()> {
        let mut loan = self.take(py)?;
        loan.truncate(size);
        drop(self.put_back(loan));
        Ok(())
    }

    /// Gives the memory back; nothing is sent. It stays lent while an array or memoryview of it is in use. Does nothing where the loan is
    /// over.
    fn release(&self) {
        let ended = lock(&self.lent).end();
        drop(ended);
    }

    /// # Safety
    ///
    /// Called by the interpreter, with a `Py_buffer` to be filled.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        // SAFETY: the caller's promise; it stays lent while there are exports.
        unsafe { export(slf.as_any(), &slf.get().lent, (view, flags), false, |loan| (loan.as_mut_ptr(), loan.len())) }
    }

    /// # Safety
    ///
    /// Called by the interpreter, for a buffer that was filled.
    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        let ended = lock(&self.lent).unexport();
        drop(ended);
    }

    fn __len__(&self) -> usize {
        lock(&self.lent).open().map_or(0, rsipc::Loan::len)
    }

    /// A loan is true also where it has no bytes.
    fn __bool__(&self) -> bool {
        true
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyTuple>) {
        self.release();
    }

    fn __repr__(&self) -> String {
        match lock(&self.lent).open() {
            Some(loan) => format!("<rsipc loan of {} bytes>", loan.len()),
            None => "<rsipc loan (over)>".into(),
        }
    }
}

/// A message that was received, and is read where it lies, without a copy: Queue.recv_view returns it.
///
/// It has the buffer protocol, read-only: memoryview(view), numpy.frombuffer(memoryview(view), dtype=...) and bytes(view), which copies.
/// The message is gone from the queue, as after recv; its memory is this process's until the view is released, and no array or memoryview
/// of it is in use any more. Any number of views can be held at the same time, as far as there is memory.
///
/// What lies where: a message that was sent by a loan, one that is longer than 4096 bytes in a queue with a capacity, and any message in a
/// rendezvous, is read in the queue's memory. Any other one was short when it was sent, or lay in the backlog of an unbounded queue, and
/// the view has a copy of it of its own.
///
/// `with queue.recv_view() as view:` releases it at the end of the block. Any thread may use it. In a child of fork its bytes are
/// whatever its parent, and others, make of them. A view keeps the queue open, also after its handle was closed.
#[pyclass(frozen, module = "rsipc")]
pub(crate) struct MessageView {
    lent: Mutex<Lent<RustView<'static>>>,
    /// What the view borrows. The last field, because fields are dropped in their order.
    _queue: Arc<Queue>,
}

impl MessageView {
    pub(crate) fn of(queue: &Arc<Queue>, view: RustView<'_>) -> Self {
        let queue = Arc::clone(queue);
        // SAFETY: the `Arc` beside it keeps the queue, whose address does not change, until the view has been dropped.
        let view = unsafe { transmute::<RustView<'_>, RustView<'static>>(view) };
        Self { lent: Lent::new(view), _queue: queue }
    }
}

#[pymethods]
impl MessageView {
    /// Gives the message's memory back, once no array or memoryview of it is in use. Releasing again does nothing.
    fn release(&self) {
        let ended = lock(&self.lent).end();
        drop(ended);
    }

    /// # Safety
    ///
    /// Called by the interpreter, with a `Py_buffer` to be filled.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        // SAFETY: the caller's promise; it is held while there are exports.
        unsafe { export(slf.as_any(), &slf.get().lent, (view, flags), true, |view| (view.as_ptr().cast_mut(), view.len())) }
    }

    /// # Safety
    ///
    /// Called by the interpreter, for a buffer that was filled.
    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        let ended = lock(&self.lent).unexport();
        drop(ended);
    }

    fn __len__(&self) -> usize {
        lock(&self.lent).open().map_or(0, RustView::len)
    }

    /// A view is true also where the message has no bytes.
    fn __bool__(&self) -> bool {
        true
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyTuple>) {
        self.release();
    }

    fn __repr__(&self) -> String {
        match lock(&self.lent).open() {
            Some(view) => format!("<rsipc view of a message of {} bytes>", view.len()),
            None => "<rsipc view of a message (over)>".into(),
        }
    }
}
