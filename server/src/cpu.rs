//! The threads that hold pictures: as many as pictures may be in memory at once, and always the same ones. Memory is
//! bounded by construction, and the allocator keeps as many arenas of large blocks as there are threads here, not as
//! many as tokio has blocking threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::{io, thread};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

type Work = Box<dyn FnOnce() + Send>;

/// The work panicked, or the process is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("work on a picture was given up")]
pub(crate) struct GivenUp;

/// A free thread. Work is begun only with one in hand, so nothing ever queues with a picture in its arms, and what may
/// not wait (a lease) begins after the waiting.
#[derive(Debug)]
pub(crate) struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// The pool. Clones share the threads; they end when the last clone is gone and the work is done.
#[derive(Debug, Clone)]
pub(crate) struct CpuPool {
    work: mpsc::Sender<Work>,
    turns: Arc<Semaphore>,
}

impl CpuPool {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system has none to give.
    pub(crate) fn new(threads: usize) -> io::Result<Self> {
        let threads = threads.max(1);
        let (work, receiver) = mpsc::channel::<Work>();
        let receiver = Arc::new(Mutex::new(receiver));
        for n in 0..threads {
            let receiver = Arc::clone(&receiver);
            thread::Builder::new().name(format!("picture-{n}")).spawn(move || {
                loop {
                    let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(work) = next else { return };
                    // The panic hook has said what happened; whoever waits hears that nothing comes.
                    let _ = catch_unwind(AssertUnwindSafe(work));
                }
            })?;
        }
        Ok(Self { work, turns: Arc::new(Semaphore::new(threads)) })
    }

    /// Waits for a free thread, in the order of asking. Whoever stops waiting leaves nothing behind.
    ///
    /// # Errors
    /// [`GivenUp`] when the process is ending.
    pub(crate) async fn turn(&self) -> Result<Turn, GivenUp> {
        let permit = self.turns.clone().acquire_owned().await.map_err(|_| GivenUp)?;
        Ok(Turn { _permit: permit })
    }

    /// Does some work on the thread that the turn stands for.
    ///
    /// # Errors
    /// [`GivenUp`] when it panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        turn: Turn,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, GivenUp> {
        let (sender, receiver) = oneshot::channel();
        let work = Box::new(move || {
            let result = work();
            drop(turn);
            // Who asked may be gone; then nobody wants the result.
            let _ = sender.send(result);
        });
        self.work.send(work).map_err(|_| GivenUp)?;
        receiver.await.map_err(|_| GivenUp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered_and_the_thread_goes_on() {
        let pool = CpuPool::new(1).unwrap();
        let turn = pool.turn().await.unwrap();
        assert_eq!(pool.run(turn, || panic!("as a decoder might")).await, Err::<(), _>(GivenUp));
        let turn = pool.turn().await.unwrap();
        assert_eq!(pool.run(turn, || 6 * 7).await, Ok(42));
    }

    #[tokio::test]
    async fn no_more_at_once_than_there_are_threads() {
        use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
        let (pool, now, most) =
            (CpuPool::new(2).unwrap(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = (0..20).map(|_| {
            let (pool, now, most) = (pool.clone(), Arc::clone(&now), Arc::clone(&most));
            tokio::spawn(async move {
                let work = move || {
                    most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                    thread::yield_now();
                    now.fetch_sub(1, SeqCst);
                };
                pool.run(pool.turn().await?, work).await
            })
        });
        for work in work.collect::<Vec<_>>() {
            work.await.unwrap().unwrap();
        }
        assert!((1..=2).contains(&most.load(SeqCst)));
    }
}
