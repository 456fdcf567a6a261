//! Whether the string literals of a program can make up a text.

use std::cell::RefCell;
use std::collections::HashMap;

/// A literal: what stands before, between and behind the holes of a format string.
struct Pattern {
    parts: Vec<String>,
}

/// What a program can say.
pub(super) struct Texts {
    patterns: Vec<Pattern>,
    known: RefCell<HashMap<(String, Ends), bool>>,
}

/// Which ends of a text may be cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Ends {
    begin: bool,
    end: bool,
}

/// Stands for text that was left out.
const ELISION: char = '…';
/// So many of a pattern's words make it telling.
const TELLING_WORDS: usize = 2;

impl Texts {
    pub(super) fn new(literals: impl Iterator<Item = String>) -> Self {
        let mut lines: Vec<String> = literals.flat_map(|text| lines_of(&text)).collect();
        lines.sort();
        lines.dedup();
        let patterns = lines.iter().filter_map(|line| Pattern::parse(line.trim())).collect();
        Texts { patterns, known: RefCell::default() }
    }

    /// That the program can print this. Each stretch between elisions is looked at for itself.
    pub(super) fn check(&self, text: &str) -> Result<(), String> {
        let last = text.matches(ELISION).count();
        for (index, stretch) in text.split(ELISION).enumerate() {
            let ends = Ends { begin: index > 0, end: index < last };
            let trimmed = stretch.trim();
            if !trimmed.is_empty() && !self.covers(trimmed, ends) {
                return Err(format!("no text of src/ reads so, {trimmed:?}"));
            }
        }
        Ok(())
    }

    fn covers(&self, text: &str, ends: Ends) -> bool {
        let text = text.trim();
        if is_value(text, Word::Any) {
            return true;
        }
        let key = (text.to_owned(), ends);
        if let Some(known) = self.known.borrow().get(&key) {
            return *known;
        }
        // A text is not made up of itself.
        self.known.borrow_mut().insert(key.clone(), false);
        let found = self.patterns.iter().any(|pattern| self.matches(pattern, text, ends));
        self.known.borrow_mut().insert(key, found);
        found
    }

    fn matches(&self, pattern: &Pattern, text: &str, ends: Ends) -> bool {
        let from = |index, part| self.goes_on(pattern, index, part, text, ends, &Agreement::default());
        if from(0, &pattern.parts[0]) {
            return true;
        }
        // Cut off at the beginning: it may begin anywhere in a part, or in the hole behind it.
        ends.begin
            && pattern.parts.iter().enumerate().any(|(index, part)| {
                let mut rests = part.char_indices().map(|(at, _)| &part[at..]).filter(|rest| is_cut_here(part, rest));
                rests.any(|rest| from(index, rest))
                    || (index + 1 < pattern.parts.len()
                        && self.fills(pattern, index, text, ends, &Agreement::default()))
            })
    }

    /// Whether `text` is `part`, the rest of the part at `index`, and what follows that.
    fn goes_on(
        &self,
        pattern: &Pattern,
        index: usize,
        part: &str,
        text: &str,
        ends: Ends,
        so_far: &Agreement<'_>,
    ) -> bool {
        let is_last = index + 1 == pattern.parts.len();
        if ends.end && part.starts_with(text) {
            return self.holds_all(&so_far.said(text));
        }
        // Spaces at a cut were trimmed.
        let cut = || text.strip_prefix(part.trim_start()).filter(|_| ends.begin);
        match text.strip_prefix(part).or_else(cut) {
            Some(rest) if is_last => rest.is_empty() && self.holds_all(&so_far.said(part)),
            Some(rest) => self.fills(pattern, index, rest, Ends { begin: false, ..ends }, &so_far.said(part)),
            None => false,
        }
    }

    /// Whether `text` is the hole behind the part at `index`, and what follows that.
    fn fills(&self, pattern: &Pattern, index: usize, text: &str, ends: Ends, so_far: &Agreement<'_>) -> bool {
        let next = pattern.parts[index + 1].as_str();
        let is_last = index + 2 == pattern.parts.len();
        if (ends.end || is_last && next.is_empty()) && self.holds_all(&so_far.held(text, ends)) {
            return true;
        }
        let follows = Ends { begin: false, ..ends };
        let splits = text.char_indices().map(|(at, _)| text.split_at(at));
        splits.into_iter().any(|(held, rest)| {
            let is_next = !next.is_empty() && rest.starts_with(next) || ends.end && next.starts_with(rest);
            let held = Ends { end: false, ..ends }.of(held);
            is_next && self.may_hold(held, Word::Any) && {
                self.goes_on(pattern, index + 1, next, rest, follows, &so_far.held(held.0, held.1))
            }
        })
    }

    fn holds_all(&self, so_far: &Agreement<'_>) -> bool {
        let word = if so_far.words >= TELLING_WORDS { Word::Any } else { Word::NoPlainOne };
        so_far.held.iter().all(|held| self.may_hold(*held, word))
    }

    fn may_hold(&self, (held, ends): Held<'_>, word: Word) -> bool {
        let held = held.trim();
        if held.is_empty() || is_value(held, word) {
            return true;
        }
        // A plain word may be one of the program's own.
        if is_value(held, Word::Any) {
            return self.patterns.iter().any(|pattern| matches!(pattern.parts.as_slice(), [only] if only == held));
        }
        self.covers(held, ends)
    }
}

/// What a hole holds, and which of its ends are cut off.
type Held<'a> = (&'a str, Ends);

impl Ends {
    fn of(self, held: &str) -> Held<'_> {
        (held, self)
    }
}

/// How far a text and a pattern have been found to agree.
#[derive(Default)]
struct Agreement<'a> {
    /// Of the pattern itself. Where they are many, its holes may hold any single word.
    words: usize,
    held: Vec<Held<'a>>,
}

impl<'a> Agreement<'a> {
    fn said(&self, part: &str) -> Agreement<'a> {
        let words = part.split(|character: char| !character.is_alphabetic()).filter(|word| word.len() > 1).count();
        Agreement { words: self.words + words, held: self.held.clone() }
    }

    fn held(&self, text: &'a str, ends: Ends) -> Agreement<'a> {
        let held = self.held.iter().copied().chain([(text, ends)]).collect();
        Agreement { words: self.words, held }
    }
}

/// A stretch that was cut off begins with a word, or with what separates it.
fn is_cut_here(part: &str, rest: &str) -> bool {
    let before = part[..part.len() - rest.len()].chars().next_back();
    !(before.is_some_and(char::is_alphanumeric) && rest.starts_with(char::is_alphanumeric))
}

/// Which single words are values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Any,
    /// Only what looks like a number, a path, an address or a name of several parts.
    NoPlainOne,
}

/// Names, numbers, paths, addresses, and lists of them.
fn is_value(text: &str, word: Word) -> bool {
    text.split(", ").all(|one| {
        let is_plain = one.chars().all(|character| character.is_ascii_lowercase());
        !one.contains(char::is_whitespace) && (word == Word::Any || !is_plain)
    })
}

/// The whole literal and each line of it.
fn lines_of(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::to_owned);
    if text.contains('\n') { lines.chain([text.to_owned()]).collect() } else { lines.collect() }
}

impl Pattern {
    /// `None` when any text would fit.
    fn parse(literal: &str) -> Option<Self> {
        let mut parts = vec![String::new()];
        let mut rest = literal;
        while let Some(character) = rest.chars().next() {
            let hole = hole(rest);
            if let Some(length) = hole {
                // Two holes side by side are one.
                if parts.len() == 1 || parts.last().is_some_and(|part| !part.is_empty()) {
                    parts.push(String::new());
                }
                rest = &rest[length..];
                continue;
            }
            parts.last_mut()?.push(character);
            let is_doubled = rest.starts_with("{{") || rest.starts_with("}}");
            rest = &rest[if is_doubled { 2 } else { character.len_utf8() }..];
        }
        let letters = |part: &String| part.chars().any(|character| !character.is_whitespace());
        if !parts.iter().any(letters) {
            return None;
        }
        Some(Pattern { parts })
    }
}

/// The length of a hole at the beginning: `{}`, `{name}`, `{0:?}`, `{rate:.1}`.
fn hole(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('{')?;
    let end = inside.find('}')?;
    let fits = |character: char| character.is_alphanumeric() || "_:.?#<>^$*-+".contains(character);
    inside[..end].chars().all(fits).then_some(end + 2)
}

#[test]
fn texts_of_literals() {
    let literals = [
        "{name}: {why}: its rows will be copied",
        "{db}.{name}",
        "the log no longer holds its beginning",
        "{}: {}",
        "cannot read the log {place}: {detail}",
        "in Kafka at {}",
        "done",
        "say {{this}} {0:?}",
    ];
    let texts = Texts::new(literals.into_iter().map(str::to_owned));
    for good in [
        "default.books: the log no longer holds its beginning: its rows will be copied",
        "a.b: done",
        "done",
        "cannot read the log in Kafka at …: …",
        "… no longer holds its …",
        "say {this} \"x\"",
        "cannot read the log in Kafka at 127.0.0.1:9092: done",
        "…: its rows will be copied",
    ] {
        assert_eq!(texts.check(good), Ok(()), "{good}");
    }
    for bad in [
        "default.books: the log holds its beginning: its rows will be copied",
        "a.b: all is done",
        "a.b: fine",
        "cannot read the log in Pulsar at …: …",
        "… no longer has its …",
        "say that",
        "well done",
    ] {
        assert!(texts.check(bad).is_err(), "{bad}");
    }
}
