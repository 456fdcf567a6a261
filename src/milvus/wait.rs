//! Blocks a plain thread until a call ends; another thread can cancel it.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Cancels calls in flight. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    flag: Arc<AtomicBool>,
    parent: Option<Arc<Cancel>>,
}

impl Cancel {
    /// Ends every call in flight and every later one at once.
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::Release);
    }

    /// Whether [`Self::cancel`] was called on this or on its parent.
    pub fn is_cancelled(&self) -> bool {
        self.flag.load(Ordering::Acquire) || self.parent.as_ref().is_some_and(|parent| parent.is_cancelled())
    }

    /// A child for a part of the work: it is cancelled with its parent, or alone.
    pub fn part(&self) -> Cancel {
        Cancel { flag: Arc::default(), parent: Some(Arc::new(self.clone())) }
    }

    /// Sleeps for `duration`, or until cancelled. Returns whether it was cancelled.
    pub fn sleep(&self, duration: Duration) -> bool {
        let end = std::time::Instant::now() + duration;
        while !self.is_cancelled() {
            let left = end.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return false;
            }
            thread::sleep(left.min(CANCEL_LATENCY));
        }
        true
    }
}

/// The interval at which waiting calls check for cancellation.
pub(super) const CANCEL_LATENCY: Duration = Duration::from_millis(50);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Blocks until the call ends; `None` if it was cancelled first (dropping the future cancels the call).
pub(super) fn wait<F: Future>(future: F, cancel: &Cancel) -> Option<F::Output> {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        if cancel.is_cancelled() {
            return None;
        }
        thread::park_timeout(CANCEL_LATENCY);
    }
}

/// Blocks until all calls have ended or `patience` is over; `None` for those that have not ended by then, or not before
/// they were cancelled (dropping a future cancels its call).
///
/// The last one is waited for first: once it has ended, most others have, too. So this thread wakes up once or twice
/// instead of once per call.
pub(super) fn wait_for_all<F: Future + Unpin>(
    futures: Vec<F>,
    cancel: &Cancel,
    patience: Duration,
) -> Vec<Option<F::Output>> {
    let deadline = Instant::now() + patience;
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut wait_for_one = |mut future: F| loop {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(&mut context) {
            return Some(output);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || cancel.is_cancelled() {
            return None;
        }
        thread::park_timeout(left.min(CANCEL_LATENCY));
    };
    let mut ended: Vec<Option<F::Output>> = futures.into_iter().rev().map(&mut wait_for_one).collect();
    ended.reverse();
    ended
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn, ready};

    use super::*;

    type Boxed = Pin<Box<dyn Future<Output = u8>>>;

    /// One that ends when it is polled for the second time, which it asks for.
    fn later(value: u8) -> Boxed {
        let mut is_first = true;
        Box::pin(poll_fn(move |context| match std::mem::take(&mut is_first) {
            true => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            false => Poll::Ready(value),
        }))
    }

    #[test]
    fn each_answer_comes_in_the_place_of_its_call() {
        let futures: Vec<Boxed> = vec![Box::pin(ready(1)), later(2), Box::pin(ready(3)), later(4)];
        let ended = wait_for_all(futures, &Cancel::default(), Duration::from_secs(3600));
        assert_eq!(ended, [1, 2, 3, 4].map(Some));
    }

    #[test]
    fn one_that_hangs_takes_no_other_answer_with_it() {
        let futures: Vec<Boxed> =
            vec![Box::pin(ready(1)), Box::pin(pending()), Box::pin(ready(3)), Box::pin(pending())];
        let ended = wait_for_all(futures, &Cancel::default(), Duration::from_millis(1));
        assert_eq!(ended, [Some(1), None, Some(3), None]);
    }

    #[test]
    fn nothing_is_waited_for_once_it_is_cancelled() {
        let (cancel, futures) = (Cancel::default(), vec![pending::<u8>(), pending()]);
        cancel.cancel();
        assert_eq!(wait_for_all(futures, &cancel, Duration::from_secs(3600)), [None, None]);
    }
}
