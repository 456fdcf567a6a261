//! Blocks a plain thread until a call ends; another thread can cancel it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

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
