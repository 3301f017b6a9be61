//! Path globs of a grant, and the one normal form in which a request's path is compared with them.
//!
//! Both sides are decoded and encoded again by the same rule, so that no spelling of a path (`%72epos`,
//! `%2e%2e`) can match a glob and mean something else to a server. Knows nothing of URLs beyond the path.

use std::fmt;
use std::fmt::Write as _;

use serde::{Serialize, Serializer};

/// Most segments in a path or glob; comparing two costs the product of their lengths.
pub(crate) const MOST_SEGMENTS: usize = 128;

/// A glob over paths: `*` stands for any text inside one segment, `**` for any number of segments,
/// none included. `/repos/**` therefore covers `/repos`, `/repos/` and all below.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPattern(String);

/// Why a path has no safe normal form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// It does not start with `/`.
    #[error("a path starts with `/`")]
    Relative,
    /// A `%` that two hexadecimal digits do not follow, or bytes that are not UTF-8.
    #[error("the path is not percent-encoded UTF-8")]
    Encoding,
    /// A `.` or `..` segment, in whatever spelling.
    #[error("the path contains a `.` or `..` segment")]
    DotSegment,
    /// A slash or backslash that is encoded, or a raw backslash.
    #[error("the path contains an encoded slash or a backslash")]
    Slash,
    /// A control character, in whatever spelling.
    #[error("the path contains a control character")]
    Control,
    /// More segments than are compared.
    #[error("the path has more than {MOST_SEGMENTS} segments")]
    TooLong,
}

impl PathPattern {
    /// Reads a glob. `**` stands for segments only where it is a whole segment.
    ///
    /// # Errors
    /// The fault. A `**` inside a segment is no fault: it reads as two `*`.
    pub fn parse(text: &str) -> Result<Self, PathFault> {
        normalise(text, Stars::AreWild).map(Self)
    }

    /// Whether a path in the form of [`normal_path`] is covered.
    #[must_use]
    pub fn matches(&self, normal_path: &str) -> bool {
        covers(&self.0, normal_path)
    }

    /// Whether every path of `other` is covered. May say no where the answer is yes (two unlike
    /// globs are not solved), never the reverse.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        covers(&self.0, &other.0)
    }

    /// The glob in its normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for PathPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The one form in which a request's path (without query) is compared with globs.
///
/// # Errors
/// When the path could mean different things to two readers.
pub fn normal_path(path: &str) -> Result<String, PathFault> {
    normalise(path, Stars::AreText)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stars {
    AreWild,
    AreText,
}

fn normalise(path: &str, stars: Stars) -> Result<String, PathFault> {
    let rest = path.strip_prefix('/').ok_or(PathFault::Relative)?;
    let mut normal = String::with_capacity(path.len());
    for (index, segment) in rest.split('/').enumerate() {
        if index >= MOST_SEGMENTS {
            return Err(PathFault::TooLong);
        }
        normal.push('/');
        check_segment(segment)?;
        push_segment(&mut normal, segment, stars)?;
    }
    Ok(normal)
}

/// Refuses what a second decoding (some servers do one) could turn into another path.
fn check_segment(segment: &str) -> Result<(), PathFault> {
    let once = decode(segment)?;
    // A server that decodes twice sees this; text that does not decode again is no danger.
    let twice = decode(&once).unwrap_or_else(|_| once.clone());
    for text in [&once, &twice] {
        // `..;x` is `..` to servers that strip path parameters.
        let name = text.split(';').next().unwrap_or(text);
        if name == "." || name == ".." {
            return Err(PathFault::DotSegment);
        }
        if text.contains(['/', '\\']) {
            return Err(PathFault::Slash);
        }
        if text.chars().any(char::is_control) {
            return Err(PathFault::Control);
        }
    }
    Ok(())
}

pub(super) fn decode(text: &str) -> Result<String, PathFault> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = rest.next().and_then(hex).ok_or(PathFault::Encoding)?;
            let low = rest.next().and_then(hex).ok_or(PathFault::Encoding)?;
            bytes.push(high << 4 | low);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| PathFault::Encoding)
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Decodes a segment and encodes it again by our rule. A raw star is wild in a glob; an encoded one is text.
fn push_segment(normal: &mut String, segment: &str, stars: Stars) -> Result<(), PathFault> {
    for (index, piece) in segment.split('*').enumerate() {
        if index > 0 {
            normal.push_str(if stars == Stars::AreWild { "*" } else { "%2A" });
        }
        for byte in decode(piece)?.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~!$&'()+;=:@".contains(&byte) {
                normal.push(char::from(byte));
            } else {
                // Writing into a string cannot fail.
                let _ = write!(normal, "%{byte:02X}");
            }
        }
    }
    Ok(())
}

/// Whether the glob covers every path of `other`, itself a glob or a path.
fn covers(glob: &str, other: &str) -> bool {
    let items: Vec<&str> = segments(other).collect();
    // reached[j]: the glob's segments so far can take exactly the first j items.
    let mut reached = vec![false; items.len() + 1];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    for segment in segments(glob) {
        let mut next = vec![false; items.len() + 1];
        let mut any_before = false;
        for (count, slot) in next.iter_mut().enumerate() {
            if segment == "**" {
                any_before |= reached.get(count).copied().unwrap_or(false);
                *slot = any_before;
            } else if let Some(previous) = count.checked_sub(1) {
                let before = reached.get(previous).copied().unwrap_or(false);
                *slot =
                    before && items.get(previous).is_some_and(|item| *item != "**" && segment_covers(segment, item));
            }
        }
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

/// The usual star match with backtracking to the last star. A star inside `item` is taken by a star only.
fn segment_covers(glob: &str, item: &str) -> bool {
    let (glob, item) = (glob.as_bytes(), item.as_bytes());
    let (mut at_glob, mut at_item) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while at_item < item.len() {
        match glob.get(at_glob) {
            Some(b'*') => {
                retry = Some((at_glob, at_item));
                at_glob += 1;
            }
            Some(byte) if item.get(at_item) == Some(byte) => {
                at_glob += 1;
                at_item += 1;
            }
            _ => {
                let Some((star, taken)) = retry else {
                    return false;
                };
                retry = Some((star, taken + 1));
                at_glob = star + 1;
                at_item = taken + 1;
            }
        }
    }
    glob.iter().skip(at_glob).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(glob: &str, path: &str) -> bool {
        let normal = normal_path(path).unwrap();
        PathPattern::parse(glob).unwrap().matches(&normal)
    }

    #[test]
    fn globs_match_whole_segments() {
        for (glob, path) in [
            ("/**", "/"),
            ("/**", "/a/b"),
            ("/repos/**", "/repos"),
            ("/repos/**", "/repos/a/b"),
            ("/repos/*/issues", "/repos/x/issues"),
            ("/a/**/z", "/a/z"),
            ("/a/**/z", "/a/b/c/z"),
            ("/v*", "/v1"),
            ("/repos/**", "/%72epos/x"),
            ("/a%2Ab", "/a*b"),
            ("/caf%C3%A9", "/café"),
        ] {
            assert!(matches(glob, path), "{glob} {path}");
        }
        for (glob, path) in [
            ("/repos/**", "/reposx"),
            ("/repos/**", "/"),
            ("/repos/*", "/repos/a/b"),
            ("/repos", "/repos/"),
            ("/a%2Ab", "/aXb"),
            ("/v*", "/w1"),
            ("/a/**/z", "/a/b/c"),
            ("/A", "/a"),
        ] {
            assert!(!matches(glob, path), "{glob} {path}");
        }
    }

    #[test]
    fn a_path_that_two_readers_could_read_differently_is_refused() {
        for (path, fault) in [
            ("/repos/../admin", PathFault::DotSegment),
            ("/repos/%2e%2e/admin", PathFault::DotSegment),
            ("/repos/.%2E/x", PathFault::DotSegment),
            ("/repos/%252e%252e/x", PathFault::DotSegment),
            ("/repos/..;a=b/x", PathFault::DotSegment),
            ("/repos/%2Fx", PathFault::Slash),
            ("/repos/%252fx", PathFault::Slash),
            ("/repos\\x", PathFault::Slash),
            ("/a%5Cb", PathFault::Slash),
            ("/a%00", PathFault::Control),
            ("/a%0d%0aHost:x", PathFault::Control),
            ("/a%", PathFault::Encoding),
            ("/a%zz", PathFault::Encoding),
            ("/a%ff", PathFault::Encoding),
            ("a", PathFault::Relative),
        ] {
            assert_eq!(normal_path(path), Err(fault), "{path}");
        }
        assert_eq!(normal_path(&"/a".repeat(MOST_SEGMENTS + 1)), Err(PathFault::TooLong));
    }

    #[test]
    fn a_glob_covers_narrower_globs_only() {
        let glob = |text| PathPattern::parse(text).unwrap();
        assert!(glob("/**").covers(&glob("/repos/**")));
        assert!(glob("/repos/**").covers(&glob("/repos/*/x")));
        assert!(glob("/re*").covers(&glob("/repo*")));
        assert!(!glob("/repos/**").covers(&glob("/**")));
        assert!(!glob("/repos/*").covers(&glob("/repos/**")));
        assert!(!glob("/repo*").covers(&glob("/re*")));
    }

    proptest! {
        #[test]
        fn normal_form_is_stable(path in "/[ -~é*%/]{0,12}") {
            if let Ok(normal) = PathPattern::parse(&path) {
                prop_assert_eq!(PathPattern::parse(normal.as_str()), Ok(normal.clone()));
                prop_assert!(normal.covers(&normal));
            }
        }

        #[test]
        fn a_covering_glob_matches_what_the_covered_one_matches(
            wide in "(/(a|b|\\*|\\*\\*|a\\*)){1,4}", narrow in "(/(a|b|\\*|\\*\\*|a\\*)){1,4}", path in "(/(a|b|ab|c)){1,5}",
        ) {
            let (wide, narrow) = (PathPattern::parse(&wide).unwrap(), PathPattern::parse(&narrow).unwrap());
            if wide.covers(&narrow) && narrow.matches(&path) {
                prop_assert!(wide.matches(&path));
            }
        }
    }
}
