//! Tokens of Telegram bots: the bot's number, a colon, 35 characters. They have
//! no prefix, so the whole form is looked for around each colon.

use crate::entropy;
use crate::finding::{Confidence, Hit, mask_value};
use crate::sample;

const BODY: usize = 35;

/// Adds the bot tokens of a line.
pub(crate) fn find(line: &[u8], hits: &mut Vec<Hit>) {
    let colons = line.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at);
    hits.extend(colons.filter_map(|at| token(line, at)));
}

fn token(line: &[u8], colon: usize) -> Option<Hit> {
    let (before, after) = (line.get(..colon)?, line.get(colon + 1..)?);
    let digits = before.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let start = colon - digits;
    // An address of the service has `bot` before the number.
    let head = before.get(..start)?;
    let begins = head.last().is_none_or(|byte| !byte.is_ascii_alphanumeric()) || head.ends_with(b"bot");
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let body = after.get(..after.iter().take_while(is_part).count())?;
    let has = |class: fn(&u8) -> bool| body.iter().any(class);
    let mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit);
    let fits = begins && (8..=10).contains(&digits) && body.len() == BODY && mixed;
    if !fits || entropy::bits(body) < 3.5 || sample::is_made_up(body) {
        return None;
    }
    let length = digits + 1 + BODY;
    let masked = mask_value(line.get(start..start + length)?);
    Some(Hit { kind: "telegram-token", confidence: Confidence::High, start, length, masked })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "AAq8Zr1Lw0pXv7Kd2m9Ts4_Bn6Vc3Yh5Jg8";

    fn found(line: &str) -> Vec<usize> {
        let mut hits = Vec::new();
        find(line.as_bytes(), &mut hits);
        hits.iter().map(|hit| hit.start).collect()
    }

    #[test]
    fn a_token_is_found_in_text_and_in_an_address() {
        assert_eq!(found(&format!("token {}:{BODY}.", "731904826")), [6]);
        assert_eq!(found(&format!("https://h/bot{}:{BODY}/getMe", "731904826")), [13]);
    }

    #[test]
    fn other_numbers_and_lengths_are_none() {
        assert!(found(&format!("{}:{BODY}", "7319048")).is_empty());
        assert!(found(&format!("{}:{BODY}x", "731904826")).is_empty());
        assert!(found(&format!("{}:{}", "731904826", "a".repeat(35))).is_empty());
    }
}
