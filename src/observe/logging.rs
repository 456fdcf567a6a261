/*!
The server's log: one line per event on stderr, in the format of Milvus' own servers or as JSON.

`[2026/11/22 18:19:09.123 +00:00] [INFO] [task::manager] ["task started"] [task=standby]`
*/

mod format;
mod line;
mod repeats;
mod time;

use std::io::Write;
use std::time::{Instant, SystemTime};

use log::LevelFilter;
use parking_lot::Mutex;

pub use self::format::LogFormat;
use self::line::LogLine;
use self::repeats::Repeats;
use super::thread::current_task;

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

/// A moment to the second, in UTC: `2026-11-22 18:19:09`.
pub fn moment(at: SystemTime) -> String {
    time::Short(at).to_string()
}

/// Starts logging. A second call changes the level only.
pub fn init(level: LevelFilter, format: LogFormat) {
    let repeats = Mutex::new(Repeats::default());
    let mut builder = env_logger::Builder::new();
    // The logger lets everything through: `log`'s own maximum decides, because it can change at run time.
    builder.filter_level(LevelFilter::Trace).format(move |out, record| {
        let event = LogLine::new(record, current_task().as_deref());
        let (now, time) = (Instant::now(), SystemTime::now());
        let tell = repeats.lock().admit(event, now);
        tell.iter().try_for_each(|event| writeln!(out, "{}", event.line(time, format)))
    });
    // It fails only when a logger is there already, which is then ours.
    let _ = builder.try_init();
    set_level(level);
}

/// Changes what is logged from now on.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_names() {
        assert_eq!(parse_level("INFO"), Some(LevelFilter::Info));
        assert_eq!(parse_level("dPanic"), Some(LevelFilter::Error));
        assert_eq!(parse_level("trace"), None);
        assert!(LEVELS.iter().all(|name| parse_level(name).is_some()));
    }
}
