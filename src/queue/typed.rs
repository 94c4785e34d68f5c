//! Queues whose messages are of one Rust type.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use bytemuck::Pod;

use crate::error::{Error, Result};
use crate::name::Name;
use crate::queue::iter::{until_over, while_there};
use crate::queue::{Batch, Queue, QueueOptions};
use sealed::Codec;

/// A [`Queue`] whose messages are values of one type.
///
/// `TypedQueue<T>` is for plain old data ([`bytemuck::Pod`]: numbers, arrays and `#[repr(C)]` structures of them without
/// padding). A message is then the bytes of the value, the same as those of the structure in C, and nothing but a copy is needed
/// to send or receive one. With the cargo feature `serde`, `TypedQueue<T, Postcard>` is for whatever serde writes and reads.
///
/// Everything else is the queue's: its capacity, its order, its errors, and that all methods may be called from any thread.
/// [`TypedQueue::queue`] gives the queue itself, for what has nothing to do with the type (`shutdown`, `len`, `end_with_peers`, a
/// [`WaitSet`](crate::WaitSet)).
///
/// # When a process dies
///
/// As with any queue: a value whose sender is killed inside `send` is in the queue, whole, or not at all. A receiver killed
/// inside `recv` has either taken the value with it or left it. A value that must not be lost with a worker is received on
/// [lease](Queue::lease), and read with [`TypedQueue::decode`].
///
/// # Messages of another type
///
/// The queue knows no types. A peer that does not keep to this one, in whatever language, can send a message that is none of its
/// values. Receiving that is [`Error::WrongMessage`], which has the bytes: so the message is not lost, and does not stand in the
/// way of those behind it. Plain old data has one length: [`TypedQueue::open`] refuses a queue for messages of another one, and a
/// shorter message is a wrong one. Any bytes of the right length are a value, so let all who use the queue mean the same type. A
/// new name for a new type is the simplest way.
///
/// ```
/// # fn main() -> rsipc::Result<()> {
/// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-typed-{}", std::process::id())));
/// use bytemuck::{Pod, Zeroable}; // the crate bytemuck, with its feature `derive`
/// use rsipc::{QueueOptions, TypedQueue};
///
/// #[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
/// #[repr(C)]
/// struct Sample {
///     time: u64,
///     value: f64,
/// }
///
/// let samples = TypedQueue::<Sample>::create(namespace.name("samples"), &QueueOptions::new().capacity(100))?;
/// samples.send(&Sample { time: 1, value: 20.5 })?;
/// assert_eq!(samples.recv()?, Sample { time: 1, value: 20.5 });
/// assert_eq!(samples.try_recv(), Err(rsipc::Error::WouldBlock));
/// # namespace.unlink("samples")?;
/// # std::fs::remove_dir_all(namespace.dir()?).ok();
/// # Ok(())
/// # }
/// ```
pub struct TypedQueue<T, F = Plain> {
    queue: Queue,
    /// Values of it come and go; none is in here.
    of: PhantomData<fn(T) -> (T, F)>,
}

/// How the values of a [`TypedQueue`] are written as messages: [`Plain`], or with the cargo feature `serde` `Postcard`. There are
/// no others.
pub trait Format<T>: Codec<T> {}

/// The [`Format`] of plain old data: a message is the bytes of the value as they lie in memory.
#[derive(Debug, Clone, Copy)]
pub enum Plain {}

/// The [`Format`] of whatever serde writes and reads (the cargo feature `serde`), in the compact binary format [postcard].
///
/// Its messages are as long as they need to be: [`QueueOptions::max_message`] says how long they may be. The format does not name
/// its fields, so all who use the queue have the same definition of the type.
///
/// # Peers that are not trusted
///
/// A peer that is buggy or hostile can send anything, and for most types that is [`Error::WrongMessage`] or a value. Two kinds of
/// types should not be received from such a peer. Recursive ones, such as a list or a tree of boxes: a message of some ten
/// thousand bytes can hold as many levels, each takes a call to read and one to drop, and a stack that overflows ends the
/// process. And collections whose elements take no bytes, such as `Vec<()>`: a message of a few bytes can say that there are 2⁶⁴
/// of them, and they may be read for ever.
///
/// ```
/// # fn main() -> rsipc::Result<()> {
/// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-postcard-{}", std::process::id())));
/// use rsipc::{Postcard, QueueOptions, TypedQueue};
///
/// #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// enum Job {
///     Resize { path: String, width: u32 },
///     Delete(Vec<String>),
/// }
///
/// let jobs = TypedQueue::<Job, Postcard>::create(namespace.name("jobs"), &QueueOptions::new())?;
/// jobs.send(&Job::Resize { path: "cat.jpg".into(), width: 640 })?;
/// jobs.send(&Job::Delete(vec!["dog.jpg".into()]))?;
/// assert_eq!(jobs.recv()?, Job::Resize { path: "cat.jpg".into(), width: 640 });
///
/// // A job that is not lost with a worker that dies over it.
/// let lease = jobs.queue().lease()?;
/// assert_eq!(jobs.decode(lease.message())?, Job::Delete(vec!["dog.jpg".into()]));
/// lease.finish()?;
/// # namespace.unlink("jobs")?;
/// # std::fs::remove_dir_all(namespace.dir()?).ok();
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "serde")]
#[derive(Debug, Clone, Copy)]
pub enum Postcard {}

mod sealed {
    use super::{Cow, Duration, Queue, Result};

    /// What a format does.
    pub trait Codec<T>: Sized {
        /// How long every message is, in bytes, if all are as long as each other.
        const LEN: Option<usize>;

        /// The value as a message.
        fn encode(value: &T) -> Result<Cow<'_, [u8]>>;

        /// The value that a message is, or what is wrong with it.
        fn decode(message: &[u8]) -> std::result::Result<T, String>;

        /// Receives a message from a queue whose messages are no longer than `LEN`; without a timeout it waits as long as need be.
        fn recv(queue: &Queue, timeout: Option<Duration>) -> Result<T>;
    }
}

impl<T: Pod> Format<T> for Plain {}

impl<T: Pod> Codec<T> for Plain {
    const LEN: Option<usize> = Some(size_of::<T>());

    #[inline]
    fn encode(value: &T) -> Result<Cow<'_, [u8]>> {
        Ok(Cow::Borrowed(bytemuck::bytes_of(value)))
    }

    fn decode(message: &[u8]) -> std::result::Result<T, String> {
        bytemuck::try_pod_read_unaligned(message).map_err(|_| format!("a value of this type has {} bytes", size_of::<T>()))
    }

    #[inline]
    fn recv(queue: &Queue, timeout: Option<Duration>) -> Result<T> {
        let mut value = T::zeroed();
        let bytes = bytemuck::bytes_of_mut(&mut value);
        let len = match timeout {
            None => queue.recv_into(bytes),
            Some(timeout) => queue.recv_into_timeout(bytes, timeout),
        }?;
        if len == bytes.len() { Ok(value) } else { decode::<T, Self>(&bytes[..len]) }
    }
}

#[cfg(feature = "serde")]
impl<T: serde::Serialize + serde::de::DeserializeOwned> Format<T> for Postcard {}

#[cfg(feature = "serde")]
impl<T: serde::Serialize + serde::de::DeserializeOwned> Codec<T> for Postcard {
    const LEN: Option<usize> = None;

    fn encode(value: &T) -> Result<Cow<'_, [u8]>> {
        let bytes =
            postcard::to_stdvec(value).map_err(|e| Error::invalid(format!("the value cannot be written as a message: {e}")))?;
        Ok(Cow::Owned(bytes))
    }

    fn decode(message: &[u8]) -> std::result::Result<T, String> {
        match postcard::take_from_bytes(message) {
            Ok((value, [])) => Ok(value),
            Ok((_, [_])) => Err("1 byte is left behind the value".into()),
            Ok((_, rest)) => Err(format!("{} bytes are left behind the value", rest.len())),
            Err(e) => Err(e.to_string()),
        }
    }

    fn recv(queue: &Queue, timeout: Option<Duration>) -> Result<T> {
        let message = match timeout {
            None => queue.recv(),
            Some(timeout) => queue.recv_timeout(timeout),
        }?;
        decode::<T, Self>(message)
    }
}

/// The value that a message is.
fn decode<T, F: Format<T>>(message: impl AsRef<[u8]> + Into<Vec<u8>>) -> Result<T> {
    F::decode(message.as_ref()).map_err(|why| Error::WrongMessage { message: message.into(), why })
}

impl<T, F: Format<T>> TypedQueue<T, F> {
    /// Creates a queue. Its longest message is that of the type, if all its messages are as long as each other, whatever `options` say.
    ///
    /// # Errors
    ///
    /// As [`Queue::create`].
    pub fn create<'a>(name: impl Into<Name<'a>>, options: &QueueOptions) -> Result<Self> {
        Self::from_queue(Queue::create(name, &Self::options(options))?)
    }

    /// Opens a queue.
    ///
    /// # Errors
    ///
    /// `WrongKind` also where its messages are of another length than all those of the type; otherwise as [`Queue::open`].
    pub fn open<'a>(name: impl Into<Name<'a>>) -> Result<Self> {
        Self::from_queue(Queue::open(name)?)
    }

    /// Opens a queue, or creates it. Processes that do so at the same time get the same one. An existing queue keeps its options.
    ///
    /// # Errors
    ///
    /// As [`TypedQueue::create`] and [`TypedQueue::open`], less `AlreadyExists` and `NotFound`.
    pub fn open_or_create<'a>(name: impl Into<Name<'a>>, options: &QueueOptions) -> Result<Self> {
        Self::from_queue(Queue::open_or_create(name, &Self::options(options))?)
    }

    /// Makes a typed queue of one that is open: one in a region or without a name, for example. For plain old data it was made
    /// with that length as its [`QueueOptions::max_message`].
    ///
    /// ```
    /// use rsipc::{Queue, QueueOptions, TypedQueue};
    ///
    /// # fn main() -> rsipc::Result<()> {
    /// let (queue, _fd) = Queue::anonymous(&QueueOptions::new().max_message(size_of::<[f32; 3]>()))?;
    /// let points = TypedQueue::<[f32; 3]>::from_queue(queue)?;
    /// points.send(&[0.0, 1.0, 2.0])?;
    /// assert_eq!(points.recv()?, [0.0, 1.0, 2.0]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `WrongKind` where its messages are of another length than all those of the type.
    pub fn from_queue(queue: Queue) -> Result<Self> {
        if F::LEN.is_some_and(|len| len != queue.max_message()) {
            return Err(Error::WrongKind {
                expected: "queue for messages as long as a value of this type",
                found: "queue for messages of another length",
            });
        }
        Ok(Self { queue, of: PhantomData })
    }

    fn options(options: &QueueOptions) -> QueueOptions {
        F::LEN.map_or(*options, |len| options.max_message(len))
    }

    /// The queue itself, for all that has nothing to do with the type. Its messages are bytes.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The value that a message of this queue is, for one that was received from [`TypedQueue::queue`]: on [lease](Queue::lease),
    /// by a task, as a [view](crate::MessageView).
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-decode-{}", std::process::id())));
    /// # use rsipc::{Error, QueueOptions, TypedQueue};
    /// let numbers = TypedQueue::<u32>::create(namespace.name("numbers"), &QueueOptions::new())?;
    /// numbers.send(&7)?;
    /// let lease = numbers.queue().lease()?;
    /// assert_eq!(numbers.decode(lease.message())?, 7);
    /// lease.finish()?;
    ///
    /// numbers.queue().send(b"?")?; // by somebody who means another type
    /// assert!(matches!(numbers.recv(), Err(Error::WrongMessage { message, .. }) if message == b"?"));
    /// # std::fs::remove_dir_all(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `WrongMessage` where it is none.
    pub fn decode(&self, message: &[u8]) -> Result<T> {
        decode::<T, F>(message)
    }

    /// Sends a value, and waits for room (in a rendezvous, for a receiver that takes it) as long as need be.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` where serde cannot write the value; otherwise as [`Queue::send`].
    #[inline]
    pub fn send(&self, value: &T) -> Result<()> {
        self.queue.send(&F::encode(value)?)
    }

    /// Sends a value if there is room (in a rendezvous, if a receiver waits for one at this moment).
    ///
    /// # Errors
    ///
    /// `WouldBlock` where there is none; otherwise as [`TypedQueue::send`].
    #[inline]
    pub fn try_send(&self, value: &T) -> Result<()> {
        self.queue.try_send(&F::encode(value)?)
    }

    /// Sends a value, and waits no longer than `timeout` for room (monotonic clock). A timeout of zero is not to wait.
    ///
    /// # Errors
    ///
    /// `TimedOut`; `WouldBlock` for a timeout of zero; otherwise as [`TypedQueue::send`].
    #[inline]
    pub fn send_timeout(&self, value: &T, timeout: Duration) -> Result<()> {
        self.queue.send_timeout(&F::encode(value)?, timeout)
    }

    /// Receives the next value, and waits for one as long as need be.
    ///
    /// # Errors
    ///
    /// `WrongMessage`, with the message, where it is no value of the type; otherwise as [`Queue::recv`].
    #[inline]
    pub fn recv(&self) -> Result<T> {
        F::recv(&self.queue, None)
    }

    /// Receives the next value if there is one.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where there is none; otherwise as [`TypedQueue::recv`].
    #[inline]
    pub fn try_recv(&self) -> Result<T> {
        F::recv(&self.queue, Some(Duration::ZERO))
    }

    /// Receives the next value, and waits no longer than `timeout` for one (monotonic clock). A timeout of zero is not to wait.
    ///
    /// # Errors
    ///
    /// `TimedOut`; `WouldBlock` for a timeout of zero; otherwise as [`TypedQueue::recv`].
    #[inline]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T> {
        F::recv(&self.queue, Some(timeout))
    }

    /// The values to come: each step waits for the next one as [`TypedQueue::recv`] does. It ends once the queue is shut down and
    /// empty, or after an error other than `WrongMessage`.
    pub fn iter(&self) -> impl Iterator<Item = Result<T>> + '_ {
        until_over(|| self.recv())
    }

    /// The values that are there: each step receives the next one as [`TypedQueue::try_recv`] does. It ends where there is none,
    /// or after an error other than `WrongMessage`.
    pub fn try_iter(&self) -> impl Iterator<Item = Result<T>> + '_ {
        while_there(|| self.try_recv())
    }

    /// Sends values in their order, and waits for room until all are sent. Says how many it sent. Each is sent by itself: see
    /// [`Queue::send_many`].
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-typed-many-{}", std::process::id())));
    /// use rsipc::{Batch, QueueOptions, TypedQueue};
    ///
    /// let samples = TypedQueue::<u32>::create(namespace.name("samples"), &QueueOptions::new())?;
    /// assert_eq!(samples.send_many(&[1, 2, 3])?, 3);
    /// let mut batch = Batch::new();
    /// for sample in samples.recv_many(&mut batch, 100)? {
    ///     print!("{} ", sample?);
    /// }
    /// # namespace.unlink("samples")?;
    /// # std::fs::remove_dir_all(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidArgument` where serde cannot write one of the values, before anything is sent; otherwise as [`Queue::send_many`].
    pub fn send_many(&self, values: &[T]) -> Result<usize> {
        self.queue.send_many(&encode_all::<T, F>(values)?)
    }

    /// Sends as many of the values as there is room for. Says how many it sent.
    ///
    /// # Errors
    ///
    /// As [`TypedQueue::send_many`] and [`Queue::try_send_many`].
    pub fn try_send_many(&self, values: &[T]) -> Result<usize> {
        self.queue.try_send_many(&encode_all::<T, F>(values)?)
    }

    /// Sends values in their order, and waits no longer than `timeout` in all for room (monotonic clock). Says how many it sent.
    ///
    /// # Errors
    ///
    /// As [`TypedQueue::send_many`] and [`Queue::send_many_timeout`].
    pub fn send_many_timeout(&self, values: &[T], timeout: Duration) -> Result<usize> {
        self.queue.send_many_timeout(&encode_all::<T, F>(values)?, timeout)
    }

    /// Receives the next value, and waits for it as long as need be; and with it those behind it that are there, up to `max` in
    /// all. Their messages replace what was in `batch`; what this gives are the values, each of them `WrongMessage` where the
    /// message is none.
    ///
    /// # Errors
    ///
    /// As [`Queue::recv_many`].
    pub fn recv_many<'a>(
        &self,
        batch: &'a mut Batch,
        max: usize,
    ) -> Result<impl ExactSizeIterator<Item = Result<T>> + use<'a, T, F>> {
        self.queue.recv_many(batch, max)?;
        Ok(decode_all::<T, F>(batch))
    }

    /// Receives the values that are there, up to `max`. As [`TypedQueue::recv_many`] otherwise.
    ///
    /// # Errors
    ///
    /// As [`Queue::try_recv_many`].
    pub fn try_recv_many<'a>(
        &self,
        batch: &'a mut Batch,
        max: usize,
    ) -> Result<impl ExactSizeIterator<Item = Result<T>> + use<'a, T, F>> {
        self.queue.try_recv_many(batch, max)?;
        Ok(decode_all::<T, F>(batch))
    }

    /// Receives up to `max` values, and waits no longer than `timeout` for the first (monotonic clock). As
    /// [`TypedQueue::recv_many`] otherwise.
    ///
    /// # Errors
    ///
    /// As [`Queue::recv_many_timeout`].
    pub fn recv_many_timeout<'a>(
        &self,
        batch: &'a mut Batch,
        max: usize,
        timeout: Duration,
    ) -> Result<impl ExactSizeIterator<Item = Result<T>> + use<'a, T, F>> {
        self.queue.recv_many_timeout(batch, max, timeout)?;
        Ok(decode_all::<T, F>(batch))
    }
}

fn encode_all<T, F: Format<T>>(values: &[T]) -> Result<Vec<Cow<'_, [u8]>>> {
    values.iter().map(F::encode).collect()
}

fn decode_all<T, F: Format<T>>(batch: &Batch) -> impl ExactSizeIterator<Item = Result<T>> {
    batch.iter().map(decode::<T, F>)
}

impl<T, F> fmt::Debug for TypedQueue<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedQueue").field("queue", &self.queue).finish_non_exhaustive()
    }
}
