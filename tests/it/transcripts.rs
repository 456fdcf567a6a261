/*!
Transcripts in the documentation show only what the program can print.

Log lines, command output and error texts are compared with the string literals of `src/`: each format string is a
pattern whose holes hold values, or texts of other literals (`cover`). API answers are compared with the OpenAPI
description, and numbers that are constants with the constants. The source is read as text, so neither a file that moves
nor a message that is reworded needs a change here; a document that still shows the old words fails with its path, the
line and those words.
*/

mod blocks;
mod cover;
mod literals;
mod schema;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use self::blocks::{Block, Piece, json_of, pieces};
use self::cover::Texts;
use self::schema::{Description, Strictness};

/// Text of a document that the program cannot have printed.
#[derive(Debug, PartialEq, Eq)]
struct Stale {
    path: String,
    line: usize,
    why: String,
    text: String,
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.why, self.text)
    }
}

/// What documents are held against.
struct Program {
    /// Paths below `src/` and their code, without the tests in it.
    files: Vec<(String, String)>,
    texts: Texts,
    api: Description,
}

/// A number in answers, and how the source begins where it fills it with a constant.
const CONSTANTS: [(&str, &str); 2] = [("queue_limit_bytes", "queue_limit: "), ("slot_ms", "\"slot_ms\": ")];
/// Fields of answers whose value is text for people.
const PROSE: [&str; 7] = ["message", "text", "remedy", "reason", "why", "difference", "State"];
/// The parts of the operators' guide whose tables quote error texts.
const QUOTING: [&str; 2] = ["## Errors and remedies", "## After \"copied again\""];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Program {
    fn read() -> Self {
        Program::of(literals::code_below(&repository().join("src")))
    }

    fn of(files: Vec<(String, String)>) -> Self {
        let texts = Texts::new(files.iter().flat_map(|(_, code)| literals::literals(code)));
        let api = Description::read(&fs::read_to_string(repository().join("src/api/openapi.json")).unwrap());
        Program { files, texts, api }
    }

    /// Whether log lines can carry this module: `catalog::create`.
    fn has_module(&self, module: &str) -> bool {
        let path = module.replace("::", "/");
        self.files.iter().any(|(file, _)| *file == format!("{path}.rs") || *file == format!("{path}/mod.rs"))
    }

    /// The value of the constant that the source puts behind `begins`.
    fn constant(&self, begins: &str) -> Option<u64> {
        let names = self.files.iter().flat_map(|(_, code)| code.split(begins).skip(1)).map(first_word);
        let name =
            names.into_iter().find(|name| name.chars().any(char::is_uppercase) && *name == name.to_uppercase())?;
        let definition = format!("const {name}: ");
        self.files.iter().find_map(|(_, code)| number(code.split(&definition).nth(1)?.split(['=', ';']).nth(1)?))
    }

    fn check_piece(&self, piece: &Piece) -> Result<(), String> {
        match piece {
            Piece::Log { module, message } => {
                if !self.has_module(module) {
                    return Err(format!("no file of src/ is the module {module}"));
                }
                self.texts.check(message)
            }
            Piece::Json { text } => self.check_json(text),
            Piece::Output { cells } => cells.iter().try_for_each(|cell| self.texts.check(cell)),
            Piece::Unknown { why } => Err(why.clone()),
        }
    }

    fn check_json(&self, text: &str) -> Result<(), String> {
        let (value, elided) = json_of(text)?;
        let strictness = if elided { Strictness::Excerpt } else { Strictness::Whole };
        self.api.check(&value, strictness)?;
        self.check_values(&value)
    }

    fn check_values(&self, value: &Value) -> Result<(), String> {
        for item in value.as_array().into_iter().flatten() {
            self.check_values(item)?;
        }
        for (key, field) in value.as_object().into_iter().flatten() {
            if let Some((_, begins)) = CONSTANTS.iter().find(|(name, _)| name == key) {
                let constant = self.constant(begins).ok_or_else(|| format!("no constant stands behind {begins:?}"))?;
                if field.as_u64() != Some(constant) {
                    return Err(format!("{key} is {constant} in the code, not {field}"));
                }
            }
            match field.as_str() {
                Some(text) if PROSE.contains(&key.as_str()) => self.texts.check(text)?,
                _ => self.check_values(field)?,
            }
        }
        Ok(())
    }

    fn check_document(&self, path: &str, text: &str) -> Vec<Stale> {
        let mut stale = Vec::new();
        for Block { kind, line, lines } in blocks::blocks(text) {
            for (offset, shown, piece) in pieces(kind, &lines) {
                if let Err(why) = self.check_piece(&piece) {
                    stale.push(Stale { path: path.to_owned(), line: line + offset, why, text: shown });
                }
            }
        }
        stale
    }

    /// The texts in the first column of the tables below these headings.
    fn check_quoted_errors(&self, path: &str, text: &str) -> Vec<Stale> {
        let mut stale = Vec::new();
        for (line, quoted) in blocks::quoted_in_tables(text, &QUOTING) {
            if let Err(why) = self.texts.check(&quoted) {
                stale.push(Stale { path: path.to_owned(), line, why, text: quoted });
            }
        }
        stale
    }
}

fn first_word(text: &str) -> &str {
    let end = text.find(|character: char| character != '_' && !character.is_alphanumeric()).unwrap_or(text.len());
    &text[..end]
}

/// The value of `30`, `8 << 20`, `4 * 1024`, or of `Duration::from_secs(30)` in milliseconds.
fn number(expression: &str) -> Option<u64> {
    let expression = expression.trim();
    if let Some(seconds) = expression.strip_prefix("Duration::from_secs(") {
        return Some(1000 * number(seconds.strip_suffix(')')?)?);
    }
    if let Some((left, right)) = expression.split_once("<<") {
        return Some(number(left)? << number(right)?);
    }
    if let Some((left, right)) = expression.split_once('*') {
        return Some(number(left)? * number(right)?);
    }
    expression.replace('_', "").parse().ok()
}

fn documents() -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md"].map(|name| repository().join(name)).into();
    let docs = fs::read_dir(repository().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    paths.extend(docs.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    paths.sort();
    let named = |path: &PathBuf| path.strip_prefix(repository()).unwrap().display().to_string();
    paths.iter().map(|path| (named(path), fs::read_to_string(path).unwrap())).collect()
}

fn expect_none(stale: &[Stale]) {
    let listed: String = stale.iter().map(|one| format!("\n  {one}")).collect();
    assert!(stale.is_empty(), "documents show what the program cannot print:{listed}");
}

#[test]
fn transcripts_show_what_the_program_prints() {
    let program = Program::read();
    let stale: Vec<Stale> = documents().iter().flat_map(|(path, text)| program.check_document(path, text)).collect();
    expect_none(&stale);
}

#[test]
fn quoted_error_texts_are_those_of_the_program() {
    let program = Program::read();
    let (path, text) = documents().into_iter().find(|(path, _)| path == "docs/operating.md").unwrap();
    assert!(blocks::quoted_in_tables(&text, &QUOTING).len() > 50, "the tables of error texts are not found");
    expect_none(&program.check_quoted_errors(&path, &text));
}

/// The README links the file of recorded requests; it and the test that sends them say how many there are.
#[test]
fn the_recorded_requests_are_counted_right() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let mut links = readme.split("](").map(|part| part.split(')').next().unwrap_or(part));
    let cases = repository().join(links.find(|path| path.ends_with("cases.jsonl")).unwrap());
    let count = fs::read_to_string(&cases).unwrap().lines().count();
    let sender = fs::read_to_string(cases.parent().unwrap().with_file_name("api_contract.rs")).unwrap();
    assert_eq!(numbers_of_requests(&readme), [count], "README.md");
    assert!(numbers_of_requests(&sender).iter().all(|number| *number == count), "api_contract.rs");
}

/// The numbers in "… 99 requests …".
fn numbers_of_requests(text: &str) -> Vec<usize> {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.windows(2).filter(|pair| pair[1] == "requests").filter_map(|pair| pair[0].parse().ok()).collect()
}

/// Some code, the stale lines that documents once showed, and others that are wrong in each checked way.
#[test]
fn stale_transcripts_are_found() {
    let joining = r#"log::info!("{name}: following it in the log from {from}"); let from = "its beginning";"#;
    let server = r#"log::info!("stopped"); format!("the task has paused, task_id: {id}"); ["TASK", "PHASE"];
                    Detail { queue_limit: MEMORY }; const MEMORY: usize = 8 << 20;"#;
    let files = [("catalog/alter.rs", joining), ("server.rs", server)];
    let program = Program::of(files.map(|(path, code)| (path.to_owned(), code.to_owned())).into());
    let stale_lines = |text: &str| -> Vec<usize> {
        program.check_document("made-up.md", text).into_iter().map(|stale| stale.line).collect()
    };
    let log = [
        "```text",
        r#"[INFO] [catalog::alter] ["default.books: following it in the log from its beginning"]"#,
        r#"[INFO] [catalog::alter] ["default.books: following it from its beginning in the log"]"#,
        r#"[INFO] [catalog::alter] ["load state of default.books: Whole { replicas: 1 }"]"#,
        r#"[INFO] [nowhere] ["stopped"]"#,
        "no log line",
        "```",
    ];
    assert_eq!(stale_lines(&log.join("\n")), [3, 4, 5, 6]);
    let numbers = [
        "```json",
        r#"{"details":{"queue_limit_bytes":8388608}}"#,
        r#"{"details":{"queue_limit_bytes":20971520}}"#,
        r#"{"details":{"queue_limit":8388608}}"#,
        "```",
    ];
    assert_eq!(stale_lines(&numbers.join("\n")), [3, 4]);
    let console = [
        "```console",
        r#"$ curl -d '{"request_type":"pause","request_data":{"id":"a"}}'"#,
        r#"{"code":200,"data":{}}"#,
        r#"{"code":400,"message":"the task has paused, task_id: a"}"#,
        r#"{"code":400,"message":"the task sleeps, task_id: a"}"#,
        r#"{"code":200}"#,
        r#"{"code":200,…}"#,
        "TASK  PHASE",
        "TASK  PHASE  WEATHER IS FINE",
        "```",
    ];
    assert_eq!(stale_lines(&console.join("\n")), [2, 5, 6, 9]);
    assert_eq!(stale_lines("a\n```\n[INFO] [server] [\"stopped\"]\n```\n"), [2]);
    let table = "## Errors and remedies\n| a | b |\n|---|---|\n| `… has paused, …` | |\n| `… sleeps deeply at …` | |\n";
    let quoted = program.check_quoted_errors("made-up.md", table);
    assert_eq!(quoted.iter().map(|stale| stale.line).collect::<Vec<_>>(), [5]);
}
