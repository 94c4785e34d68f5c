//! Batches
//!
//! Many messages in one call, which saves the price of a call for each: most of all where messages are
//! short. Each message is sent and received by itself, as with ipc_queue_send and ipc_queue_recv: who
//! receives may have the first before the last is sent, and messages of others may come in between, or go to
//! them.
//!
//! If a process dies inside ipc_queue_send_many, the first so many of the messages are in the queue, each
//! of them whole, and the others are not. If it dies inside ipc_queue_recv_many, it has taken the first so
//! many with it, and the others are in the queue.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::error::{call, ipc_result};
use super::queue::{bytes_of, ipc_queue, room_of};
use super::timeout::{Wait, wait};
use super::{Out, handle, null};
use crate::error::{Error, Result};
use crate::queue::{Messages, Sink};

/// The bytes of a message: they are the caller's, and stay so.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ipc_bytes {
    /// The first of them; may be NULL where `len` is 0.
    pub data: *const c_void,
    /// How many there are.
    pub len: usize,
}

/// Sends `count` messages in their order, and waits for room (in a rendezvous, for receivers that take them)
/// no longer than `timeout_ns` in all. `*sent` is how many it sent. The bytes are the caller's, and are copied;
/// `messages` may be NULL where `count` is 0.
///
/// Less than all are sent where something kept it from sending the next, such as the end of the time: that
/// is IPC_OK then, and is told by the next call.
///
/// Errors: IPC_ERR_MESSAGE_TOO_LONG where any of them is (ipc_error_detail says which), before anything is
/// sent. Otherwise as ipc_queue_send, where the first was not sent. `*sent` is 0 then.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_send_many(
    queue: *mut ipc_queue,
    messages: *const ipc_bytes,
    count: usize,
    sent: *mut usize,
    timeout_ns: i64,
) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (out, queue) = unsafe { (Out::new(sent, "sent", 0)?, handle::get(queue)?) };
        // SAFETY: C promises that so many are there.
        let messages = unsafe { Message::all(messages, count) }?;
        out.set(match wait(timeout_ns)? {
            Wait::Forever => queue.send_many(messages),
            Wait::No => queue.try_send_many(messages),
            Wait::For(timeout) => queue.send_many_timeout(messages, timeout),
        }?);
        Ok(())
    })
}

/// Receives the next message, and waits for it no longer than `timeout_ns`; and with it those behind it that
/// are there, up to `max` in all. They go into `buffer`, which has room for `room` bytes, one right after the
/// other, and their lengths into `lens`, an array of `max` numbers. `*count` is how many they are. A message
/// for which the buffer has no room left stays in the queue, with those behind it. `buffer` may be NULL where
/// `room` is 0.
///
/// Errors: IPC_ERR_BUFFER_TOO_SMALL where the first message is longer than the buffer: `lens[0]` says how
/// long, and it stays in the queue. IPC_ERR_INVALID_ARGUMENT for a `max` of 0. Otherwise as ipc_queue_recv.
/// Nothing was taken then, and `*count` is 0. What keeps it from taking more than the first is no error, and
/// is told by the next call.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn ipc_queue_recv_many(
    queue: *mut ipc_queue,
    buffer: *mut c_void,
    room: usize,
    lens: *mut usize,
    max: usize,
    count: *mut usize,
    timeout_ns: i64,
) -> ipc_result {
    call(|| {
        // SAFETY: C promises that the pointers are as the header says.
        let (out, queue) = unsafe { (Out::new(count, "count", 0)?, handle::get(queue)?) };
        // SAFETY: C promises that so many bytes are there, for this call alone.
        let buffer = unsafe { room_of(buffer, room) }?;
        if lens.is_null() {
            return Err(null("lens"));
        }
        let mut packed = Packed { buffer, lens, count: 0 };
        match queue.recv_many_into(&mut packed, max, wait(timeout_ns)?.deadline()) {
            Ok(count) => {
                out.set(count);
                Ok(())
            }
            Err(error) => {
                if let Error::BufferTooSmall { needed, .. } = error {
                    // SAFETY: C promises an array for `max` lengths, which is not 0.
                    unsafe { lens.write(needed) };
                }
                Err(error)
            }
        }
    })
}

/// A message of an array of C's.
#[repr(transparent)]
struct Message<'a>(ipc_bytes, PhantomData<&'a [u8]>);

impl<'a> Message<'a> {
    /// Checks that all can be there.
    ///
    /// # Safety
    ///
    /// `messages` is as the header says, and all of its bytes are there during the call.
    unsafe fn all(messages: *const ipc_bytes, count: usize) -> Result<&'a [Self]> {
        if count == 0 {
            return Ok(&[]);
        }
        if messages.is_null() {
            return Err(null("messages"));
        }
        if count > isize::MAX as usize / size_of::<ipc_bytes>() {
            return Err(Error::invalid(format!("there cannot be {count} messages: no memory is as long")));
        }
        // SAFETY: the caller's promise; a `Message` is laid out as what it holds.
        let messages = unsafe { std::slice::from_raw_parts(messages.cast::<Self>(), count) };
        for message in messages {
            // SAFETY: the caller's promise.
            unsafe { bytes_of(message.0.data, message.0.len) }?;
        }
        Ok(messages)
    }
}

impl AsRef<[u8]> for Message<'_> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        let ipc_bytes { data, len } = self.0;
        // SAFETY: `all` had the caller's promise, and found that a pointer is there.
        if len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) } }
    }
}

/// A buffer of C's, and the lengths of the messages in it.
struct Packed<'a> {
    /// What is left of it.
    buffer: &'a mut [u8],
    /// The array for them.
    lens: *mut usize,
    count: usize,
}

impl Sink for Packed<'_> {
    #[inline]
    fn space(&mut self, len: usize) -> Result<&mut [MaybeUninit<u8>]> {
        self.buffer.space(len)
    }
}

impl Messages for Packed<'_> {
    #[inline]
    fn keep(&mut self, len: usize) {
        self.buffer = &mut std::mem::take(&mut self.buffer)[len..];
        // SAFETY: C promises an array for as many as the call takes.
        unsafe { self.lens.add(self.count).write(len) };
        self.count += 1;
    }
}
