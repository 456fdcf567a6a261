//! Hybrid timestamps of Milvus.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A hybrid timestamp of Milvus: milliseconds since 1970 in the upper 46 bits, a counter in the lower 18.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

const LOGICAL_BITS: u32 = 18;

impl Timestamp {
    /// The smallest timestamp.
    pub const ZERO: Timestamp = Timestamp(0);
    /// The largest timestamp.
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// Milliseconds since 1970.
    pub fn physical_ms(self) -> u64 {
        self.0 >> LOGICAL_BITS
    }

    /// The first hybrid timestamp of a millisecond since 1970.
    pub const fn at_ms(ms: u64) -> Timestamp {
        Timestamp(ms << LOGICAL_BITS)
    }

    /// The current time of this host's clock as a hybrid timestamp.
    pub fn now() -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::at_ms(since.as_millis() as u64)
    }

    /// The time since then by this host's clock; zero for the future.
    pub fn age(self) -> Duration {
        Duration::from_millis(Timestamp::now().physical_ms().saturating_sub(self.physical_ms()))
    }

    /// This timestamp, later by `by`.
    pub fn plus(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add((by.as_millis() as u64) << LOGICAL_BITS))
    }

    /// This timestamp, earlier by `by`.
    pub fn minus(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub((by.as_millis() as u64) << LOGICAL_BITS))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn physical_part_and_arithmetic() {
        let t = Timestamp(470634828216664064);
        assert_eq!(t.physical_ms(), 1795329392306);
        assert_eq!(t.plus(Duration::from_secs(2)).physical_ms(), 1795329394306);
        assert_eq!(t.plus(Duration::from_secs(2)).minus(Duration::from_secs(2)), t);
        assert!(Timestamp::now().minus(Duration::from_secs(9)).age() >= Duration::from_secs(9));
        assert_eq!(Timestamp::now().plus(Duration::from_secs(9)).age(), Duration::ZERO);
        assert_eq!(Timestamp::ZERO.minus(Duration::from_secs(1)), Timestamp::ZERO);
    }
}
