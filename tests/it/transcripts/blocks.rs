//! What a document shows: its fenced blocks, and the pieces of output in them.

use serde_json::Value;

/// A fenced block.
pub(super) struct Block<'a> {
    pub(super) kind: &'a str,
    /// Of the fence, counted from 1.
    pub(super) line: usize,
    pub(super) lines: Vec<&'a str>,
}

/// Something that the program has printed, or that was sent to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Log {
        module: String,
        message: String,
    },
    /// A request, an answer or a part of one.
    Json {
        text: String,
    },
    /// A line of another output, by its columns.
    Output {
        cells: Vec<String>,
    },
    Unknown {
        why: String,
    },
}

/// What users type or write themselves, with nothing to be checked in it.
const INPUT: [&str; 2] = ["sh", "yaml"];
const LEVELS: [&str; 5] = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
const MARKS: [&str; 3] = ["✓", "!", "✗"];

pub(super) fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut is_open = false;
    for (index, line) in text.lines().enumerate() {
        // A block in a list is indented.
        match line.trim_start().strip_prefix("```") {
            Some(kind) if !is_open && !kind.contains('`') => {
                blocks.push(Block { kind: kind.trim(), line: index + 1, lines: Vec::new() });
                is_open = true;
            }
            Some(_) => is_open = false,
            None if is_open => blocks.last_mut().unwrap().lines.push(line),
            None => {}
        }
    }
    blocks
}

/// The pieces of a block, each with its distance from the fence and its first line.
pub(super) fn pieces(kind: &str, lines: &[&str]) -> Vec<(usize, String, Piece)> {
    let unknown = |why: &str| Piece::Unknown { why: why.to_owned() };
    if INPUT.contains(&kind) {
        return Vec::new();
    }
    if !["console", "json", "text"].contains(&kind) {
        let piece = unknown("blocks are marked console, json, text, sh or yaml");
        return vec![(0, format!("```{kind}"), piece)];
    }
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(line) = lines.get(at).copied() {
        let rest = &lines[at..];
        let (count, piece) = if line.trim().is_empty() {
            (1, None)
        } else if kind == "console" && line.starts_with("$ ") {
            let count = rest.len().min(1 + rest.iter().scan(0, is_incomplete_command).take_while(|more| *more).count());
            (count, request(&rest[..count].join("\n")))
        } else if line.starts_with('{') {
            let count = rest.len().min(
                1 + rest
                    .iter()
                    .scan(Nesting::default(), |nesting, line| Some(nesting.after(line) > 0))
                    .take_while(|more| *more)
                    .count(),
            );
            (count, Some(Piece::Json { text: rest[..count].join("\n") }))
        } else if let Some(piece) = log_line(line) {
            (1, Some(piece))
        } else if kind == "console" {
            (1, Some(Piece::Output { cells: cells(line) }))
        } else {
            (1, Some(unknown("neither a log line nor JSON")))
        };
        found.extend(piece.map(|piece| (at + 1, line.trim().to_owned(), piece)));
        at += count;
    }
    found
}

/// Whether the command goes on in the next line: after a backslash, or in quotes.
#[allow(clippy::unnecessary_wraps, reason = "`scan` wants it")]
fn is_incomplete_command(quotes: &mut usize, line: &&str) -> Option<bool> {
    *quotes += line.matches('\'').count();
    Some(line.ends_with('\\') || *quotes % 2 == 1)
}

/// What curl sends.
fn request(command: &str) -> Option<Piece> {
    let (_, text) = command.split_once("-d '")?;
    Some(Piece::Json { text: text.split('\'').next()?.to_owned() })
}

/// How many braces are open, those in strings aside.
#[derive(Default)]
struct Nesting {
    open: usize,
    in_string: bool,
}

impl Nesting {
    fn after(&mut self, line: &str) -> usize {
        let mut is_escaped = false;
        for character in line.chars() {
            match character {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = self.in_string,
                '"' => self.in_string = !self.in_string,
                '{' if !self.in_string => self.open += 1,
                '}' if !self.in_string => self.open = self.open.saturating_sub(1),
                _ => {}
            }
        }
        self.open
    }
}

/// `[time] [LEVEL] [module] ["message"] [key=value]`, also without the time.
fn log_line(line: &str) -> Option<Piece> {
    let level = LEVELS.iter().map(|level| format!("[{level}] [")).find(|level| line.contains(level.as_str()))?;
    let unknown = || Piece::Unknown { why: "not in the format of log lines".to_owned() };
    let parts = line.split_once(&level).and_then(|(_, rest)| rest.split_once("] [\""));
    let Some((module, rest)) = parts else { return Some(unknown()) };
    let Some((message, _)) = rest.split_once("\"]") else { return Some(unknown()) };
    Some(Piece::Log { module: module.to_owned(), message: message.replace("\\\"", "\"").replace("\\\\", "\\") })
}

/// The columns of a line, which stand two spaces apart; marks are none.
fn cells(line: &str) -> Vec<String> {
    let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty() && !MARKS.contains(cell));
    cells.map(str::to_owned).collect()
}

/// The value, and whether something is left out of it. `…` stands for what is; a string may be broken into lines.
pub(super) fn json_of(text: &str) -> Result<(Value, bool), String> {
    let mut kept = String::new();
    let (mut in_string, mut is_escaped, mut elided) = (false, false, false);
    for character in text.lines().map(str::trim).collect::<Vec<_>>().join(" ").chars() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = in_string,
            '"' => in_string = !in_string,
            '…' if !in_string => {
                elided = true;
                continue;
            }
            // Of the commas around what was left out one at most may stay.
            ',' | '}' | ']' if !in_string => {
                let before = kept.trim_end();
                if character == ',' && before.ends_with(['{', '[', ',']) {
                    continue;
                }
                if character != ',' && before.ends_with(',') {
                    kept.truncate(before.len() - 1);
                }
            }
            _ => {}
        }
        kept.push(character);
    }
    let value = serde_json::from_str(&kept).map_err(|error| format!("no JSON ({error})"))?;
    Ok((value, elided))
}

/// Texts in backticks in the first column of the tables below these headings, with their lines.
pub(super) fn quoted_in_tables(text: &str, headings: &[&str]) -> Vec<(usize, String)> {
    let mut is_wanted = false;
    let mut found = Vec::new();
    let below = text.lines().skip(1).chain([""]);
    for (index, (line, next)) in text.lines().zip(below).enumerate() {
        if line.starts_with("## ") {
            is_wanted = headings.contains(&line);
        }
        let is_head = next.starts_with("|---");
        if let Some(row) = line.strip_prefix("| ").filter(|_| is_wanted && !is_head) {
            let cell = row.split(" | ").next().unwrap_or(row);
            found.extend(quoted(cell).into_iter().map(|text| (index + 1, text)));
        }
    }
    found
}

fn quoted(cell: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = cell;
    while let Some(begin) = rest.find('`') {
        let fence = if rest[begin..].starts_with("``") { "``" } else { "`" };
        let inside = &rest[begin + fence.len()..];
        let Some(end) = inside.find(fence) else { break };
        found.push(inside[..end].to_owned());
        rest = &inside[end + fence.len()..];
    }
    found
}

#[test]
fn blocks_and_pieces() {
    let text = "a\n```console\n$ curl -d '{\n  \"a\": 1}' \\\n  -v\n\
                {\"b\":{…,\n \"c\":\"d\n  e\"},…}\n\n✓  one two   x\n```\n  ```sh\n  ls\n  ```\n";
    let found = blocks(text);
    assert_eq!(found.iter().map(|block| (block.kind, block.line)).collect::<Vec<_>>(), [("console", 2), ("sh", 12)]);
    let found = pieces("console", &found[0].lines);
    assert_eq!(found.iter().map(|(line, _, _)| *line).collect::<Vec<_>>(), [1, 4, 8]);
    assert_eq!(found[0].2, Piece::Json { text: "{\n  \"a\": 1}".into() });
    let Piece::Json { text } = &found[1].2 else { panic!("{found:?}") };
    assert_eq!(json_of(text), Ok((serde_json::json!({"b": {"c": "d e"}}), true)));
    assert_eq!(found[2].2, Piece::Output { cells: vec!["one two".into(), "x".into()] });
    assert_eq!(quoted("`a b`, ``c `d` e``"), ["a b", "c `d` e"]);
}
