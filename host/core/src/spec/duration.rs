//! Durations as documents write them: `1h30m`, `45s`, `500ms`.

use std::time::Duration;

/// What a duration looks like, as a regular expression.
pub const GRAMMAR: &str = r"^(?=.)(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$";

/// Parses a duration: hours, minutes, seconds, milliseconds, in this order, at least one of them.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1_u64)];
    let mut rest = text;
    let mut total: u64 = 0;
    let mut next = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at_checked(digits)?;
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at_checked(letters)?;
        let position = units.iter().skip(next).position(|(name, _)| *name == unit)? + next;
        let (_, millis) = units.get(position)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*millis)?)?;
        next = position + 1;
        rest = after;
    }
    (!text.is_empty()).then_some(Duration::from_millis(total))
}

/// Writes a duration as documents do.
#[must_use]
pub fn format(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let parts =
        [(millis / 3_600_000, "h"), (millis / 60_000 % 60, "m"), (millis / 1_000 % 60, "s"), (millis % 1_000, "ms")];
    let text: String =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    if text.is_empty() { "0s".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_in_order() {
        for (text, seconds) in [("1h30m", 5400), ("45s", 45), ("0s", 0), ("1h0m30s", 3630), ("90m", 5400)] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("1s500ms"), Some(Duration::from_millis(1500)));
        for text in [
            "30",
            "1.5h",
            "",
            "-1s",
            "5m1h",
            "1h1h",
            "s",
            "1d",
            " 1s",
            "1S",
            "99999999999999999999h",
            "18446744073709551615h",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_duration_survives_its_text() {
        for text in ["1h30m", "45s", "0s", "1s500ms", "2h", "10ms"] {
            assert_eq!(parse(text).map(format).as_deref(), Some(text));
        }
    }
}
