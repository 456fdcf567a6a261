//! Threads are made in one place, which names them and gives them the context that their log lines need.

use super::Violation;
use super::tree::{Place, Tree};

const PLACE: &str = "src/observe/thread.rs";
const MAKERS: [&str; 3] = ["Builder", "spawn", "scope"];

pub(super) fn elsewhere(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (_, file) in tree.code().filter(|(_, file)| file.path != PLACE) {
        let imports = file.outline.imports.iter().map(|import| (&import.scope, &import.path, import.line));
        let paths = file.outline.paths.iter().map(|named| (&named.scope, &named.path, named.line));
        for (scope, path, line) in imports.chain(paths) {
            let Place::Elsewhere(path) = tree.place(&[&file.module[..], scope].concat(), path) else { continue };
            let ["std", "thread", maker, ..] = path.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
                continue;
            };
            if MAKERS.contains(&maker) {
                let why = format!("std::thread::{maker} outside of {PLACE}");
                found.push(Violation { path: file.path.clone(), line, rule: "thread", why });
            }
        }
    }
    found
}

#[test]
fn threads_that_are_made_elsewhere_are_found() {
    let sources = [
        ("src/observe/thread.rs", "use std::thread;\npub fn spawn() { thread::Builder::new(); }"),
        ("src/a.rs", "use std::thread::{self, JoinHandle};\nfn f() {\n    thread::spawn(|| thread::sleep(x));\n}"),
        ("src/b.rs", "use std::thread::scope;\n#[cfg(test)] mod tests { fn f() { std::thread::spawn(g); } }"),
        ("src/c.rs", "use crate::observe::thread;\nfn f() { thread::spawn(); }"),
        ("src/d.rs", "fn f() {\n std::thread::Builder::new(); }"),
    ];
    let found: Vec<String> = elsewhere(&Tree::of(sources)).iter().map(Violation::to_string).collect();
    let expected = [("a", 3, "spawn"), ("b", 1, "scope"), ("d", 2, "Builder")];
    let expected = expected.map(|(file, line, maker)| {
        format!("src/{file}.rs:{line}: thread: std::thread::{maker} outside of src/observe/thread.rs")
    });
    assert_eq!(found, expected);
}
