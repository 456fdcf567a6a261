//! Imports point down the layers of ARCHITECTURE.md, and neither files nor folders use each other in a circle.
//!
//! An arrow runs from a file to the file that defines what it names, re-exports looked through. Between layers the path
//! as it is written counts. A folder is one thing among its neighbours: no folder and no file beside it use each other,
//! whatever their files do.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use super::tree::{Tree, Use};

/// The order of the top-level modules: each may import from those below it, and from none beside it.
pub(super) struct Layers {
    ranks: BTreeMap<String, usize>,
}

const ARCHITECTURE: &str = "ARCHITECTURE.md";
/// What the fenced block of the list is marked with.
const MARK: &str = "```layers";

impl Layers {
    /// From the block in the text that is marked `layers`: a line per layer, from the top; `folder/` or `file.rs`, with
    /// spaces between.
    pub(super) fn read(text: &str) -> Result<Layers, Violation> {
        let at = |line: usize, why: String| Violation { path: ARCHITECTURE.into(), line, rule: "layers", why };
        let lines = text.lines().enumerate().skip_while(|(_, line)| *line != MARK).skip(1);
        let mut ranks = BTreeMap::new();
        for (rank, line) in lines.take_while(|(_, line)| *line != "```") {
            for name in line.split_whitespace() {
                if !name.ends_with('/') && !name.ends_with(".rs") {
                    return Err(at(rank + 1, format!("{name} is neither `folder/` nor `file.rs`")));
                }
                if ranks.insert(top(name), rank + 1).is_some() {
                    return Err(at(rank + 1, format!("{name} stands there twice")));
                }
            }
        }
        if ranks.is_empty() {
            return Err(at(1, format!("no list of layers: no block that begins with {MARK}")));
        }
        Ok(Layers { ranks })
    }
}

/// The module of a folder or file directly in `src/`.
fn top(name: &str) -> String {
    match name {
        "main.rs" => name.to_owned(),
        _ => name.trim_end_matches('/').trim_end_matches(".rs").to_owned(),
    }
}

/// Every module has its layer, and every layer its module.
pub(super) fn unlisted(tree: &Tree, layers: &Layers) -> Vec<Violation> {
    let mut missing: BTreeSet<&String> = layers.ranks.keys().collect();
    let mut found = Vec::new();
    for (_, file) in tree.code() {
        let Some(module) = file.module.first() else { continue };
        missing.remove(module);
        if !layers.ranks.contains_key(module) {
            let why = format!("{module} is in no layer of {ARCHITECTURE}");
            found.push(Violation { path: file.path.clone(), line: 1, rule: "layers", why });
        }
    }
    let absent = |name: &String| Violation {
        path: ARCHITECTURE.into(),
        line: layers.ranks[name],
        rule: "layers",
        why: format!("{name} is not in src/"),
    };
    found.extend(missing.into_iter().map(absent));
    found
}

pub(super) fn arrows_up(tree: &Tree, layers: &Layers, uses: &[Use]) -> Vec<Violation> {
    let mut found = Vec::new();
    for used in uses.iter().filter(|used| !used.by_alias) {
        let file = &tree.files[used.from];
        let (Some(from), Some(to)) = (file.module.first(), used.place.first()) else { continue };
        let (Some(own), Some(other)) = (layers.ranks.get(from), layers.ranks.get(to)) else { continue };
        if from == to || own < other {
            continue;
        }
        let position = if own == other { "beside" } else { "above" };
        let why = format!("{from} imports crate::{}, which stands {position} it", used.place.join("::"));
        found.push(Violation { path: file.path.clone(), line: used.line, rule: "arrow up", why });
    }
    found.sort();
    found.dedup();
    found
}

/// How many pairs of files there are of which one uses the other.
pub(super) fn arrows(uses: &[Use]) -> usize {
    let pairs = uses.iter().filter_map(|used| Some((used.from, used.to?))).filter(|(from, to)| from != to);
    pairs.collect::<BTreeSet<_>>().len()
}

/// Arrows between things with a name, each with the first use that it comes from.
#[derive(Default)]
struct Graph<'a> {
    arrows: BTreeMap<String, BTreeMap<String, &'a Use>>,
}

impl<'a> Graph<'a> {
    fn add(&mut self, from: &str, to: &str, used: &'a Use) {
        if from != to {
            self.arrows.entry(from.to_owned()).or_default().entry(to.to_owned()).or_insert(used);
        }
    }

    fn reached_from(&self, start: &str) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![start];
        while let Some(name) = waiting.pop() {
            let next = self.arrows.get(name).into_iter().flat_map(BTreeMap::keys).map(String::as_str);
            waiting.extend(next.filter(|next| reached.insert(*next)).collect::<Vec<_>>());
        }
        reached
    }

    /// Sets of more than one thing in which each reaches each.
    fn circles(&self) -> Vec<BTreeSet<&str>> {
        let reach: BTreeMap<&str, BTreeSet<&str>> =
            self.arrows.keys().map(|name| (name.as_str(), self.reached_from(name))).collect();
        let mutual = |name: &str, other: &str| reach.get(other).is_some_and(|back| back.contains(name));
        let circle = |name: &str| -> BTreeSet<&str> {
            reach[name].iter().copied().filter(|other| mutual(name, other)).collect()
        };
        let found: BTreeSet<BTreeSet<&str>> = reach.keys().map(|name| circle(name)).collect();
        found.into_iter().filter(|circle| circle.len() > 1).collect()
    }

    /// One violation per circle, at the first use in it, with every arrow that belongs to it.
    fn violations(&self, tree: &Tree, rule: &'static str) -> Vec<Violation> {
        let describe = |circle: BTreeSet<&str>| {
            let inside =
                circle.iter().flat_map(|from| self.arrows[*from].iter().map(move |(to, used)| (from, to, used)));
            let arrows: Vec<_> = inside.filter(|(_, to, _)| circle.contains(to.as_str())).collect();
            let text = |(from, to, used): &(&&str, &String, &&Use)| {
                let file = &tree.files[used.from].path;
                format!("\n    {from} -> {to}: {file}:{} {}", used.line, used.place.join("::"))
            };
            let names: Vec<&str> = circle.iter().copied().collect();
            let why = format!("{}{}", names.join(" "), arrows.iter().map(text).collect::<String>());
            let first = arrows[0].2;
            Violation { path: tree.files[first.from].path.clone(), line: first.line, rule, why }
        };
        self.circles().into_iter().map(describe).collect()
    }
}

pub(super) fn circles_of_files(tree: &Tree, uses: &[Use]) -> Vec<Violation> {
    let mut graph = Graph::default();
    for used in uses {
        if let Some(to) = used.to {
            graph.add(&tree.files[used.from].path, &tree.files[to].path, used);
        }
    }
    graph.violations(tree, "circle of files")
}

/// Circles among the files and folders of each folder, a folder counting as one thing. Those of files alone are found
/// already.
pub(super) fn circles_of_folders(tree: &Tree, uses: &[Use]) -> Vec<Violation> {
    let mut graphs: BTreeMap<String, Graph<'_>> = BTreeMap::new();
    for used in uses {
        let Some(to) = used.to else { continue };
        let [from, to] = [used.from, to].map(|file| tree.files[file].path.split('/').collect::<Vec<_>>());
        let common = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
        let (Some(one), Some(other)) = (from.get(..=common), to.get(..=common)) else { continue };
        graphs.entry(from[..common].join("/")).or_default().add(&one.join("/"), &other.join("/"), used);
    }
    let of = |graph: &Graph<'_>| graph.violations(tree, "circle of folders");
    let has_a_folder = |found: &Violation| {
        found.why.lines().next().is_some_and(|names| names.split(' ').any(|name| !name.ends_with(".rs")))
    };
    graphs.values().flat_map(of).filter(has_a_folder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYERS: &str = "text\n```layers\nmain.rs\napp/\nsink/ source/\nbase.rs\n```\n";

    fn found(
        rule: fn(&Tree, &[Use]) -> Vec<Violation>,
        sources: &[(&'static str, &'static str)],
    ) -> Vec<(String, usize, String)> {
        let tree = Tree::of(sources.iter().copied());
        let violations = rule(&tree, &tree.uses());
        violations.into_iter().map(|found| (found.path, found.line, found.why)).collect()
    }

    fn up(tree: &Tree, uses: &[Use]) -> Vec<Violation> {
        arrows_up(tree, &Layers::read(LAYERS).unwrap(), uses)
    }

    #[test]
    fn imports_from_above_and_from_beside_are_found() {
        let sources = [
            ("src/lib.rs", "mod app; mod sink; mod source; mod base;"),
            ("src/main.rs", "use milvus_cdc::app::run;"),
            ("src/app/mod.rs", "use crate::{\n sink::Pool,\n base,\n};\nfn run() { base::go() }"),
            ("src/sink/mod.rs", "mod pool; pub use pool::Pool;"),
            ("src/sink/pool.rs", "pub struct Pool;\nfn f() { super::super::source::open() }"),
            ("src/source/mod.rs", "pub fn open() {}"),
            (
                "src/base.rs",
                "pub fn go() {}\n\nuse crate::app::run as other;\n#[cfg(test)] mod tests { use crate::app; }",
            ),
        ];
        let expected = [
            ("src/base.rs", 3, "base imports crate::app::run, which stands above it"),
            ("src/sink/pool.rs", 2, "sink imports crate::source::open, which stands beside it"),
        ];
        assert_eq!(found(up, &sources), expected.map(|(path, line, why)| (path.into(), line, why.into())));
    }

    #[test]
    fn a_list_of_layers_names_every_module_once() {
        let tree = Tree::of([("src/app/mod.rs", ""), ("src/app/x.rs", ""), ("src/new.rs", "")]);
        let why = |text: &str| Layers::read(text).err().map(|found| (found.line, found.why));
        assert_eq!(why("no list").unwrap().0, 1);
        assert_eq!(why("```layers\na/\nb\n```").unwrap(), (3, "b is neither `folder/` nor `file.rs`".into()));
        assert_eq!(why("```layers\na/\nb/ a.rs\n```").unwrap(), (3, "a.rs stands there twice".into()));
        let layers = Layers::read("```layers\napp/\ngone/\n```\n").unwrap();
        let found: Vec<String> = unlisted(&tree, &layers).iter().map(ToString::to_string).collect();
        let expected = [
            "src/new.rs:1: layers: new is in no layer of ARCHITECTURE.md",
            "ARCHITECTURE.md:3: layers: gone is not in src/",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn files_that_use_each_other_are_found() {
        let sources = [
            ("src/a/mod.rs", "mod one; mod two; mod three;\npub use self::one::One;\npub use self::two::Two;"),
            ("src/a/one.rs", "use super::Two;\npub struct One;"),
            ("src/a/two.rs", "pub struct Two;\nfn f() -> crate::a::one::One { todo() }"),
            ("src/a/three.rs", "use super::{One, two};\nfn g() { two::f() }"),
        ];
        let [(path, line, why)] = &found(circles_of_files, &sources)[..] else { panic!("not one circle") };
        assert_eq!((path.as_str(), *line), ("src/a/one.rs", 1));
        let expected = "src/a/one.rs src/a/two.rs\n    src/a/one.rs -> src/a/two.rs: src/a/one.rs:1 a::Two\n    \
            src/a/two.rs -> src/a/one.rs: src/a/two.rs:2 a::one::One";
        assert_eq!(why, expected);
    }

    #[test]
    fn a_folder_may_hand_on_names_but_not_use_files_that_use_it() {
        let child = ("src/a/child.rs", "use super::Own;\npub struct Name;");
        let hands_on = ("src/a/mod.rs", "mod child;\npub use child::Name;\npub struct Own;");
        assert_eq!(found(circles_of_files, &[hands_on, child]), []);
        let uses = ("src/a/mod.rs", "mod child;\npub use child::Name;\npub struct Own;\nfn f(_: Name) {}");
        assert_eq!(found(circles_of_files, &[uses, child]).len(), 1);
        let names = ("src/a/mod.rs", "mod child;\npub struct Own;\nfn f(_: child::Name) {}");
        assert_eq!(found(circles_of_files, &[names, child]).len(), 1);
    }

    #[test]
    fn folders_that_use_each_other_are_found_where_their_files_do_not() {
        let sources = [
            ("src/a/one.rs", "use crate::b::low::Low;"),
            ("src/a/deep/two.rs", "pub struct Two;"),
            ("src/b/low.rs", "pub struct Low;"),
            ("src/b/high.rs", "\nuse crate::a::deep::two::Two;"),
        ];
        assert_eq!(found(circles_of_files, &sources), []);
        let [(path, line, why)] = &found(circles_of_folders, &sources)[..] else { panic!("not one circle") };
        assert_eq!((path.as_str(), *line), ("src/a/one.rs", 1));
        assert!(why.starts_with("src/a src/b\n"), "{why}");
    }
}
