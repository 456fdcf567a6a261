//! Rust source as tokens with their lines: enough to tell code from comments, strings and lifetimes.

use std::str::CharIndices;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    /// One character, or `::`.
    Sign,
    /// A string, a character or a number.
    Literal,
    Lifetime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Counted from 1.
    pub(super) line: usize,
}

impl Token<'_> {
    pub(super) fn is(&self, text: &str) -> bool {
        self.kind != Kind::Literal && self.text == text
    }
}

pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { text, at: 0, line: 1 };
    std::iter::from_fn(|| lexer.next_token()).collect()
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn chars(&self) -> CharIndices<'a> {
        self.rest().char_indices()
    }

    fn skip(&mut self, bytes: usize) {
        let skipped = &self.text[self.at..self.at + bytes];
        self.line += skipped.matches('\n').count();
        self.at += bytes;
    }

    /// Bytes until the first character that does not fit.
    fn length_while(&self, fits: impl Fn(char) -> bool) -> usize {
        self.chars().find(|(_, character)| !fits(*character)).map_or(self.rest().len(), |(index, _)| index)
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let blank = self.length_while(char::is_whitespace);
            let comment = match self.rest().get(blank..) {
                Some(rest) if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
                Some(rest) if rest.starts_with("/*") => block_comment(rest),
                _ => 0,
            };
            self.skip(blank + comment);
            if comment == 0 {
                return;
            }
        }
    }

    fn next_token(&mut self) -> Option<Token<'a>> {
        self.skip_blanks_and_comments();
        let first = self.rest().chars().next()?;
        let (kind, length) = match first {
            '"' => (Kind::Literal, quoted(self.rest(), '"')),
            '\'' => self.character_or_lifetime(),
            _ if first.is_ascii_digit() => (Kind::Literal, self.number()),
            _ if is_word(first) => self.word_or_prefixed_literal(),
            _ if self.rest().starts_with("::") => (Kind::Sign, 2),
            _ => (Kind::Sign, first.len_utf8()),
        };
        let token = Token { kind, text: &self.rest()[..length], line: self.line };
        self.skip(length);
        Some(token)
    }

    fn word_or_prefixed_literal(&self) -> (Kind, usize) {
        let length = self.length_while(is_word);
        let (word, rest) = self.rest().split_at(length);
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        match word {
            "r" | "br" | "cr" if rest[hashes..].starts_with('"') => {
                let end = format!("\"{}", "#".repeat(hashes));
                let body = &rest[hashes + 1..];
                (Kind::Literal, length + hashes + 1 + body.find(&end).map_or(body.len(), |at| at + end.len()))
            }
            "r" if hashes == 1 && rest[1..].starts_with(is_word) => {
                let name = rest[1..].find(|character| !is_word(character)).unwrap_or(rest.len() - 1);
                (Kind::Word, length + 1 + name)
            }
            "b" | "c" if rest.starts_with('"') => (Kind::Literal, length + quoted(rest, '"')),
            "b" if rest.starts_with('\'') => (Kind::Literal, length + quoted(rest, '\'')),
            _ => (Kind::Word, length),
        }
    }

    /// `'a'` and `'\n'` are characters; `'a` is a lifetime or a label.
    fn character_or_lifetime(&self) -> (Kind, usize) {
        let mut chars = self.rest().chars().skip(1);
        let (first, second) = (chars.next(), chars.next());
        if first == Some('\\') || second == Some('\'') {
            return (Kind::Literal, quoted(self.rest(), '\''));
        }
        let name = self.rest()[1..].find(|character| !is_word(character)).unwrap_or(self.rest().len() - 1);
        (Kind::Lifetime, 1 + name)
    }

    /// A point belongs to a number only before a digit: `1..2` and `1.max(2)` go on behind the 1.
    fn number(&self) -> usize {
        let whole = self.length_while(is_word);
        let rest = &self.rest()[whole..];
        let digits = |text: &str| text.find(|character| !is_word(character)).unwrap_or(text.len());
        match rest.strip_prefix('.') {
            Some(part) if part.starts_with(|first: char| first.is_ascii_digit()) => whole + 1 + digits(part),
            _ => whole,
        }
    }
}

/// Length of a literal that begins and ends with `quote`.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return index + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of a block comment; they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let step = match rest {
            _ if rest.starts_with("/*") => {
                depth += 1;
                2
            }
            _ if rest.starts_with("*/") => {
                depth -= 1;
                2
            }
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

#[test]
fn strings_comments_and_lifetimes_are_no_code() {
    let text = r##"
        /* fn a() { /* nested */ } */ // fn b() {
        fn <'a> "fn c() { \" {" r#"fn " d"# b'\'' '{' '\u{7b}' b"{" br"{" 'static: 1..2.5e3 r#type x::y
    "##;
    let found: Vec<(Kind, &str, usize)> = tokens(text).iter().map(|t| (t.kind, t.text, t.line)).collect();
    let literal = |text| (Kind::Literal, text, 3);
    let sign = |text| (Kind::Sign, text, 3);
    let word = |text| (Kind::Word, text, 3);
    let expected = [
        &[word("fn"), sign("<"), (Kind::Lifetime, "'a", 3), sign(">")][..],
        &[literal(r#""fn c() { \" {""#), literal(r##"r#"fn " d"#"##), literal(r"b'\''"), literal("'{'")],
        &[literal(r"'\u{7b}'"), literal(r#"b"{""#), literal(r#"br"{""#), (Kind::Lifetime, "'static", 3), sign(":")],
        &[literal("1"), sign("."), sign("."), literal("2.5e3"), word("r#type"), word("x"), sign("::"), word("y")],
    ]
    .concat();
    assert_eq!(found, expected);
}

#[test]
fn lines_go_on_behind_literals_and_comments_of_several_lines() {
    let found: Vec<usize> = tokens("a\n\"x\ny\" b /* \n */ c // d\ne").iter().map(|token| token.line).collect();
    assert_eq!(found, [1, 2, 3, 4, 5]);
}
