/*!
Filter expressions over primary keys, as Milvus parses them.

Milvus parses the digits of an integer before its sign, so the smallest int64 cannot be written (seen on 2.3.5). It is
expressed as "below the second smallest".
*/

use crate::domain::{KeyField, Keys};

/// Expressions that together match exactly `keys`; each is within the length limits.
pub fn any_of(field: &str, keys: &Keys) -> Vec<String> {
    match keys {
        Keys::Int(keys) => {
            let plain: Vec<String> = keys.iter().filter(|&&key| key != i64::MIN).map(i64::to_string).collect();
            let mut expressions = lists(field, plain);
            if keys.contains(&i64::MIN) {
                expressions.push(format!("{field} < {}", i64::MIN + 1));
            }
            expressions
        }
        Keys::Str(keys) => lists(field, keys.iter().map(|key| quoted(key)).collect()),
    }
}

/// Limits of one expression: parsing time grows with the list, and messages are limited.
const MAX_ITEMS: usize = 4096;
const MAX_BYTES: usize = 1 << 20;

fn lists(field: &str, items: Vec<String>) -> Vec<String> {
    let mut expressions = Vec::new();
    let mut list = String::new();
    let mut count = 0;
    for item in items {
        if count == MAX_ITEMS || list.len() + item.len() > MAX_BYTES {
            expressions.push(format!("{field} in [{list}]"));
            list.clear();
            count = 0;
        }
        if count > 0 {
            list.push(',');
        }
        list.push_str(&item);
        count += 1;
    }
    if count > 0 {
        expressions.push(format!("{field} in [{list}]"));
    }
    expressions
}

/// An expression that matches every row of a collection with this primary key.
pub fn every_row(key: &KeyField) -> String {
    if key.is_int { format!("{} <= {}", key.name, i64::MAX) } else { format!("{} >= \"\"", key.name) }
}

/// A string literal.
pub fn quoted(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('"');
    for character in text.chars() {
        match character {
            '"' => literal.push_str("\\\""),
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            control if control.is_control() => literal.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => literal.push(other),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_the_smallest_one() {
        assert_eq!(any_of("id", &Keys::Int(vec![1, -2])), ["id in [1,-2]"]);
        assert_eq!(any_of("id", &Keys::Int(vec![i64::MIN, 7])), ["id in [7]", "id < -9223372036854775807"]);
        assert!(any_of("id", &Keys::Int(vec![])).is_empty());
    }

    #[test]
    fn strings_are_escaped() {
        let keys = Keys::Str(vec!["a\"b\\c\nd".into(), "é😀".into(), String::new()]);
        assert_eq!(any_of("k", &keys), [r#"k in ["a\"b\\c\nd","é😀",""]"#]);
    }

    #[test]
    fn long_lists_are_split() {
        let expressions = any_of("id", &Keys::Int((0..10_000).collect()));
        assert_eq!(expressions.len(), 3);
        assert!(expressions[1].starts_with("id in [4096,"));
    }
}
