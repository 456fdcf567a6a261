/*!
The time of a source, estimated from what the source says of it: this host's clock may differ from it, and must not
decide how far a target is behind.

An answer of `AllocTimestamp` counts where the source gives one. Else the newest time ticks do: the source's clock
showed at least a tick's time when the tick was read. Both are extrapolated with a clock that nobody can set. A source
that has said nothing yet is taken to have this host's time.
*/

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::domain::Timestamp;

/// The time of one source. Shared by whoever hears of it and whoever needs it.
#[derive(Debug, Default)]
pub struct SourceTime(Mutex<ClockReadings>);

#[derive(Debug, Default)]
struct ClockReadings {
    answer: Option<ClockReading>,
    tick: Option<ClockReading>,
    /// The newest that it has told, as it was told.
    last: Option<Timestamp>,
}

/// What the source's clock showed at a moment, at least.
#[derive(Debug, Clone, Copy)]
struct ClockReading {
    time: Timestamp,
    at: Instant,
}

/// A moment, as this host knows it.
#[derive(Debug, Clone, Copy)]
struct HostMoment {
    at: Instant,
    /// What this host's clock shows.
    clock: Timestamp,
}

impl HostMoment {
    fn now() -> HostMoment {
        HostMoment { at: Instant::now(), clock: Timestamp::now() }
    }
}

/// How far the source's clock is ahead of this host's, in milliseconds; below zero when it is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClockSkew {
    /// Milliseconds.
    pub ms: i64,
}

impl ClockReading {
    fn extrapolated(self, at: Instant) -> Timestamp {
        self.time.plus(at.saturating_duration_since(self.at))
    }
}

impl SourceTime {
    /// The source has told its time, which it was asked for at this moment.
    pub fn answered(&self, time: Timestamp, asked: Instant) {
        let mut readings = self.0.lock();
        readings.answer = Some(ClockReading { time, at: asked });
        readings.last = readings.last.max(Some(time));
    }

    /// A time tick at the end of the log was read at this moment.
    pub fn ticked(&self, time: Timestamp, at: Instant) {
        let mut readings = self.0.lock();
        readings.last = readings.last.max(Some(time));
        // Ticks are late by different times: the one that was least late tells most.
        if readings.tick.is_none_or(|tick| tick.extrapolated(at) < time) {
            readings.tick = Some(ClockReading { time, at });
        }
    }

    /// The newest moment that the source has told of; `None` until it has told any.
    pub fn last_told(&self) -> Option<Timestamp> {
        self.0.lock().last
    }

    /// The source's time now.
    pub fn now(&self) -> Timestamp {
        let here = HostMoment::now();
        self.told(here.at).unwrap_or(here.clock)
    }

    /// How long ago a moment of the source's was; zero for its future.
    pub fn since(&self, then: Timestamp) -> Duration {
        Duration::from_millis(self.now().physical_ms().saturating_sub(then.physical_ms()))
    }

    /// How far the source's clock is ahead of this host's; `None` until the source has told its time.
    pub fn skew(&self) -> Option<ClockSkew> {
        self.skew_at(HostMoment::now())
    }

    fn skew_at(&self, here: HostMoment) -> Option<ClockSkew> {
        let told = self.told(here.at)?;
        Some(ClockSkew { ms: told.physical_ms() as i64 - here.clock.physical_ms() as i64 })
    }

    fn told(&self, at: Instant) -> Option<Timestamp> {
        let readings = self.0.lock();
        let told = readings.answer.or(readings.tick)?;
        Some(told.extrapolated(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::at_ms(1_700_000_000_000);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_source_that_says_nothing_has_this_hosts_time() {
        let source = SourceTime::default();
        let before = Timestamp::now();
        assert!(source.now() >= before && source.now() <= Timestamp::now());
        assert_eq!(source.skew(), None, "nobody knows");
    }

    #[test]
    fn what_the_source_says_counts_whatever_the_hosts_clock_shows() {
        let (source, start) = (SourceTime::default(), Instant::now());
        source.answered(START, start);
        let at = start + ms(70);
        for (clock, skew) in [(START.plus(ms(70)), 0), (START.plus(ms(3070)), -3000), (START.minus(ms(930)), 1000)] {
            assert_eq!(source.skew_at(HostMoment { at, clock }), Some(ClockSkew { ms: skew }));
        }
        assert_eq!(source.told(at), Some(START.plus(ms(70))));
        source.answered(START.minus(ms(5000)), at);
        assert_eq!(source.told(at), Some(START.minus(ms(5000))), "another server may have taken its place");
    }

    #[test]
    fn of_ticks_the_one_that_was_least_late_counts() {
        let (source, start) = (SourceTime::default(), Instant::now());
        source.ticked(START, start);
        source.ticked(START.plus(ms(100)), start + ms(300));
        assert_eq!(source.told(start + ms(300)), Some(START.plus(ms(300))), "it was 200 ms later than the first");
        source.ticked(START.plus(ms(500)), start + ms(400));
        assert_eq!(source.told(start + ms(400)), Some(START.plus(ms(500))));
        source.answered(START.plus(ms(700)), start + ms(400));
        source.ticked(START.plus(ms(900)), start + ms(400));
        assert_eq!(source.told(start + ms(400)), Some(START.plus(ms(700))), "an answer tells more than any tick");
    }

    #[test]
    fn the_newest_moment_that_was_told_stays() {
        let (source, start) = (SourceTime::default(), Instant::now());
        assert_eq!(source.last_told(), None);
        source.ticked(START.plus(ms(300)), start);
        source.ticked(START.plus(ms(100)), start + ms(900));
        assert_eq!(source.last_told(), Some(START.plus(ms(300))));
        source.answered(START.plus(ms(500)), start + ms(900));
        assert_eq!(source.last_told(), Some(START.plus(ms(500))), "as it was told");
    }

    #[test]
    fn a_lag_is_counted_in_the_sources_time() {
        let source = SourceTime::default();
        let three_years_ahead = Timestamp::now().plus(Duration::from_secs(94_608_000));
        source.answered(three_years_ahead, Instant::now());
        let lag = source.since(three_years_ahead.minus(ms(250)));
        assert!(lag >= ms(250) && lag < Duration::from_secs(60), "{lag:?}");
        assert_eq!(source.since(three_years_ahead.plus(Duration::from_secs(600))), Duration::ZERO);
    }
}
