//! Short ways through methods that take less time than what PyO3 does around them: it looks at the arguments, counts who is
//! attached, catches panics, and makes an object of the result.
//!
//! Such a method is written among `#[pymethods]` as any other. When the module is made, [`short!`] puts a function of the same
//! name, signature and documentation in its place. That tries the short way, if it was called without arguments; and if this does
//! not lead to the end, it calls PyO3's function for the method, which does it all again: waits, raises, looks at arguments.

use std::ffi::{CStr, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use pyo3::PyClass;
use pyo3::exceptions::PySystemError;
use pyo3::ffi::{self, PyCFunction, PyCFunctionFastWithKeywords, PyMethodDef, PyMethodDefPointer, PyObject};
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;

/// Gives a method a short way: a function of the object that does what the method does, if that is simple, and otherwise says so and has
/// done nothing that would keep the method from doing it.
///
/// `short!(py, Class.method as Convention => way)`, with what else there is to be said in braces, as constants of [`Short`].
macro_rules! short {
    ($py:expr, $class:ident.$method:ident as $convention:ident => $way:path $({ $($constant:item)* })?) => {{
        struct Way;
        impl $crate::short::Short for Way {
            type Class = $class;
            type Convention = $crate::short::$convention;
            const METHOD: &'static str = stringify!($method);
            $($($constant)*)?

            #[inline]
            fn go(object: &$class, py: Python<'_>) -> bool {
                $way(object, py)
            }

            fn method() -> &'static std::sync::OnceLock<Self::Convention> {
                static METHOD: std::sync::OnceLock<$crate::short::$convention> = std::sync::OnceLock::new();
                &METHOD
            }
        }
        $crate::short::shorten::<Way>($py)
    }};
}
pub(crate) use short;

/// A method that has a short way.
pub(crate) trait Short {
    type Class: PyClass<Frozen = True> + Sync;
    type Convention: Convention;
    const METHOD: &'static str;
    /// The short way is for calls with as many arguments, which do not matter.
    const ARGUMENTS: isize = 0;
    /// The method returns its object, and not None.
    const RETURNS_ITSELF: bool = false;

    /// Goes the short way, and says whether that led to the end.
    fn go(object: &Self::Class, py: Python<'_>) -> bool;

    /// PyO3's function for the method.
    fn method() -> &'static OnceLock<Self::Convention>;
}

/// In what way Python calls a function: those that PyO3 uses for methods.
pub(crate) trait Convention: Copy + Send + Sync + 'static {
    const FLAGS: c_int;

    /// The function to be put in the place of the method.
    fn function<S: Short<Convention = Self>>() -> PyMethodDefPointer;

    /// # Safety
    ///
    /// The pointer is one that has these flags.
    unsafe fn of(pointer: PyMethodDefPointer) -> Self;
}

pub(crate) type NoArguments = PyCFunction;
pub(crate) type Keywords = PyCFunctionFastWithKeywords;

impl Convention for NoArguments {
    const FLAGS: c_int = ffi::METH_NOARGS;

    fn function<S: Short<Convention = Self>>() -> PyMethodDefPointer {
        unsafe extern "C" fn function<S: Short<Convention = NoArguments>>(
            object: *mut PyObject,
            nothing: *mut PyObject,
        ) -> *mut PyObject {
            // SAFETY: Python calls it as a method of the class, attached, and as PyO3's function is to be called.
            unsafe { go::<S>(object).unwrap_or_else(|| method::<S>()(object, nothing)) }
        }
        PyMethodDefPointer { PyCFunction: function::<S> }
    }

    unsafe fn of(pointer: PyMethodDefPointer) -> Self {
        // SAFETY: the caller's promise.
        unsafe { pointer.PyCFunction }
    }
}

impl Convention for Keywords {
    const FLAGS: c_int = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;

    fn function<S: Short<Convention = Self>>() -> PyMethodDefPointer {
        unsafe extern "C" fn function<S: Short<Convention = Keywords>>(
            object: *mut PyObject,
            arguments: *const *mut PyObject,
            count: isize,
            keywords: *mut PyObject,
        ) -> *mut PyObject {
            let is_simple = count == S::ARGUMENTS && keywords.is_null();
            // SAFETY: as above.
            let done = if is_simple { unsafe { go::<S>(object) } } else { None };
            // SAFETY: as above.
            done.unwrap_or_else(|| unsafe { method::<S>()(object, arguments, count, keywords) })
        }
        PyMethodDefPointer { PyCFunctionFastWithKeywords: function::<S> }
    }

    unsafe fn of(pointer: PyMethodDefPointer) -> Self {
        // SAFETY: the caller's promise.
        unsafe { pointer.PyCFunctionFastWithKeywords }
    }
}

/// Goes the short way: what the call returns if that led to the end. If it panics, so may the method, where PyO3 makes an exception of it.
///
/// # Safety
///
/// The thread is attached to the interpreter, and the object is of the class.
#[inline]
unsafe fn go<S: Short>(object: *mut PyObject) -> Option<*mut PyObject> {
    // SAFETY: the caller's promise.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: the caller's promise, and it keeps the object until this returns.
    let it = unsafe { Borrowed::from_ptr(py, object).cast_unchecked::<S::Class>() }.get();
    let go = || S::go(it, py);
    if !catch_unwind(AssertUnwindSafe(go)).unwrap_or(false) {
        return None;
    }
    // SAFETY: it is an object, and the thread is attached.
    unsafe {
        let returned = if S::RETURNS_ITSELF { object } else { ffi::Py_None() };
        ffi::Py_INCREF(returned);
        Some(returned)
    }
}

fn method<S: Short>() -> S::Convention {
    *S::method().get().expect("`shorten` set it before it showed Python the function that needs it")
}

/// Puts the function with the short way in the place of the method.
pub(crate) fn shorten<S: Short>(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<S::Class>();
    // SAFETY: this is the list of methods that PyO3 made the class from. It stays, and ends with an entry without a name; names
    // end with a zero.
    let method = unsafe {
        let methods = ffi::PyType_GetSlot(class.as_type_ptr(), ffi::Py_tp_methods).cast::<PyMethodDef>();
        let mut methods = (0..).map(|index| *methods.add(index)).take_while(|method| !method.ml_name.is_null());
        methods.find(|method| CStr::from_ptr(method.ml_name).to_bytes() == S::METHOD.as_bytes())
    };
    let Some(method) = method.filter(|method| method.ml_flags == S::Convention::FLAGS) else {
        return Err(PySystemError::new_err(format!("{}.{} is not as the short way expects it", class.name()?, S::METHOD)));
    };
    // SAFETY: those are its flags.
    S::method().get_or_init(|| unsafe { S::Convention::of(method.ml_meth) });
    let short = Box::leak(Box::new(PyMethodDef { ml_meth: S::Convention::function::<S>(), ..method }));
    // SAFETY: the definition stays for good, as do the texts that it shares with the method's, and its function is as its flags say.
    let short = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyDescr_NewMethod(class.as_type_ptr(), short)) }?;
    class.setattr(S::METHOD, short)
}
