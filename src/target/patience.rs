//! How long errors that nobody knows are tried again.

use std::time::{Duration, Instant};

use super::Verdict;

/// Of one series of tries.
#[derive(Debug, Clone, Copy, Default)]
pub struct Patience {
    /// When the errors began that may not pass.
    since: Option<Instant>,
}

const LONGEST: Duration = Duration::from_secs(60);

impl Patience {
    /// Whether there is no hope after an error of this kind. A server that was away and says strange things while it starts gets all of the
    /// time then: what came before was of another kind.
    pub fn is_over(&mut self, verdict: Verdict) -> bool {
        self.is_over_at(verdict, Instant::now())
    }

    fn is_over_at(&mut self, verdict: Verdict, now: Instant) -> bool {
        match verdict {
            Verdict::Retry => {
                self.since = None;
                false
            }
            Verdict::RetryForAWhile => now.duration_since(*self.since.get_or_insert(now)) > LONGEST,
            Verdict::Stop => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_uses_nothing_up() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut patience = Patience::default();
        assert!(!patience.is_over_at(Verdict::RetryForAWhile, at(0)));
        assert!(!patience.is_over_at(Verdict::Retry, at(1)));
        assert!(!patience.is_over_at(Verdict::Retry, at(500)));
        assert!(!patience.is_over_at(Verdict::RetryForAWhile, at(501)));
        assert!(!patience.is_over_at(Verdict::RetryForAWhile, at(560)));
        assert!(patience.is_over_at(Verdict::RetryForAWhile, at(562)));
        assert!(patience.is_over_at(Verdict::Stop, at(0)));
    }
}
