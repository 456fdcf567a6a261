//! Primary keys, their order, and the filter expressions for ranges of them.

use crate::domain::Keys;
use crate::milvus::expression;
use crate::milvus::expression::quoted;

/// One primary key. The order is that of the server: integers by value, strings by their bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Int64.
    Int(i64),
    /// VarChar.
    Str(String),
}

/// Integers as digits, strings in quotes.
impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Key::Int(key) => key.fmt(f),
            Key::Str(key) => f.write_str(&quoted(key)),
        }
    }
}

impl Key {
    /// Every key of a list.
    pub fn each(keys: Keys) -> Vec<Key> {
        match keys {
            Keys::Int(keys) => keys.into_iter().map(Key::Int).collect(),
            Keys::Str(keys) => keys.into_iter().map(Key::Str).collect(),
        }
    }

    /// The reverse of [`Self::each`]; all keys are of one kind.
    pub fn collect<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Keys {
        let mut keys = keys.into_iter().peekable();
        if let Some(Key::Str(_)) = keys.peek() {
            let text = |key: &Key| if let Key::Str(key) = key { Some(key.clone()) } else { None };
            return Keys::Str(keys.filter_map(text).collect());
        }
        let integer = |key: &Key| if let Key::Int(key) = key { Some(*key) } else { None };
        Keys::Int(keys.filter_map(integer).collect())
    }

    /// Approximate memory use in bytes.
    pub fn weight(&self) -> usize {
        match self {
            Key::Int(_) => 24,
            Key::Str(key) => 24 + key.len(),
        }
    }
}

/// A range of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRange<'a> {
    /// Keys above this one, exclusive; `None`: no lower bound.
    pub above: Option<&'a Key>,
    /// Keys up to this one, inclusive; `None`: no upper bound.
    pub up_to: Option<&'a Key>,
}

impl KeyRange<'_> {
    /// Whether a key lies in the range.
    pub fn contains(&self, key: &Key) -> bool {
        self.above.is_none_or(|above| key > above) && self.up_to.is_none_or(|up_to| key <= up_to)
    }

    /// The filter expression of the range; `None` if it is unbounded.
    pub fn expression(&self, field: &str) -> Option<String> {
        let bounds = [self.above.map(|key| above(field, key)), self.up_to.map(|key| up_to(field, key))];
        let bounds: Vec<String> = bounds.into_iter().flatten().collect();
        (!bounds.is_empty()).then(|| bounds.join(" and "))
    }
}

/// The smallest integer cannot be written: the keys above it are those from the second smallest on.
fn above(field: &str, key: &Key) -> String {
    match key {
        Key::Int(i64::MIN) => format!("{field} >= {}", i64::MIN + 1),
        Key::Int(key) => format!("{field} > {key}"),
        Key::Str(key) => format!("{field} > {}", quoted(key)),
    }
}

fn up_to(field: &str, key: &Key) -> String {
    match key {
        Key::Int(i64::MIN) => format!("{field} < {}", i64::MIN + 1),
        Key::Int(key) => format!("{field} <= {key}"),
        Key::Str(key) => format!("{field} <= {}", quoted(key)),
    }
}

/// Expressions that together match exactly these keys; each is within the length limits.
pub fn any_of(field: &str, keys: &[Key]) -> Vec<String> {
    expression::any_of(field, &Key::collect(keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_the_server_can_read_them() {
        let text = |low: Option<Key>, high: Option<Key>| {
            KeyRange { above: low.as_ref(), up_to: high.as_ref() }.expression("id")
        };
        assert_eq!(text(None, Some(Key::Int(i64::MIN))).unwrap(), "id < -9223372036854775807");
        assert_eq!(
            text(Some(Key::Int(i64::MIN)), Some(Key::Int(-5))).unwrap(),
            "id >= -9223372036854775807 and id <= -5"
        );
        assert_eq!(text(Some(Key::Str("a\"".into())), None).unwrap(), r#"id > "a\"""#);
        assert_eq!(text(None, None), None);
    }

    #[test]
    fn strings_are_in_the_order_of_their_bytes() {
        let mut keys = ["\u{ff61}", "", "a\u{0}", "\u{1f600}", "Z", "a"].map(|key| Key::Str(key.into()));
        keys.sort();
        assert_eq!(keys, ["", "Z", "a", "a\u{0}", "\u{ff61}", "\u{1f600}"].map(|key| Key::Str(key.into())));
    }

    #[test]
    fn lists_there_and_back() {
        for keys in [Keys::Int(vec![3, -1]), Keys::Str(vec!["x".into(), String::new()]), Keys::Int(vec![])] {
            assert_eq!(Key::collect(&Key::each(keys.clone())), keys);
        }
    }
}
