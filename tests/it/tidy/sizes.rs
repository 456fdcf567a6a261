//! Files, functions and lines that can be read at a glance.

use super::Violation;
use super::outline::outline;

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const COLUMNS: usize = 120;

/// What a file is, as far as its size matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Rust,
    /// Python, shell, JavaScript, styles.
    Code,
    Markdown,
    /// Recorded answers, licences, lists that a tool writes.
    Data,
}

fn form(path: &str, text: &str) -> Form {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("rs") => Form::Rust,
        Some("md") => Form::Markdown,
        Some("py" | "sh" | "js" | "css" | "html" | "java") => Form::Code,
        None if text.starts_with("#!") => Form::Code,
        _ => Form::Data,
    }
}

/// Code in files and functions that are too long.
pub(super) fn long_code(path: &str, text: &str) -> Vec<Violation> {
    let found = |line, rule, why| Violation { path: path.to_owned(), line, rule, why };
    let form = form(path, text);
    let mut all = Vec::new();
    let lines = text.lines().count();
    if matches!(form, Form::Rust | Form::Code) && lines > FILE_LINES {
        all.push(found(FILE_LINES + 1, "file", format!("{lines} lines, {FILE_LINES} are allowed")));
    }
    if form == Form::Rust {
        let long = outline(text).functions.into_iter().filter(|function| function.lines > FUNCTION_LINES);
        let why = |name, lines| format!("{name} has {lines} lines, {FUNCTION_LINES} are allowed");
        all.extend(long.map(|function| found(function.line, "function", why(function.name, function.lines))));
    }
    all
}

pub(super) fn long_lines(path: &str, text: &str) -> Vec<Violation> {
    let form = form(path, text);
    if form == Form::Data {
        return Vec::new();
    }
    let is_long = |line: &str| line.chars().count() > COLUMNS && !(form == Form::Markdown && cannot_be_broken(line));
    let found = |(index, line): (usize, &str)| {
        let why = format!("{} columns, {COLUMNS} are allowed", line.chars().count());
        Violation { path: path.to_owned(), line: index + 1, rule: "line", why }
    };
    text.lines().enumerate().filter(|(_, line)| is_long(line)).map(found).collect()
}

/// A row of a table, or one long word: an address.
fn cannot_be_broken(line: &str) -> bool {
    let longest = line.split(' ').map(|word| word.chars().count()).max().unwrap_or(0);
    line.trim_start().starts_with('|') || longest > COLUMNS
}

const NONE: [&str; 0] = [];

#[test]
fn what_is_too_long_is_found() {
    let shown = |path: &str, text: &str| -> Vec<String> {
        let all = [long_code(path, text), long_lines(path, text)].concat();
        all.iter().map(Violation::to_string).collect()
    };
    let long = "x".repeat(COLUMNS + 1);
    let words = "word ".repeat(COLUMNS / 5 + 1);
    assert_eq!(shown("src/a.rs", &format!("\n// {long}")), ["src/a.rs:2: line: 124 columns, 120 are allowed"]);
    assert_eq!(
        shown("docs/a.md", &format!("| {words} |\n{words}\n{long}")),
        ["docs/a.md:2: line: 125 columns, 120 are allowed"]
    );
    assert_eq!(shown("tests/cases.jsonl", &long), NONE);
    assert_eq!(shown("scripts/tool", &format!("#!/bin/sh\n{long}")).len(), 1);
    let file = "\n".repeat(FILE_LINES + 1);
    assert_eq!(shown("tests/a.py", &file), ["tests/a.py:501: file: 501 lines, 500 are allowed"]);
    assert_eq!(shown("docs/a.md", &file), NONE);
    let body = |lines: usize| format!("mod m {{\n    fn f() {{\n{}    }}\n}}", "        \"}\";\n".repeat(lines - 2));
    assert_eq!(shown("src/a.rs", &body(FUNCTION_LINES)), NONE);
    assert_eq!(shown("src/a.rs", &body(FUNCTION_LINES + 1)), ["src/a.rs:2: function: f has 71 lines, 70 are allowed"]);
}
