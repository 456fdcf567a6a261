/*!
The server's log: one line per event on stderr, in the format of Milvus' own servers.

`[2026/11/22 18:19:09.123 +00:00] [INFO] [task::manager] ["task started"]`
*/

use std::fmt;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::{Level, LevelFilter, Record};

/// The names that a level may have, in the config and in `maintenance`; case does not matter.
pub const LEVELS: [&str; 7] = ["debug", "info", "warn", "error", "dpanic", "panic", "fatal"];

/// The level with this name; the three above `error` mean `error`, since nothing here is logged above it.
pub fn parse_level(name: &str) -> Option<LevelFilter> {
    match name.to_ascii_lowercase().as_str() {
        "debug" => Some(LevelFilter::Debug),
        "info" => Some(LevelFilter::Info),
        "warn" => Some(LevelFilter::Warn),
        "error" | "dpanic" | "panic" | "fatal" => Some(LevelFilter::Error),
        _ => None,
    }
}

/// Starts logging. A second call changes the level only.
pub fn init(level: LevelFilter) {
    let mut builder = env_logger::Builder::new();
    // The logger lets everything through: `log`'s own maximum decides, because it can change at run time.
    builder.filter_level(LevelFilter::Trace).format(|out, record| {
        let line = Line { time: SystemTime::now(), record };
        writeln!(out, "{line}")
    });
    // It fails only when a logger is there already, which is then ours.
    let _ = builder.try_init();
    set_level(level);
}

/// Changes what is logged from now on.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

struct Line<'a> {
    time: SystemTime,
    record: &'a Record<'a>,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let module = self.record.target();
        let module = module.strip_prefix("milvus_cdc::").unwrap_or(module);
        write!(f, "[{}] [{}] [{module}] [\"", Timestamp(self.time), level_name(self.record.level()))?;
        // What others wrote must not be able to look like a line of its own.
        for c in self.record.args().to_string().chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_control() => write!(f, "{}", c.escape_default())?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"]")
    }
}

fn level_name(level: Level) -> &'static str {
    level.as_str()
}

/// A moment in UTC, to the millisecond.
struct Timestamp(SystemTime);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A clock before 1970 is shown as 1970: a wrong clock is no reason to fail.
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (year, month, day) = civil_date(days);
        let (hour, minute) = (second / 3_600, second / 60 % 60);
        write!(f, "{year:04}/{month:02}/{day:02} ")?;
        write!(f, "{hour:02}:{minute:02}:{:02}.{:03} +00:00", second % 60, since.subsec_millis())
    }
}

/// Year, month and day of the day that many days after 1970-01-01, in the Gregorian calendar.
fn civil_date(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970: u64 = 719_468;
    const DAYS_PER_ERA: u64 = 146_097;
    // Years begin in March here, so that the leap day is a year's last day, and repeat every 400 years.
    let days = days + DAYS_TO_1970;
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        assert_eq!(civil_date(0), (1970, 1, 1));
        assert_eq!(civil_date(11_016), (2000, 2, 29));
        assert_eq!(civil_date(11_017), (2000, 3, 1));
        assert_eq!(civil_date(20_779), (2026, 11, 22));
        let time = UNIX_EPOCH + Duration::from_millis(1_795_371_549_123);
        assert_eq!(Timestamp(time).to_string(), "2026/11/22 18:19:09.123 +00:00");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut expected = (1970, 1, 1);
        for day in 0..200_000 {
            assert_eq!(civil_date(day), expected, "day {day}");
            expected = next_day(expected);
        }
    }

    fn next_day((year, month, day): (u64, u64, u64)) -> (u64, u64, u64) {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        match (month, day) {
            (12, 31) => (year + 1, 1, 1),
            (_, day) if day == length => (year, month + 1, 1),
            _ => (year, month, day + 1),
        }
    }

    #[test]
    fn a_line_is_one_line() {
        let args = format_args!("a \"b\"\n[x] \\");
        let record = Record::builder().args(args).level(Level::Warn).target("milvus_cdc::task::manager").build();
        let line = Line { time: UNIX_EPOCH, record: &record }.to_string();
        assert_eq!(line, r#"[1970/01/01 00:00:00.000 +00:00] [WARN] [task::manager] ["a \"b\"\n[x] \\"]"#);
    }

    #[test]
    fn level_names() {
        assert_eq!(parse_level("INFO"), Some(LevelFilter::Info));
        assert_eq!(parse_level("dPanic"), Some(LevelFilter::Error));
        assert_eq!(parse_level("trace"), None);
        assert!(LEVELS.iter().all(|name| parse_level(name).is_some()));
    }
}
