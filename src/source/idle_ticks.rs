/*!
Time for channels on which the source writes nothing.

Up to Milvus 2.5 every channel gets a time tick every 200 ms. A streaming node (2.6 and later) writes one only behind
something else, so on an idle channel a task would seem to fall behind, and whoever waits for a moment to pass would
wait for the next write. The source's clock helps out: everything that the source had acknowledged when it was asked
for the time stands in the queue. So whoever asks first, and then reads the channel to its end, has everything up to
that time.
*/

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::clock::{ClockOrigin, SourceClock};
use crate::domain::Timestamp;
use crate::milvus::{CallContext, Cancel, Client};

/// How often the time is looked up. This is the precision of an idle channel's lag.
const PERIOD: Duration = Duration::from_secs(2);
/// Rows get their time up to 0.2 s before they are written, and the source hands out times in batches (2.6.20: 0.15 s).
const MARGIN: Duration = Duration::from_secs(1);
/// Limit of the question: the reader's thread waits for the answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long a source that did not answer is not asked again.
const UNANSWERED: Duration = Duration::from_secs(30);

/// The source's time, looked up now and then while a channel is idle.
pub(super) struct IdleTicks {
    clock: Box<dyn Fn() -> Option<Timestamp> + Send + Sync>,
    /// Some channel ends in the tick of a streaming node.
    needed: AtomicBool,
    look: Mutex<Look>,
}

/// The last look at the clock.
#[derive(Debug, Clone, Copy, Default)]
struct Look {
    /// Not looked again before; `None`: never looked.
    again: Option<Instant>,
    time: Option<Timestamp>,
}

impl IdleTicks {
    /// By the clock of the source behind this connection.
    pub(super) fn of_source(client: &Arc<Client>, cancel: &Cancel) -> IdleTicks {
        let (client, clock) = (Arc::clone(client), SourceClock::default());
        let context = CallContext { timeout: TIMEOUT, cancel: cancel.clone() };
        IdleTicks::by(move || {
            let moment = clock.now(&client, &context).ok()?;
            (moment.origin == ClockOrigin::Source).then_some(moment.time)
        })
    }

    /// By this clock, which answers `None` while it cannot tell.
    pub(super) fn by(clock: impl Fn() -> Option<Timestamp> + Send + Sync + 'static) -> IdleTicks {
        IdleTicks { clock: Box::new(clock), needed: AtomicBool::new(false), look: Mutex::default() }
    }

    /// A channel ends in the tick of a streaming node.
    pub(super) fn need(&self) {
        self.needed.store(true, Ordering::Relaxed);
    }

    /// Looks up the time if that is due; true if it is known anew. Must come before the look at the queue.
    pub(super) fn look(&self) -> bool {
        if !self.needed.load(Ordering::Relaxed) {
            return false;
        }
        let mut look = self.look.lock();
        if look.again.is_some_and(|again| Instant::now() < again) {
            return false;
        }
        look.time = (self.clock)().map(|time| time.minus(MARGIN));
        look.again = Some(Instant::now() + if look.time.is_some() { PERIOD } else { UNANSWERED });
        look.time.is_some()
    }

    /// Up to this time nothing is missing on a channel that has been read to its end since the last look.
    pub(super) fn time(&self) -> Option<Timestamp> {
        self.look.lock().time
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn the_clock_is_asked_only_where_it_is_needed_and_not_all_the_time() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let ticks = IdleTicks::by(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            Some(Timestamp::at_ms(5000))
        });
        assert!(!ticks.look(), "every channel ticks by itself");
        ticks.need();
        assert!(ticks.look() && !ticks.look());
        assert_eq!((ticks.time(), asked.load(Ordering::Relaxed)), (Some(Timestamp::at_ms(4000)), 1));
    }

    #[test]
    fn a_source_that_does_not_answer_makes_no_time() {
        let ticks = IdleTicks::by(|| None);
        ticks.need();
        assert!(!ticks.look() && !ticks.look());
        assert_eq!(ticks.time(), None);
    }
}
