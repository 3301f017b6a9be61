//! Durations, sizes and tokens as people read them.

use cofferdam_core::budget::Money;
use cofferdam_core::message::Usage;
use std::time::Duration;

/// `12 ms`, `1.2 s`, `2 min 05 s`.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => "<1 ms".to_owned(),
        1..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        _ => format!("{} min {:02} s", millis / 60_000, millis / 1_000 % 60),
    }
}

/// `12 bytes`, `3.4 KiB`, `5.6 MiB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    const KIB: u64 = 1_024;
    const MIB: u64 = KIB * KIB;
    let tenths = |unit: u64, name: &str| format!("{}.{} {name}", count / unit, count % unit * 10 / unit);
    match count {
        0..KIB => format!("{count} bytes"),
        KIB..MIB => tenths(KIB, "KiB"),
        _ => tenths(MIB, "MiB"),
    }
}

/// `120 in, 30 out`; nothing when nothing was spent.
#[must_use]
pub fn tokens(usage: &Usage) -> Option<String> {
    (!usage.is_empty()).then(|| format!("{} in, {} out", usage.input, usage.output))
}

/// `120 in, 30 out, $0.0123`; nothing when nothing was spent.
#[must_use]
pub fn spent(usage: &Usage, cost: Option<Money>) -> Option<String> {
    let cost = cost.map_or_else(|| "cost unknown".to_owned(), |cost| cost.to_string());
    tokens(usage).map(|tokens| format!("{tokens}, {cost}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_short() {
        for (millis, text) in [(0, "<1 ms"), (999, "999 ms"), (1_234, "1.2 s"), (125_000, "2 min 05 s")] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
        for (count, text) in [(12, "12 bytes"), (3_500, "3.4 KiB"), (5_872_026, "5.6 MiB")] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(tokens(&Usage::default()), None);
    }
}
