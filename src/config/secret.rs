/*!
A string that must not be shown.

`Debug` prints a placeholder, and there is neither `Display` nor `Serialize`: the text is available only through
[`Secret::expose`], which is easy to search for.
*/

use std::fmt;

/// A password, a token or an API key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

/// A secret without trailing line ends, which files usually have.
pub fn without_line_end(secret: &str) -> &str {
    secret.trim_end_matches(['\r', '\n'])
}

/// Whether a header can carry the token: it consists of visible ASCII characters.
pub fn can_be_sent(token: &str) -> bool {
    token.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the secret is empty, which means "not given".
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret(none)" } else { "Secret(hidden)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_text() {
        let shown = format!("{:?}", Secret::new("root:Milvus"));
        assert_eq!(shown, "Secret(hidden)");
        assert_eq!(format!("{:?}", Secret::default()), "Secret(none)");
    }
}
