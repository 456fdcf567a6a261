//! The string literals of Rust code, and the code of a folder without its tests.

use std::fs;
use std::path::{Path, PathBuf};

/// Paths below `folder` and their code, without files and modules for tests: the program prints none of their texts.
pub(super) fn code_below(folder: &Path) -> Vec<(String, String)> {
    let mut waiting = vec![folder.to_owned()];
    let (mut files, mut for_tests): (Vec<(PathBuf, String)>, Vec<PathBuf>) = (Vec::new(), Vec::new());
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for_tests.extend(test_modules(&text).into_iter().flat_map(|module| files_of(&path, &module)));
            files.push((path, without_tests(&text).to_owned()));
        }
    }
    files.retain(|(path, _)| !for_tests.contains(path));
    files.sort();
    let relative = |path: PathBuf| path.strip_prefix(folder).unwrap().display().to_string();
    files.into_iter().map(|(path, code)| (relative(path), code)).collect()
}

/// The modules that are declared for tests only and have a file of their own.
fn test_modules(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let declared = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]").map(|pair| pair[1]);
    let names = declared.filter_map(|line| line.strip_suffix(';')?.split("mod ").nth(1));
    names.map(str::to_owned).collect()
}

/// Where the module of that name stands that `parent` declares.
fn files_of(parent: &Path, module: &str) -> [PathBuf; 2] {
    let folder = match parent.file_name().and_then(|name| name.to_str()) {
        Some("mod.rs" | "lib.rs" | "main.rs") => parent.with_file_name(""),
        _ => parent.with_extension(""),
    };
    [folder.join(format!("{module}.rs")), folder.join(module).join("mod.rs")]
}

/// The code before the module of tests, which is a file's last item.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

/// Every string literal, its escapes resolved.
pub(super) fn literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some((text, length)) = raw(rest) {
            found.push(text);
            length
        } else if first == '"' {
            let (text, length) = escaped(rest);
            found.push(text);
            length
        } else if first == '\'' {
            character(rest)
        } else if first == '_' || first.is_alphanumeric() {
            rest.find(|next: char| next != '_' && !next.is_alphanumeric()).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    found
}

/// `r"…"` and `r#"…"#`, and how long it is.
fn raw(rest: &str) -> Option<(String, usize)> {
    let hashes = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let text = hashes.trim_start_matches('#');
    let end = format!("\"{}", "#".repeat(hashes.len() - text.len()));
    let text = text.strip_prefix('"')?;
    let length = text.find(&end)?;
    Some((text[..length].to_owned(), rest.len() - text.len() + length + end.len()))
}

/// `"…"`, and how long it is.
fn escaped(rest: &str) -> (String, usize) {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (text, at + 1),
            '\\' => match characters.next().map(|(_, escape)| escape) {
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some('t') => text.push('\t'),
                // A line that goes on: the space before its text is none of it.
                Some('\n') => while characters.next_if(|(_, next)| next.is_whitespace()).is_some() {},
                Some('u') => {
                    let digits = characters.by_ref().skip(1).map(|(_, digit)| digit).take_while(|digit| *digit != '}');
                    let code = u32::from_str_radix(&digits.collect::<String>(), 16).ok();
                    text.extend(code.and_then(char::from_u32));
                }
                Some(other) => text.push(other),
                None => {}
            },
            other => text.push(other),
        }
    }
    (text, rest.len())
}

/// The length of a character literal, or of a lifetime's mark.
fn character(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some((at, escape))) => {
            let behind = at + escape.len_utf8();
            rest[behind..].find('\'').map_or(rest.len(), |end| behind + end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

#[test]
fn literals_of_code() {
    let code = r##"
        // "a comment"
        fn f<'a>(c: char) -> bool { c == '"' || c == '\'' || c == '\u{22}' }
        const A: &str = "one \"two\" \u{2713} \
             three\n"; /* "no" */
        const B: &[u8] = br#"raw "four""#;
        let r = "five";
    "##;
    assert_eq!(literals(code), ["one \"two\" ✓ three\n", "raw \"four\"", "five"]);
    assert_eq!(test_modules("#[cfg(test)]\npub(crate) mod testing;\nmod real;\n"), ["testing"]);
    assert_eq!(files_of(Path::new("a/b.rs"), "t")[0], Path::new("a/b/t.rs"));
    assert_eq!(files_of(Path::new("a/mod.rs"), "t")[0], Path::new("a/t.rs"));
}
