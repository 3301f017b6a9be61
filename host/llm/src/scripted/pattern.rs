//! Paths of steps with `*` for any characters: `scan[*].lint`.
//!
//! It must not treat any other character specially: brackets and dots are part of paths.

/// A path in which `*` stands for any characters, also none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern(Box<str>);

impl PathPattern {
    /// The pattern of this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole path fits. Linear in the path for each `*`.
    #[must_use]
    pub fn fits(&self, path: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else {
            return *self.0 == *path;
        };
        let Some(mut left) = path.strip_prefix(head) else {
            return false;
        };
        let mut pieces = rest.split('*').peekable();
        while let Some(piece) = pieces.next() {
            if pieces.peek().is_none() {
                return left.ends_with(piece);
            }
            let Some((_, after)) = left.split_once(piece) else {
                return false;
            };
            left = after;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::PathPattern;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, path, fits) in [
            ("build", "build", true),
            ("build", "builder", false),
            ("*", "", true),
            ("scan[*]", "scan[12]", true),
            ("scan[*]", "scan[12].lint", false),
            ("*.lint", "a.b.lint", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(PathPattern::new(pattern).fits(path), fits, "{pattern} {path}");
        }
    }
}
