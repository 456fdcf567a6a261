//! Microseconds since 1970 as text.

use jiff::Timestamp;

const MICROSECONDS: i64 = 1_000_000;
/// The Gregorian calendar repeats after so many years.
const CYCLE_YEARS: i64 = 400;
const CYCLE: i64 = 146_097 * 86_400 * MICROSECONDS;

/// ISO 8601 in UTC, with microseconds where there are some: `2026-01-01T00:00:00Z`.
pub(super) fn to_text(microseconds: i64) -> String {
    // The library ends a day before the year 10000. So the moment is moved by whole cycles into the 400 years from
    // 1970 on: only the year differs.
    let (cycle, within) = (microseconds.div_euclid(CYCLE), microseconds.rem_euclid(CYCLE));
    let moved = Timestamp::from_microsecond(within).expect("it lies between 1970 and 2370");
    let year = moved.to_zoned_datetime(jiff::tz::TimeZone::UTC).year();
    let year = i64::from(year) + CYCLE_YEARS * cycle;
    let rest = if within % MICROSECONDS == 0 { "-%m-%dT%H:%M:%SZ" } else { "-%m-%dT%H:%M:%S%.6fZ" };
    format!("{year:04}{}", moved.strftime(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_and_after_1970() {
        for (microseconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_767_225_600_000_000, "2026-01-01T00:00:00Z"),
            (1_767_225_600_123_456, "2026-01-01T00:00:00.123456Z"),
            (1_767_225_600_100_000, "2026-01-01T00:00:00.100000Z"),
            (-1_000_000, "1969-12-31T23:59:59Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00Z"),
            (-62_135_596_800_000_000, "0001-01-01T00:00:00Z"),
            (-62_167_219_200_000_000, "0000-01-01T00:00:00Z"),
            (-62_167_219_200_000_001, "-001-12-31T23:59:59.999999Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
            (253_402_300_800_000_000, "10000-01-01T00:00:00Z"),
        ] {
            assert_eq!(to_text(microseconds), text);
        }
    }

    #[test]
    fn every_number_has_a_text() {
        assert_eq!(to_text(i64::MIN), "-290308-12-21T19:59:05.224192Z");
        assert_eq!(to_text(i64::MAX), "294247-01-10T04:00:54.775807Z");
    }
}
