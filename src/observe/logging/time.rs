/*!
A moment for people to read, in UTC.
*/

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in UTC, to the millisecond: `2026/11/22 18:19:09.123 +00:00`, as Milvus' servers write it.
pub(super) struct MilvusTime(pub(super) SystemTime);

impl fmt::Display for MilvusTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        instant(self.0).strftime("%Y/%m/%d %H:%M:%S%.3f +00:00").fmt(f)
    }
}

/// The same to the second, for a table: `2026-11-22 18:19:09`.
pub(super) struct Short(pub(super) SystemTime);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        instant(self.0).strftime("%Y-%m-%d %H:%M:%S").fmt(f)
    }
}

/// The same as `2026-11-22T18:19:09.123Z` (RFC 3339), which programs know.
pub(super) struct Rfc3339(pub(super) SystemTime);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        instant(self.0).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").fmt(f)
    }
}

/// A clock before 1970 is shown as 1970, one after 9999 as the last day of 9999: a wrong clock is no reason to fail.
fn instant(at: SystemTime) -> jiff::Timestamp {
    jiff::Timestamp::try_from(at.max(UNIX_EPOCH)).unwrap_or(jiff::Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// All three forms.
    fn shown(time: SystemTime) -> [String; 3] {
        [MilvusTime(time).to_string(), Short(time).to_string(), Rfc3339(time).to_string()]
    }

    #[test]
    fn known_moments() {
        for (milliseconds, date, time) in [
            (0, ["1970", "01", "01"], "00:00:00.000"),
            (951_868_799_999, ["2000", "02", "29"], "23:59:59.999"),
            (951_868_800_000, ["2000", "03", "01"], "00:00:00.000"),
            (1_795_371_549_123, ["2026", "11", "22"], "18:19:09.123"),
            (4_107_542_400_007, ["2100", "03", "01"], "00:00:00.007"),
        ] {
            let [slashes, dashes] = ["/", "-"].map(|separator| date.join(separator));
            let expected =
                [format!("{slashes} {time} +00:00"), format!("{dashes} {}", &time[..8]), format!("{dashes}T{time}Z")];
            assert_eq!(shown(UNIX_EPOCH + Duration::from_millis(milliseconds)), expected);
        }
    }

    #[test]
    fn parts_of_a_millisecond_are_cut_off() {
        assert!(shown(UNIX_EPOCH + Duration::from_nanos(1_999_999))[2].ends_with(".001Z"));
    }

    #[test]
    fn a_wrong_clock() {
        assert_eq!(shown(UNIX_EPOCH - Duration::from_secs(1)), shown(UNIX_EPOCH));
        let late = shown(UNIX_EPOCH + Duration::from_secs(1 << 50));
        assert!(late.iter().all(|text| text.starts_with("9999")), "{late:?}");
    }
}
