//! Waiting longer and longer between tries, with jitter so that many do not come back at once.

use std::time::Duration;

/// The waits of one series of tries.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
}

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

impl Default for Backoff {
    fn default() -> Self {
        Backoff { next: FIRST }
    }
}

impl Backoff {
    /// How long to wait now: between half and all of a time that doubles up to 5 s.
    pub fn wait(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(LONGEST);
        full.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_a_limit() {
        let mut backoff = Backoff::default();
        assert!(backoff.wait() <= FIRST);
        let waits: Vec<Duration> = (0..20).map(|_| backoff.wait()).collect();
        assert!(waits.iter().all(|wait| *wait <= LONGEST));
        assert!(waits.iter().skip(8).all(|wait| *wait >= LONGEST / 2));
    }
}
