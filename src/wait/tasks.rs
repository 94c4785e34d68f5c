//! Receiving in async programs, on any runtime: the task is woken by the watcher (`sync::watcher`).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::direct::{Endpoint, Message};
use crate::error::{Error, Result};
use crate::queue::Queue;
use crate::sync::watcher::Task;

impl Queue {
    /// Receives the next message, in an async program.
    ///
    /// Dropping the future before it is ready loses no message: one is taken in the poll that returns it, and not before. Any
    /// number of tasks may receive from the queue; each message goes to one of them. It runs on any runtime, and starts a thread
    /// in this process as [`Queue::readiness_fd`] does.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-recv-async-{}", std::process::id())));
    /// # use std::future::Future;
    /// # use std::sync::Arc;
    /// # use std::task::{Context, Poll, Wake, Waker};
    /// # struct Thread(std::thread::Thread);
    /// # impl Wake for Thread {
    /// #     fn wake(self: Arc<Self>) {
    /// #         self.0.unpark();
    /// #     }
    /// # }
    /// # fn block_on<T>(future: impl Future<Output = T>) -> T {
    /// #     let (mut future, waker) = (Box::pin(future), Waker::from(Arc::new(Thread(std::thread::current()))));
    /// #     loop {
    /// #         match future.as_mut().poll(&mut Context::from_waker(&waker)) {
    /// #             Poll::Ready(value) => return value,
    /// #             Poll::Pending => std::thread::park(),
    /// #         }
    /// #     }
    /// # }
    /// use rsipc::{Queue, QueueOptions};
    ///
    /// let jobs = Queue::create(namespace.name("jobs"), &QueueOptions::new())?;
    /// let first = async {
    ///     let job = jobs.recv_async().await?;
    ///     Ok::<usize, rsipc::Error>(job.len())
    /// };
    /// jobs.send(b"a job")?;
    /// assert_eq!(block_on(first)?, 5); // with any runtime's `block_on`
    /// # std::fs::remove_dir_all(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Queue::recv`], less `Interrupted`; errors of the system when the thread is started.
    pub fn recv_async(&self) -> impl Future<Output = Result<Vec<u8>>> + Send + '_ {
        let mut task = None;
        std::future::poll_fn(move |context| self.poll_recv(&mut task, context))
    }

    /// The messages to come, as a stream: it ends once the queue is shut down and empty, or after an error.
    ///
    /// Dropping the stream loses no message, as with [`Queue::recv_async`].
    pub fn stream(&self) -> Messages<'_> {
        Messages { queue: Some(self), task: None }
    }

    fn poll_recv(&self, task: &mut Option<Task>, context: &Context<'_>) -> Poll<Result<Vec<u8>>> {
        poll(self, self.try_recv(), task, context)
    }
}

impl Endpoint {
    /// Receives the next message, in an async program. As [`Queue::recv_async`].
    ///
    /// # Errors
    ///
    /// As [`Endpoint::recv`], less `Interrupted`; errors of the system when the thread is started.
    pub fn recv_async(&self) -> impl Future<Output = Result<Message>> + Send + '_ {
        let mut task = None;
        std::future::poll_fn(move |context| poll(self.inbox(), self.try_recv(), &mut task, context))
    }
}

/// What came of an attempt to receive; if nothing, the task is woken once there may be something.
fn poll<T>(inbox: &Queue, attempt: Result<T>, task: &mut Option<Task>, context: &Context<'_>) -> Poll<Result<T>> {
    match attempt {
        Err(Error::WouldBlock) => {}
        result => return Poll::Ready(result),
    }
    match inbox.wake_when_ready(task, context.waker()) {
        Ok(()) => Poll::Pending,
        Err(e) => Poll::Ready(Err(e)),
    }
}

/// What [`Queue::stream`] gives.
#[must_use = "a stream does nothing until it is polled"]
pub struct Messages<'a> {
    /// None once it has ended.
    queue: Option<&'a Queue>,
    task: Option<Task>,
}

impl Stream for Messages<'_> {
    type Item = Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(queue) = self.queue else { return Poll::Ready(None) };
        let polled = queue.poll_recv(&mut self.task, context);
        if let Poll::Ready(Err(_)) = polled {
            self.queue = None;
        }
        match polled {
            Poll::Ready(Err(Error::Closed)) => Poll::Ready(None),
            polled => polled.map(Some),
        }
    }
}

impl std::fmt::Debug for Messages<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Messages").field("queue", &self.queue).finish_non_exhaustive()
    }
}
