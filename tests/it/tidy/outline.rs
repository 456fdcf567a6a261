//! What a source file declares, imports and names; code for tests only is left out.

use std::collections::BTreeSet;

use super::lexer::{Kind, Token, tokens};

/// A file in words that the rules need. Scopes are the inline modules around a thing.
#[derive(Debug, Default)]
pub(super) struct Outline {
    pub(super) imports: Vec<Import>,
    pub(super) paths: Vec<Named>,
    pub(super) items: Vec<Item>,
    /// Modules in files of their own: whether each is for tests only.
    pub(super) children: Vec<Child>,
    pub(super) functions: Vec<Function>,
    /// Every word outside of imports.
    pub(super) words: BTreeSet<String>,
}

/// One name of a `use`, its groups taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Import {
    pub(super) scope: Vec<String>,
    pub(super) path: Vec<String>,
    /// The name in this file; `*` for everything.
    pub(super) alias: String,
    pub(super) visibility: Visibility,
    pub(super) line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visibility {
    Private,
    /// `pub`, however far.
    Reexport,
}

/// A path of at least two names written in code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) scope: Vec<String>,
    pub(super) path: Vec<String>,
    pub(super) line: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) scope: Vec<String>,
    pub(super) name: String,
    pub(super) kind: ItemKind,
    pub(super) line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemKind {
    /// `struct`, `enum`, `trait`, `type`.
    Type,
    /// A function, a constant, a macro.
    Value,
    /// A module with its text in this file.
    Module,
    /// A type inside a function: nobody else can name it.
    LocalType,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) name: String,
    pub(super) for_tests: bool,
}

/// From the word `fn` to the brace that closes it; tests are functions, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) lines: usize,
}

pub(super) fn outline(text: &str) -> Outline {
    let tokens = tokens(text);
    let functions = functions(&tokens);
    let mut scanner = Scanner { tokens: &tokens, at: 0, blocks: Vec::new(), outline: Outline::default() };
    while scanner.at < tokens.len() {
        scanner.step();
    }
    Outline { functions, ..scanner.outline }
}

fn functions(tokens: &[Token<'_>]) -> Vec<Function> {
    let named = |index: &usize| tokens[*index].is("fn") && tokens.get(index + 1).is_some_and(|t| t.kind == Kind::Word);
    let of = |index: usize| {
        let (begin, name) = (tokens[index].line, tokens[index + 1].text.to_owned());
        let end = end_of_item(tokens, index).checked_sub(1)?;
        Some(Function { name, line: begin, lines: tokens.get(end)?.line + 1 - begin })
    };
    (0..tokens.len()).filter(named).filter_map(of).collect()
}

/// The index behind an item that begins at `from`: behind its block, or its semicolon.
fn end_of_item(tokens: &[Token<'_>], from: usize) -> usize {
    let is_use = is_import(&tokens[from..]);
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(from) {
        match token.text {
            _ if token.kind != Kind::Sign => {}
            "(" | "[" | "{" => depth += 1,
            ")" | "]" => depth -= 1,
            "}" => {
                depth -= 1;
                if depth <= 0 && !is_use {
                    return index + 1;
                }
            }
            ";" if depth == 0 => return index + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Whether these begin with a `use`, `pub` or not. (The word also stands in the types of functions.)
fn is_import(tokens: &[Token<'_>]) -> bool {
    tokens.get(after_visibility(tokens)).is_some_and(|token| token.is("use"))
}

/// How many of these are a `pub`, with what stands in brackets behind it.
fn after_visibility(tokens: &[Token<'_>]) -> usize {
    let is = |index: usize, text: &str| tokens.get(index).is_some_and(|token| token.is(text));
    match (is(0, "pub"), is(1, "(")) {
        (true, true) => tokens.iter().position(|token| token.is(")")).map_or(0, |end| end + 1),
        (true, false) => 1,
        _ => 0,
    }
}

/// The index behind a field, a match arm or a statement that begins at `from`.
fn end_of_part(tokens: &[Token<'_>], from: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(from) {
        match token.text {
            _ if token.kind != Kind::Sign => {}
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" if depth == 0 => return index,
            ")" | "]" | "}" => depth -= 1,
            "," | ";" if depth == 0 => return index + 1,
            _ => {}
        }
    }
    tokens.len()
}

const ITEM_WORDS: [&str; 15] = [
    "pub",
    "mod",
    "use",
    "fn",
    "struct",
    "enum",
    "trait",
    "type",
    "impl",
    "const",
    "static",
    "unsafe",
    "async",
    "extern",
    "macro_rules",
];

enum Block {
    Module(String),
    /// `impl` or `trait`: a `type` in it is an associated one.
    Associated,
    Other,
}

struct Scanner<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    blocks: Vec<Block>,
    outline: Outline,
}

impl Scanner<'_> {
    fn is(&self, offset: usize, text: &str) -> bool {
        self.tokens.get(self.at + offset).is_some_and(|token| token.is(text))
    }

    fn word(&self, offset: usize) -> Option<String> {
        let token = self.tokens.get(self.at + offset)?;
        (token.kind == Kind::Word).then(|| token.text.trim_start_matches("r#").to_owned())
    }

    fn scope(&self) -> Vec<String> {
        let name = |block: &Block| match block {
            Block::Module(name) => Some(name.clone()),
            Block::Associated | Block::Other => None,
        };
        self.blocks.iter().filter_map(name).collect()
    }

    fn step(&mut self) {
        let token = self.tokens[self.at];
        match (token.kind, token.text) {
            (Kind::Sign, "#") if self.is(1, "[") || self.is(1, "!") => self.attribute(),
            (Kind::Sign, "{") => self.open(Block::Other),
            (Kind::Sign, "}") => {
                self.blocks.pop();
                self.at += 1;
            }
            (Kind::Word, word) => self.word_step(word),
            _ => self.at += 1,
        }
    }

    fn open(&mut self, block: Block) {
        self.blocks.push(block);
        self.at += 1;
    }

    /// Passes over an attribute, and over what it is about when that is for tests only.
    fn attribute(&mut self) {
        let begin = self.at + if self.is(1, "!") { 2 } else { 1 };
        let end = end_of_part(self.tokens, begin + 1);
        let inside = &self.tokens[begin..end];
        self.at = end + 1;
        let is_cfg = inside.get(1).is_some_and(|token| token.is("cfg"));
        let says = |text: &str| inside.iter().any(|token| token.is(text));
        if !(is_cfg && says("test") && !says("not")) {
            return;
        }
        while self.is(0, "#") {
            self.at = end_of_part(self.tokens, self.at + 2) + 1;
        }
        let visible = after_visibility(&self.tokens[self.at..]);
        if self.is(visible, "mod") && self.is(visible + 2, ";") {
            self.outline.children.extend(self.word(visible + 1).map(|name| Child { name, for_tests: true }));
        }
        let is_item = self.word(0).is_some_and(|word| ITEM_WORDS.contains(&word.as_str()));
        self.at = if is_item { end_of_item(self.tokens, self.at) } else { end_of_part(self.tokens, self.at) };
    }

    fn word_step(&mut self, word: &str) {
        let line = self.tokens[self.at].line;
        let next = self.word(1);
        match (word, next) {
            ("use", _) => self.import(),
            ("mod", Some(name)) if self.is(2, ";") => {
                self.outline.children.push(Child { name, for_tests: false });
                self.at += 3;
            }
            ("mod", Some(name)) if self.is(2, "{") => {
                self.item(name.clone(), ItemKind::Module, line);
                self.at += 2;
                self.open(Block::Module(name));
            }
            ("impl", _) if self.begins_an_item() => self.associated(),
            ("trait", Some(name)) => {
                self.item(name, ItemKind::Type, line);
                self.associated();
            }
            ("struct" | "enum" | "type", Some(name)) => {
                self.item(name, ItemKind::Type, line);
                self.at += 2;
            }
            ("const", Some(next)) if ["fn", "unsafe", "async", "extern"].contains(&next.as_str()) => self.at += 1,
            ("fn" | "const" | "static", Some(name)) => {
                self.item(name, ItemKind::Value, line);
                self.at += 2;
            }
            ("macro_rules", _) if self.is(1, "!") => {
                self.item(self.word(2).unwrap_or_default(), ItemKind::Value, line);
                self.at += 3;
            }
            _ => self.path(),
        }
    }

    fn begins_an_item(&self) -> bool {
        let before = self.at.checked_sub(1).map(|at| self.tokens[at]);
        before.is_none_or(|token| ["}", "{", ";", "]", "unsafe"].contains(&token.text))
    }

    /// Goes to the block of an `impl` or `trait`, noting the paths in its head.
    fn associated(&mut self) {
        self.at += 1;
        while self.at < self.tokens.len() && !self.is(0, "{") && !self.is(0, ";") {
            if self.word(0).is_some() {
                self.path();
            } else {
                self.at += 1;
            }
        }
        if self.is(0, "{") {
            self.open(Block::Associated);
        }
    }

    fn item(&mut self, name: String, kind: ItemKind, line: usize) {
        let is_local = self.blocks.iter().any(|block| !matches!(block, Block::Module(_)));
        let kind = match (kind, self.blocks.last()) {
            (_, Some(Block::Associated)) => return,
            (ItemKind::Type, _) if is_local => ItemKind::LocalType,
            _ if is_local => return,
            _ => kind,
        };
        self.outline.items.push(Item { scope: self.scope(), name, kind, line });
    }

    /// A word, or a path from its first word on.
    fn path(&mut self) {
        let line = self.tokens[self.at].line;
        let before = self.at.checked_sub(1).map(|at| self.tokens[at].text);
        let mut path = Vec::new();
        while let Some(word) = self.word(0) {
            self.outline.words.insert(word.clone());
            path.push(word);
            self.at += 1;
            if !self.is(0, "::") || self.word(1).is_none() {
                break;
            }
            self.at += 1;
        }
        // `pub(in crate::a)` says who may see; `::a` and `<T>::a` are from elsewhere.
        if path.len() > 1 && !matches!(before, Some("in" | "::")) {
            self.outline.paths.push(Named { scope: self.scope(), path, line });
        }
        if self.is(0, "::") {
            self.at += 1;
        }
    }

    fn import(&mut self) {
        let end = end_of_item(self.tokens, self.at);
        let line = self.tokens[self.at].line;
        let before = self.at.checked_sub(1).map(|at| self.tokens[at].text);
        let visibility = if matches!(before, Some("pub" | ")")) { Visibility::Reexport } else { Visibility::Private };
        let scope = self.scope();
        let tree = &self.tokens[self.at + 1..end.saturating_sub(1)];
        for (path, alias) in leaves(tree, &[]) {
            self.outline.imports.push(Import { scope: scope.clone(), path, alias, visibility, line });
        }
        self.at = end;
    }
}

/// The paths of a tree of imports, each with its name here.
fn leaves(tree: &[Token<'_>], before: &[String]) -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    for branch in branches(tree) {
        let mut path = before.to_vec();
        let mut alias = None;
        let mut rest = branch.iter().enumerate();
        while let Some((index, token)) = rest.next() {
            match token.text {
                "{" => {
                    found.extend(leaves(&branch[index + 1..branch.len() - 1], &path));
                    path.clear();
                    break;
                }
                "as" => alias = rest.next().map(|(_, token)| token.text.to_owned()),
                "self" if !path.is_empty() => {}
                "*" => alias = Some("*".to_owned()),
                "::" => {}
                word => path.push(word.trim_start_matches("r#").to_owned()),
            }
        }
        if let Some(last) = path.last().cloned() {
            found.push((path, alias.unwrap_or(last)));
        }
    }
    found
}

/// Cuts at the commas that stand in no group.
fn branches<'a, 'b>(tree: &'b [Token<'a>]) -> Vec<&'b [Token<'a>]> {
    let mut depth = 0;
    let cut = move |token: &Token<'_>| {
        match token.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        depth == 0 && token.text == ","
    };
    tree.split(cut).filter(|branch| !branch.is_empty()).collect()
}

#[test]
fn imports_are_taken_apart() {
    let text = "pub(crate) use crate::a::{self, b::{C, D as E}, f::*};\nuse super::super::g;\nmod m { use std::io; }";
    let of = |import: &Import| (import.path.join("::"), import.alias.clone(), import.line);
    let found = outline(text).imports;
    let expected = [
        ("crate::a", "a", 1),
        ("crate::a::b::C", "C", 1),
        ("crate::a::b::D", "E", 1),
        ("crate::a::f", "*", 1),
        ("super::super::g", "g", 2),
        ("std::io", "io", 3),
    ];
    assert_eq!(found.iter().map(of).collect::<Vec<_>>(), expected.map(|(p, a, l)| (p.to_owned(), a.to_owned(), l)));
    assert_eq!((found[0].visibility, found[4].visibility), (Visibility::Reexport, Visibility::Private));
    assert_eq!(found[5].scope, ["m"]);
}

#[test]
fn what_is_for_tests_only_is_left_out() {
    let text = "
        #[cfg(test)] mod tests { use crate::x; struct A; }
        #[cfg(test)] #[allow(dead_code)] pub(in crate::a) mod fake;
        #[cfg(test)] use crate::{y, z};
        #[cfg(any(test, feature = \"f\"))] fn g<A, B>(a: A) { crate::b::c(); }
        struct S { #[cfg(test)] count: crate::n::Count, kept: crate::k::Kept }
        #[cfg(not(test))] mod real;
        mod child; #[derive(Debug)] enum E {}";
    let found = outline(text);
    assert!(found.imports.is_empty(), "{found:?}");
    assert_eq!(found.paths.iter().map(|named| named.path.join("::")).collect::<Vec<_>>(), ["crate::k::Kept"]);
    let names: Vec<&str> = found.items.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["S", "E"]);
    let children: Vec<(&str, bool)> = found.children.iter().map(|c| (c.name.as_str(), c.for_tests)).collect();
    assert_eq!(children, [("fake", true), ("real", false), ("child", false)]);
}

#[test]
fn items_paths_and_functions() {
    let text = "
        pub(in crate::a) fn f() -> impl Fn() { struct Local; b::c::<d::E>(1) }
        impl a::T for S { type Error = x::Y; const fn g(&self) {
            loop {}
        } }
        const K: u8 = 1; trait T { type U; fn h() -> impl Fn() + use<>; }";
    let found = outline(text);
    let items: Vec<(&str, ItemKind)> = found.items.iter().map(|item| (item.name.as_str(), item.kind)).collect();
    let value = |name| (name, ItemKind::Value);
    assert_eq!(items, [value("f"), ("Local", ItemKind::LocalType), value("K"), ("T", ItemKind::Type)]);
    let paths: Vec<String> = found.paths.iter().map(|named| named.path.join("::")).collect();
    assert_eq!(paths, ["b::c", "d::E", "a::T", "x::Y"]);
    let functions: Vec<(&str, usize, usize)> =
        found.functions.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
    assert_eq!(functions, [("f", 2, 1), ("g", 3, 3), ("h", 6, 1)]);
}
