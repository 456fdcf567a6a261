//! The disk is changed in one place, where a test can let each step go wrong.

use super::Violation;
use super::tree::{Place, Tree};

const PLACE: &str = "src/storage/disk.rs";
/// Files that are nobody's state.
const ALLOWED: [(&str, &str); 1] =
    [("src/preflight/log.rs", "a folder for one check, in the folder for temporary files")];
const CHANGES: [&str; 11] = [
    "DirBuilder",
    "copy",
    "create_dir",
    "create_dir_all",
    "hard_link",
    "remove_dir",
    "remove_dir_all",
    "remove_file",
    "rename",
    "set_permissions",
    "write",
];

/// `std::fs` names that change the disk. Options for opening are a value; who opens with them is `storage::disk`.
pub(super) fn changed_elsewhere(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    let is_allowed = |path: &str| path == PLACE || ALLOWED.iter().any(|(allowed, _)| *allowed == path);
    for (_, file) in tree.code().filter(|(_, file)| !is_allowed(&file.path)) {
        let imports = file.outline.imports.iter().map(|import| (&import.scope, &import.path, import.line));
        let paths = file.outline.paths.iter().map(|named| (&named.scope, &named.path, named.line));
        for (scope, path, line) in imports.chain(paths) {
            let Place::Elsewhere(path) = tree.place(&[&file.module[..], scope].concat(), path) else { continue };
            let change = match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["std", "fs", change, ..] if CHANGES.contains(&change) => change,
                ["std", "fs", "File", change @ ("create" | "create_new" | "options"), ..] => change,
                _ => continue,
            };
            let why = format!("std::fs::…{change} outside of {PLACE}");
            found.push(Violation { path: file.path.clone(), line, rule: "disk", why });
        }
    }
    found
}

#[test]
fn changes_of_the_disk_that_are_made_elsewhere_are_found() {
    let sources = [
        ("src/storage/disk.rs", "use std::fs;\npub fn f() { fs::rename(a, b); }"),
        (
            "src/a.rs",
            "use std::fs::{self, File};\nfn f() {\n    fs::read(x);\n    File::create(x);\n fs::write(x, y);\n}",
        ),
        ("src/b.rs", "use std::fs::rename;\n#[cfg(test)] mod tests { fn f() { std::fs::remove_file(x); } }"),
        ("src/c.rs", "use crate::storage::disk;\nfn f() { disk::rename(a, b); }"),
    ];
    let found: Vec<String> = changed_elsewhere(&Tree::of(sources)).iter().map(Violation::to_string).collect();
    let expected = [("a", 4, "create"), ("a", 5, "write"), ("b", 1, "rename")];
    let expected = expected.map(|(file, line, change)| {
        format!("src/{file}.rs:{line}: disk: std::fs::…{change} outside of src/storage/disk.rs")
    });
    assert_eq!(found, expected);
}
