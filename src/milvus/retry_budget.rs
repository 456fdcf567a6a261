//! Limits for how long a call with unknown errors is repeated.

use std::time::{Duration, Instant};

use super::error::Error;
use super::error_policy::{RetryPolicy, retry_policy};

/// The budget of one series of attempts.
#[derive(Debug, Clone, Copy, Default)]
pub struct RetryBudget {
    /// When the current series of errors without a sure meaning began.
    unsure_since: Option<Instant>,
    /// When the current series of errors of unknown meaning began.
    unknown_since: Option<Instant>,
}

/// For errors of unknown meaning.
const WHILE: Duration = Duration::from_secs(60);
/// For errors that may come from a part of the server that is away: longer than a failover or an upgrade lasts.
const LONG: Duration = Duration::from_secs(600);

impl RetryBudget {
    /// Whether a call that failed with this error must not be repeated: the error is permanent, or errors of unknown
    /// meaning have lasted for 60 s, or errors without a sure meaning for 10 minutes. A known passing error in between
    /// starts both times anew: a server that was away and answers strangely while it starts gets the whole time.
    pub fn is_exhausted_by(&mut self, error: &Error) -> bool {
        self.is_exhausted_at(retry_policy(error), Instant::now())
    }

    fn is_exhausted_at(&mut self, policy: RetryPolicy, now: Instant) -> bool {
        match policy {
            RetryPolicy::Retry => {
                *self = RetryBudget::default();
                false
            }
            RetryPolicy::RetryForLong => {
                self.unknown_since = None;
                self.is_unsure_for_too_long(now)
            }
            RetryPolicy::RetryForAWhile => {
                let since = *self.unknown_since.get_or_insert(now);
                self.is_unsure_for_too_long(now) || now.duration_since(since) > WHILE
            }
            RetryPolicy::Stop => true,
        }
    }

    fn is_unsure_for_too_long(&mut self, now: Instant) -> bool {
        now.duration_since(*self.unsure_since.get_or_insert(now)) > LONG
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_uses_nothing_up() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut budget = RetryBudget::default();
        assert!(!budget.is_exhausted_at(RetryPolicy::RetryForAWhile, at(0)));
        assert!(!budget.is_exhausted_at(RetryPolicy::Retry, at(1)));
        assert!(!budget.is_exhausted_at(RetryPolicy::Retry, at(500)));
        assert!(!budget.is_exhausted_at(RetryPolicy::RetryForAWhile, at(501)));
        assert!(!budget.is_exhausted_at(RetryPolicy::RetryForAWhile, at(560)));
        assert!(budget.is_exhausted_at(RetryPolicy::RetryForAWhile, at(562)));
        assert!(budget.is_exhausted_at(RetryPolicy::Stop, at(0)));
    }

    #[test]
    fn a_failover_is_waited_for() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut budget = RetryBudget::default();
        assert!(!budget.is_exhausted_at(RetryPolicy::RetryForLong, at(0)));
        assert!(!budget.is_exhausted_at(RetryPolicy::RetryForLong, at(300)));
        assert!(!budget.is_exhausted_at(RetryPolicy::RetryForAWhile, at(301)), "its 60 s begin now");
        assert!(!budget.is_exhausted_at(RetryPolicy::RetryForLong, at(600)));
        assert!(budget.is_exhausted_at(RetryPolicy::RetryForLong, at(602)));
        assert!(budget.is_exhausted_at(RetryPolicy::RetryForAWhile, at(602)), "both together do not last for ever");
    }
}
