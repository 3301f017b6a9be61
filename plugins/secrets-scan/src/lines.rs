//! One text through all rules, line by line.

use crate::file::FileKind;
use crate::finding::Hit;
use crate::{address, assignment, login, private_key, telegram, token, web_token};

/// Lines that carry one of these are known to their owner. The other two are
/// what other scanners understand.
const ALLOWED: &[&[u8]] = &[b"secrets-scan:allow", b"gitleaks:allow", b"pragma: allowlist secret"];

/// A hit and its line, counted from 1.
pub(crate) struct Located<'text> {
    pub(crate) line: usize,
    pub(crate) text: &'text [u8],
    pub(crate) hit: Hit,
}

/// All hits of a text in their order; calls `each` for every one.
pub(crate) fn scan<'text>(path: &str, text: &'text [u8], mut each: impl FnMut(Located<'text>)) {
    let file = FileKind::of(path);
    let mut offset = 0;
    let mut hits = Vec::new();
    for (index, raw) in text.split(|byte| *byte == b'\n').enumerate() {
        let start = offset;
        offset += raw.len() + 1;
        let line = raw.strip_suffix(b"\r").unwrap_or(raw);
        if line.len() < 8 {
            continue;
        }
        // Most lines have nothing for most rules: one look at all bytes spares
        // them a search each.
        let signs = Signs::of(line);
        token::find(line, &mut hits);
        if signs.has(Signs::DOT) {
            web_token::find(line, &mut hits);
        }
        if signs.has(Signs::COLON | Signs::AT) {
            address::find(line, &mut hits);
        }
        if signs.has(Signs::DASH) && contains(line, private_key::BEGIN) {
            let rest = text.get(start..).unwrap_or_default();
            private_key::find(line, rest, file, &mut hits);
        }
        if signs.has(Signs::COLON) {
            telegram::find(line, &mut hits);
            login::basic(line, file, &mut hits);
        }
        login::listed(line, file, &mut hits);
        // Last: what has a form of its own goes before what has only a name.
        if signs.has(Signs::COLON) || signs.has(Signs::EQUALS) {
            assignment::find(line, file, &mut hits);
        } else {
            assignment::find_instruction(line, file, &mut hits);
        }
        if hits.is_empty() {
            continue;
        }
        if !ALLOWED.iter().any(|mark| contains(line, mark)) {
            for hit in without_overlaps(&mut hits) {
                each(Located { line: index + 1, text: line, hit });
            }
        }
        hits.clear();
    }
}

/// Which signs occur in a line.
#[derive(Clone, Copy)]
struct Signs(u8);

impl Signs {
    const DOT: u8 = 1;
    const COLON: u8 = 2;
    const AT: u8 = 4;
    const DASH: u8 = 8;
    const EQUALS: u8 = 16;

    fn of(line: &[u8]) -> Self {
        Self(line.iter().fold(0, |signs, byte| {
            signs
                | match byte {
                    b'.' => Self::DOT,
                    b':' => Self::COLON,
                    b'@' => Self::AT,
                    b'-' => Self::DASH,
                    b'=' => Self::EQUALS,
                    _ => 0,
                }
        }))
    }

    fn has(self, signs: u8) -> bool {
        self.0 & signs == signs
    }
}

/// Of hits that overlap, the one that an earlier rule found; in line order.
fn without_overlaps(hits: &mut Vec<Hit>) -> Vec<Hit> {
    let mut kept: Vec<Hit> = Vec::new();
    for hit in hits.drain(..) {
        let free =
            kept.iter().all(|other| hit.start >= other.start + other.length || other.start >= hit.start + hit.length);
        if free {
            kept.push(hit);
        }
    }
    kept.sort_by_key(|hit| hit.start);
    kept
}

fn contains(line: &[u8], needle: &[u8]) -> bool {
    line.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "q8Zr1Lw0pXv7Kd2m9Ts4Bn6Vc3Yh5Jg8Fe1A";

    fn places(text: &str) -> Vec<(usize, usize, &'static str)> {
        let mut places = Vec::new();
        scan("src/a.rs", text.as_bytes(), |at| places.push((at.line, at.hit.start, at.hit.kind)));
        places
    }

    #[test]
    fn a_token_assigned_to_a_name_is_one_finding() {
        let text = format!("one\r\n  token = \"{}{BODY}\"\r\n", "ghp_");
        assert_eq!(places(&text), [(2, 11, "github-token")]);
    }

    #[test]
    fn two_on_a_line_come_in_their_order() {
        let text = format!("password=\"Tr0ub4dor&3\" x={}{BODY}", "npm_");
        assert_eq!(places(&text).len(), 2);
        assert!(places(&text)[0].1 < places(&text)[1].1);
    }

    #[test]
    fn a_line_that_its_owner_allowed_is_left_out() {
        let text = format!("token = \"{}{BODY}\" # secrets-scan:allow", "ghp_");
        assert_eq!(places(&text), []);
    }
}
