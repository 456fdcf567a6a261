/*!
What holds for the text of the project: layers and circles of imports, sizes, names of types, threads. Each rule is
tested with a made-up source that breaks it, beside the rule; here the tree itself is held against them.

`scripts/test unit --test it tidy -- --nocapture` also shows how many files, arrows and circles there are.
*/

mod disk;
mod imports;
mod lexer;
mod names;
mod outline;
mod sizes;
mod threads;
mod tree;

use std::fmt;
use std::path::{Path, PathBuf};

use self::imports::Layers;
use self::tree::Tree;

/// Where a rule is broken, and how.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    path: String,
    line: usize,
    rule: &'static str,
    why: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.why)
    }
}

/// A file of the repository.
struct Text {
    /// From the root of the repository.
    path: String,
    text: String,
}

const CODE: [&str; 5] = ["src", "tests", "benches", "scripts", "build.rs"];
const DOCUMENTS: [&str; 6] = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs", "examples"];

/// What the repository has in these files and folders, whatever can be read as text.
fn texts(places: &[&str]) -> Vec<Text> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut waiting: Vec<PathBuf> = places.iter().map(|place| root.join(place)).collect();
    assert!(waiting.iter().all(|path| path.exists()), "one of {places:?} is gone");
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with('.') || name == "__pycache__" {
            continue;
        }
        if path.is_dir() {
            waiting.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            let path = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.push(Text { path, text });
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn tree() -> Tree {
    let sources = texts(&["src"]);
    let rust = sources.iter().filter(|source| source.path.ends_with(".rs"));
    Tree::of(rust.map(|source| (source.path.as_str(), source.text.as_str())))
}

fn layers() -> Layers {
    Layers::read(&texts(&["ARCHITECTURE.md"])[0].text).unwrap_or_else(|violation| panic!("{violation}"))
}

fn assert_none(violations: &[Violation]) {
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(violations.is_empty(), "{} violations:\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn imports_point_down_and_in_no_circle() {
    let (tree, layers) = (tree(), layers());
    let uses = tree.uses();
    let up = imports::arrows_up(&tree, &layers, &uses);
    let files = imports::circles_of_files(&tree, &uses);
    let folders = imports::circles_of_folders(&tree, &uses);
    let (count, arrows) = (tree.code().count(), imports::arrows(&uses));
    println!(
        "circles {} (of files {}, of folders {}), arrows up {}, {count} files, {arrows} arrows between files",
        files.len() + folders.len(),
        files.len(),
        folders.len(),
        up.len()
    );
    assert_none(&[imports::unlisted(&tree, &layers), up, files, folders].concat());
}

#[test]
fn files_and_functions_are_short() {
    let code = texts(&CODE);
    assert_none(&code.iter().flat_map(|text| sizes::long_code(&text.path, &text.text)).collect::<Vec<_>>());
}

#[test]
fn lines_are_short() {
    let documents = texts(&DOCUMENTS).into_iter().filter(|text| text.path.ends_with(".md"));
    let all: Vec<Text> = texts(&CODE).into_iter().chain(documents).collect();
    assert_none(&all.iter().flat_map(|text| sizes::long_lines(&text.path, &text.text)).collect::<Vec<_>>());
}

#[test]
fn every_type_name_has_one_meaning() {
    assert_none(&names::duplicates(&tree()));
}

#[test]
fn the_disk_is_changed_in_one_place() {
    assert_none(&disk::changed_elsewhere(&tree()));
}

#[test]
fn threads_are_made_in_one_place() {
    assert_none(&threads::elsewhere(&tree()));
}
