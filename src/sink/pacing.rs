/*!
The rate at which a target takes calls that it limits. Milvus refuses a call beyond its limit instead of delaying it,
and names the limit in the refusal. Repeating after growing pauses would leave most of the rate unused, repeating at
once would send every row many times over.

Milvus counts with a bucket that may go into debt (seen on 2.3.5): any call is let in while the bucket holds something,
and the next one once what the call took beyond that has flowed in again. So after a first refusal the calls of a kind
to a collection go one at a time, each as long after the one before as that one takes to flow in. After several
without a refusal they come closer together, until it turns out that the limit is still there, or is gone.
*/

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::domain::{CollectionId, Write};
use crate::pipeline::{Call, Work};

/// Calls that a target counts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PacedCalls {
    collection: CollectionId,
    kind: PacedKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum PacedKind {
    Insert,
    Upsert,
    Delete,
}

impl PacedCalls {
    pub(super) fn of(call: &Call) -> PacedCalls {
        let kind = match &call.work {
            Work::Write { write: Write::Insert, .. } => PacedKind::Insert,
            Work::Write { write: Write::Upsert, .. } => PacedKind::Upsert,
            Work::Delete(_) | Work::Truncate => PacedKind::Delete,
        };
        PacedCalls { collection: call.collection.id, kind }
    }
}

/// How the target has taken a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum CallVerdict {
    /// It let the call in, whether or not it succeeded.
    Admitted {
        /// When the call was sent.
        sent: Instant,
    },
    /// It refused the call for a rate limit, in bytes per second.
    Limited {
        /// The limit.
        rate: f64,
    },
}

/// The pace of every kind of calls that is limited at present.
#[derive(Default)]
pub(super) struct Pacing {
    limited: Mutex<HashMap<PacedCalls, Pace>>,
}

#[derive(Debug)]
struct Pace {
    /// Bytes per second.
    rate: f64,
    /// No call before this time.
    open_at: Instant,
    /// A call is under way; the others wait for its verdict.
    is_busy: bool,
    last: Option<AdmittedCall>,
    /// Calls let in since the last refusal.
    admitted: u32,
    /// Refusals since a call was let in.
    refused: u32,
}

#[derive(Debug, Clone, Copy)]
struct AdmittedCall {
    sent: Instant,
    bytes: usize,
}

/// Calls let in one after the other until the next ones come closer together.
const STEADY: u32 = 4;
/// Calls let in one after the other after which the limit counts as gone.
const UNLIMITED: u32 = 10;
/// While another call is under way.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(5);

impl Pacing {
    /// Takes the turn of a call, which must be followed by [`Self::settle`].
    ///
    /// # Errors
    /// It is not its turn: how long to wait before asking again.
    pub(super) fn take_turn(&self, calls: PacedCalls, now: Instant) -> Result<(), Duration> {
        let mut limited = self.limited.lock();
        let Some(pace) = limited.get_mut(&calls) else { return Ok(()) };
        if now < pace.open_at {
            return Err(pace.open_at - now);
        }
        if pace.is_busy {
            return Err(LOOK_AGAIN);
        }
        pace.is_busy = true;
        Ok(())
    }

    /// When calls of this kind may be made again; `None`: nothing limits them.
    pub(super) fn opens_at(&self, calls: PacedCalls) -> Option<Instant> {
        self.limited.lock().get(&calls).map(|pace| pace.open_at)
    }

    /// Notes how the target has taken a call of this many bytes.
    pub(super) fn settle(&self, calls: PacedCalls, bytes: usize, verdict: CallVerdict, now: Instant) {
        let mut limited = self.limited.lock();
        match verdict {
            CallVerdict::Limited { rate } => {
                limited.entry(calls).or_insert(Pace::new(rate, now)).refuse(rate, bytes, now)
            }
            CallVerdict::Admitted { sent } => {
                if limited.get_mut(&calls).is_some_and(|pace| pace.admit(AdmittedCall { sent, bytes })) {
                    limited.remove(&calls);
                }
            }
        }
    }
}

impl Pace {
    fn new(rate: f64, now: Instant) -> Pace {
        Pace { rate, open_at: now, is_busy: false, last: None, admitted: 0, refused: 0 }
    }

    fn refuse(&mut self, rate: f64, bytes: usize, now: Instant) {
        self.rate = rate;
        self.is_busy = false;
        self.admitted = 0;
        // Others may share the limit, or calls from before it was known may have to flow in first.
        let step = self.time_of(bytes).div_f64(16.0) * (1 << self.refused.min(4));
        self.refused += 1;
        let flowed_in = self.last.take().map_or(now, |last| last.sent + self.time_of(last.bytes));
        self.open_at = flowed_in.max(now + step.clamp(SHORTEST, LONGEST));
    }

    /// Answers whether the limit is gone.
    fn admit(&mut self, call: AdmittedCall) -> bool {
        self.is_busy = false;
        self.refused = 0;
        self.admitted += 1;
        let closer = self.admitted.saturating_sub(STEADY);
        self.open_at = call.sent + self.time_of(call.bytes).div_f64(f64::from(1 << closer.min(UNLIMITED)));
        self.last = Some(call);
        self.admitted > UNLIMITED
    }

    /// How long this many bytes take to flow in. A request has a little more than the bytes of its columns.
    fn time_of(&self, bytes: usize) -> Duration {
        #[allow(clippy::cast_precision_loss)]
        let seconds = bytes as f64 * 1.01 / self.rate;
        Duration::from_secs_f64(seconds.clamp(0.0, 3600.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSERTS: PacedCalls = PacedCalls { collection: CollectionId(1), kind: PacedKind::Insert };
    const STEP: Duration = Duration::from_millis(5);

    /// Milvus's limiter.
    struct Bucket {
        rate: f64,
        holds: f64,
    }

    impl Bucket {
        fn flow(&mut self, time: Duration) {
            self.holds = (self.holds + self.rate * time.as_secs_f64()).min(self.rate);
        }

        fn takes(&mut self, bytes: usize) -> bool {
            let is_open = self.holds > 0.0;
            if is_open {
                self.holds -= bytes as f64;
            }
            is_open
        }
    }

    #[derive(Debug, Default)]
    struct Sent {
        admitted: u32,
        refused: u32,
    }

    /// What `workers` threads send within `time` when each sends one call of this size after the other.
    fn send(bucket: &mut Bucket, pacing: &Pacing, workers: usize, bytes: usize, time: Duration) -> Sent {
        let start = Instant::now();
        let mut sent = Sent::default();
        let mut asks_at = vec![start; workers];
        let mut now = start;
        while now < start + time {
            for asks_at in &mut asks_at {
                if *asks_at > now {
                    continue;
                }
                match pacing.take_turn(INSERTS, now) {
                    Err(wait) => *asks_at = now + wait,
                    Ok(()) if bucket.takes(bytes) => {
                        sent.admitted += 1;
                        pacing.settle(INSERTS, bytes, CallVerdict::Admitted { sent: now }, now);
                    }
                    Ok(()) => {
                        sent.refused += 1;
                        pacing.settle(INSERTS, bytes, CallVerdict::Limited { rate: bucket.rate }, now);
                    }
                }
            }
            bucket.flow(STEP);
            now += STEP;
        }
        sent
    }

    #[test]
    fn a_limit_is_used_and_few_calls_are_sent_in_vain() {
        for bytes in [50_000, 1_000_000, 6_000_000] {
            let mut bucket = Bucket { rate: 1e6, holds: 1e6 };
            let sent = send(&mut bucket, &Pacing::default(), 4, bytes, Duration::from_secs(600));
            let used = f64::from(sent.admitted) * bytes as f64 / 600e6;
            assert!(used > 0.9, "{bytes}: {used} {sent:?}");
            assert!(sent.refused < sent.admitted / 3 + 8, "{bytes}: {sent:?}");
        }
    }

    #[test]
    fn a_limit_that_is_shared_with_others_is_not_stormed() {
        let mut bucket = Bucket { rate: 1e6, holds: 0.0 };
        // Somebody else takes everything.
        let pacing = Pacing::default();
        let mut refused = 0;
        for _ in 0..600 {
            bucket.holds = -1e9;
            refused += send(&mut bucket, &pacing, 4, 1_000_000, Duration::from_secs(1)).refused;
        }
        assert!(refused < 1_300, "{refused}");
    }

    #[test]
    fn a_limit_that_is_gone_is_forgotten() {
        let mut bucket = Bucket { rate: 1e6, holds: 1e6 };
        let pacing = Pacing::default();
        send(&mut bucket, &pacing, 4, 1_000_000, Duration::from_secs(20));
        assert_eq!(pacing.limited.lock().len(), 1);
        bucket.rate = 1e12;
        // The clock of `send` begins anew, the pace does not.
        send(&mut bucket, &pacing, 4, 1_000_000, Duration::from_secs(40));
        assert!(pacing.limited.lock().is_empty());
    }

    #[test]
    fn calls_that_are_not_limited_never_wait() {
        let pacing = Pacing::default();
        let now = Instant::now();
        pacing.settle(INSERTS, 1 << 20, CallVerdict::Limited { rate: 1.0 }, now);
        assert!(pacing.take_turn(INSERTS, now).is_err());
        for calls in
            [PacedCalls { kind: PacedKind::Delete, ..INSERTS }, PacedCalls { collection: CollectionId(2), ..INSERTS }]
        {
            assert_eq!([pacing.take_turn(calls, now), pacing.take_turn(calls, now)], [Ok(()), Ok(())]);
        }
    }
}
