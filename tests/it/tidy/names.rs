//! One meaning per name of a type: a reader who meets the name knows which one it is.

use std::collections::BTreeMap;

use super::Violation;
use super::outline::ItemKind;
use super::tree::Tree;

/// Names that may stand for several types, and why.
const ALLOWED: [(&str, &str); 1] =
    [("Error", "the error of a module, always written with the module's name: `milvus::Error`")];

pub(super) fn duplicates(tree: &Tree) -> Vec<Violation> {
    let mut places: BTreeMap<&str, Vec<(&str, usize)>> = BTreeMap::new();
    for (_, file) in tree.code() {
        let types = file.outline.items.iter().filter(|item| matches!(item.kind, ItemKind::Type | ItemKind::LocalType));
        for item in types {
            places.entry(&item.name).or_default().push((&file.path, item.line));
        }
    }
    let mut found = Vec::new();
    for (name, places) in places.iter().filter(|(name, _)| !ALLOWED.iter().any(|(allowed, _)| allowed == *name)) {
        let Some((first, others)) = places.split_first() else { continue };
        for (path, line) in others {
            let why = format!("{name} is a type in {}:{} already", first.0, first.1);
            found.push(Violation { path: (*path).to_owned(), line: *line, rule: "type name", why });
        }
    }
    found
}

#[test]
fn a_name_of_two_types_is_found() {
    let sources = [
        ("src/a.rs", "pub struct Place;\npub enum Error {}\nimpl T for Place { type Item = u8; }"),
        ("src/b.rs", "pub enum Error {}\nfn f() {\n    type Place = u8;\n}\nimpl T for X { type Item = u8; }"),
        ("src/c.rs", "#[cfg(test)] mod tests { struct Place; }"),
    ];
    let found: Vec<String> = duplicates(&Tree::of(sources)).iter().map(Violation::to_string).collect();
    assert_eq!(found, ["src/b.rs:3: type name: Place is a type in src/a.rs:1 already"]);
}
