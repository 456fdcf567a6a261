/*!
Text for people: aligned columns, without control characters.
*/

use std::time::{Duration, UNIX_EPOCH};

use crate::observe::logging::moment;

/// A table with a heading; each column is as wide as its widest cell.
pub(super) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<String> = heading.iter().map(|cell| (*cell).to_owned()).collect();
    let rows: Vec<Vec<String>> =
        [heading].iter().chain(rows).map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| widest(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Replaces control characters by spaces: a server's answer must not control the terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A progress bar.
pub(super) fn bar(done: u64, total: u64) -> String {
    const WIDTH: u64 = 20;
    let filled = match total {
        0 => WIDTH,
        total => (WIDTH * done.min(total)) / total,
    };
    format!("[{}{}]", "#".repeat(filled as usize), "-".repeat((WIDTH - filled) as usize))
}

/// A time in milliseconds since 1970, as text in UTC.
pub(super) fn clock(unix_ms: u64) -> String {
    moment(UNIX_EPOCH + Duration::from_millis(unix_ms))
}

/// A duration in milliseconds, as short text.
pub(super) fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0 => format!("{milliseconds}ms"),
        1..60 => format!("{}.{}s", seconds, milliseconds % 1000 / 100),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars() {
        assert_eq!(bar(0, 100), "[--------------------]");
        assert_eq!(bar(7, 0), "[####################]");
        assert_eq!(bar(200, 100), "[####################]");
        assert_eq!(bar(99, 100), "[###################-]", "full only when it is");
    }

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".to_owned(), "longer".to_owned()], vec!["größe".to_owned(), "\x1b[2Jx".to_owned()]];
        assert_eq!(table(&["ID", "STATE"], &rows), "ID     STATE\na      longer\ngröße   [2Jx\n");
    }

    #[test]
    fn durations() {
        let shown = [242, 1_000, 59_999, 60_000, 3_599_999, 7_260_000].map(duration);
        assert_eq!(shown, ["242ms", "1.0s", "59.9s", "1m00s", "59m59s", "2h01m"]);
    }
}
