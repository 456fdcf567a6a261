//! The sources of a crate as a tree of modules, in which paths find the file that defines what they name.

use std::collections::{BTreeMap, BTreeSet};

use super::outline::{Import, ItemKind, Outline, Visibility, outline};

/// A path from the root of the crate, or from another crate's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Here(Vec<String>),
    Elsewhere(Vec<String>),
}

pub(super) struct File {
    /// From the root of the repository, with `/`.
    pub(super) path: String,
    /// Its module; `main.rs` is a root of its own.
    pub(super) module: Vec<String>,
    pub(super) outline: Outline,
    /// Reached under `cfg(test)` only.
    pub(super) for_tests: bool,
}

#[derive(Default)]
struct Module {
    file: usize,
    items: BTreeSet<String>,
    imports: Vec<Import>,
}

pub(super) struct Tree {
    pub(super) files: Vec<File>,
    modules: BTreeMap<Vec<String>, Module>,
}

/// One file uses another, or a name from there.
#[derive(Debug, Clone)]
pub(super) struct Use {
    pub(super) from: usize,
    /// The file that defines it, unless only a module is named.
    pub(super) to: Option<usize>,
    /// As it is written, from the root.
    pub(super) place: Vec<String>,
    /// It begins with a name that the file has imported: the import tells the same of layers.
    pub(super) by_alias: bool,
    pub(super) line: usize,
}

/// Re-exports of re-exports; a longer chain is a circle.
const CHAIN: usize = 8;
/// The name by which `main.rs` calls the library.
const LIBRARY: &str = "milvus_cdc";
/// Modules, and the names that it hands on to the program and to tests: these count for no rule about imports.
pub(super) const LIBRARY_ROOT: &str = "src/lib.rs";
const MAIN: &str = "main.rs";

fn module_of(path: &str) -> Vec<String> {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    match inside {
        "lib" => Vec::new(),
        "main" => vec![MAIN.to_owned()],
        _ => inside.split('/').map(str::to_owned).collect(),
    }
}

impl Tree {
    /// From paths below `src/` and texts.
    pub(super) fn of<'a>(sources: impl IntoIterator<Item = (&'a str, &'a str)>) -> Tree {
        let file = |(path, text): (&str, &str)| File {
            path: path.to_owned(),
            module: module_of(path),
            outline: outline(text),
            for_tests: false,
        };
        let mut tree = Tree { files: sources.into_iter().map(file).collect(), modules: BTreeMap::new() };
        tree.find_files_for_tests();
        for index in 0..tree.files.len() {
            if !tree.files[index].for_tests {
                tree.add_modules(index);
            }
        }
        tree
    }

    fn find_files_for_tests(&mut self) {
        let below = |file: &File| {
            let module = file.module.clone();
            let children = file.outline.children.iter().filter(|child| child.for_tests);
            let path = move |name: &String| [module.clone(), vec![name.clone()]].concat();
            children.map(move |child| path(&child.name)).collect::<Vec<_>>()
        };
        let roots: Vec<Vec<String>> = self.files.iter().flat_map(below).collect();
        for file in &mut self.files {
            file.for_tests = roots.iter().any(|root| file.module.starts_with(root));
        }
    }

    fn add_modules(&mut self, index: usize) {
        let file = &self.files[index];
        let at = |scope: &[String]| [file.module.as_slice(), scope].concat();
        let empty = || Module { file: index, ..Module::default() };
        self.modules.entry(file.module.clone()).or_insert_with(empty).file = index;
        for item in &file.outline.items {
            match item.kind {
                ItemKind::LocalType => continue,
                ItemKind::Module => {
                    self.modules.entry([at(&item.scope), vec![item.name.clone()]].concat()).or_insert_with(empty);
                }
                ItemKind::Type | ItemKind::Value => {}
            }
            let module = self.modules.entry(at(&item.scope)).or_insert_with(empty);
            if item.kind != ItemKind::Module {
                module.items.insert(item.name.clone());
            }
        }
        for import in &file.outline.imports {
            self.modules.entry(at(&import.scope)).or_insert_with(empty).imports.push(import.clone());
        }
    }

    /// Files that count for the rules about imports and names.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &File)> {
        self.files.iter().enumerate().filter(|(_, file)| !file.for_tests)
    }

    /// Where a path leads that is written in `module`.
    pub(super) fn place(&self, module: &[String], path: &[String]) -> Place {
        self.expand(module, path, CHAIN)
    }

    fn expand(&self, module: &[String], path: &[String], chain: usize) -> Place {
        let (first, rest) = path.split_first().map_or(("", path), |(first, rest)| (first.as_str(), rest));
        let below = |root: &[String]| [root, rest].concat();
        let child = [module, &path[..1.min(path.len())]].concat();
        match first {
            "crate" => Place::Here(rest.to_vec()),
            LIBRARY if module.first().is_some_and(|root| root == MAIN) => Place::Here(rest.to_vec()),
            "self" => self.expand_within(module, rest, chain),
            "super" => self.expand_within(module.split_last().map_or(&[], |(_, parent)| parent), rest, chain),
            _ if self.modules.contains_key(&child) => Place::Here(child.into_iter().chain(rest.to_vec()).collect()),
            _ => match self.alias(module, first) {
                Some(import) if chain > 0 && import.path != path => {
                    match self.expand(module, &import.path, chain - 1) {
                        Place::Here(root) => Place::Here(below(&root)),
                        Place::Elsewhere(root) => Place::Elsewhere(below(&root)),
                    }
                }
                _ => Place::Elsewhere(path.to_vec()),
            },
        }
    }

    /// Behind `self` or `super`: one more `super`, or a name in that module.
    fn expand_within(&self, module: &[String], rest: &[String], chain: usize) -> Place {
        match rest.first().map(String::as_str) {
            Some("super") => self.expand(module, rest, chain),
            _ => Place::Here([module, rest].concat()),
        }
    }

    fn alias(&self, module: &[String], name: &str) -> Option<&Import> {
        self.modules.get(module)?.imports.iter().find(|import| import.alias == name)
    }

    /// The file that defines what a path from the root names; `None` for a module itself.
    fn definition(&self, path: &[String], chain: usize) -> Option<usize> {
        let depth = (0..=path.len()).rev().find(|depth| self.modules.contains_key(&path[..*depth]))?;
        // A function may have the name of a module beside it.
        let named_twice = depth == path.len() && depth > 0 && self.defines(&path[..depth - 1], &path[depth - 1]);
        let depth = if named_twice { depth - 1 } else { depth };
        let (module, name) = (&path[..depth], path.get(depth)?);
        let found = self.modules.get(module)?;
        if found.items.contains(name) || chain == 0 {
            return Some(found.file);
        }
        if let Some(import) = self.alias(module, name) {
            return match self.expand(module, &import.path, CHAIN) {
                Place::Here(place) => self.definition(&[&place, &path[depth + 1..]].concat(), chain - 1),
                Place::Elsewhere(_) => Some(found.file),
            };
        }
        let globs = found.imports.iter().filter(|import| import.alias == "*");
        let through = globs.filter_map(|import| match self.expand(module, &import.path, CHAIN) {
            Place::Here(place) if self.defines(&place, name) => {
                self.definition(&[&place, &path[depth..]].concat(), chain - 1)
            }
            _ => None,
        });
        // What a macro or the build makes belongs to the file that includes it.
        through.take(1).next().or(Some(found.file))
    }

    fn defines(&self, module: &[String], name: &str) -> bool {
        let Some(found) = self.modules.get(module) else { return false };
        found.items.contains(name) || found.imports.iter().any(|import| import.alias == name)
    }

    /// The file of the deepest module on this path.
    fn file_of_module(&self, path: &[String]) -> Option<usize> {
        (0..=path.len()).rev().find_map(|depth| self.modules.get(&path[..depth])).map(|module| module.file)
    }

    /// What the files of the crate use of each other. A file that hands on what a file below it defines (`pub use
    /// child::Name`) does not use it, unless it names it elsewhere too: whoever takes the name from there uses the file
    /// that defines it.
    pub(super) fn uses(&self) -> Vec<Use> {
        let mut found = Vec::new();
        for (index, file) in self.code().filter(|(_, file)| file.path != LIBRARY_ROOT) {
            let within = |scope: &[String]| [file.module.as_slice(), scope].concat();
            for import in &file.outline.imports {
                let Place::Here(place) = self.place(&within(&import.scope), &import.path) else { continue };
                let to = match import.alias.as_str() {
                    "*" => self.file_of_module(&place),
                    _ => self.definition(&place, CHAIN),
                };
                let handed_on = import.visibility == Visibility::Reexport
                    && !file.outline.words.contains(&import.alias)
                    && place.starts_with(&file.module);
                if !handed_on {
                    found.push(Use { from: index, to, place, by_alias: false, line: import.line });
                }
            }
            for named in &file.outline.paths {
                let module = within(&named.scope);
                let Place::Here(place) = self.place(&module, &named.path) else { continue };
                let by_alias = self.alias(&module, &named.path[0]).is_some();
                let to = self.definition(&place, CHAIN);
                found.push(Use { from: index, to, place, by_alias, line: named.line });
            }
        }
        found
    }
}
