//! How random bytes look. Knows nothing of secrets.

/// Shannon entropy in bits per byte: 0 for one byte repeated, at most the binary
/// logarithm of the length.
pub(crate) fn bits(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let total = bytes.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / total;
            -share * share.log2()
        })
        .sum()
}

/// How many different bytes there are.
pub(crate) fn distinct(bytes: &[u8]) -> usize {
    let mut seen = [false; 256];
    for byte in bytes {
        if let Some(seen) = seen.get_mut(usize::from(*byte)) {
            *seen = true;
        }
    }
    seen.iter().filter(|seen| **seen).count()
}

/// The share of neighbours that count up, down or repeat (`abcd`, `4321`,
/// `xxxx`): typed by hand, not drawn.
pub(crate) fn run_share(bytes: &[u8]) -> f64 {
    let pairs = bytes.len().saturating_sub(1);
    if pairs == 0 {
        return 0.0;
    }
    let runs = bytes.windows(2).filter(|pair| matches!(pair, [a, b] if a.abs_diff(*b) <= 1)).count();
    runs as f64 / pairs as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_is_the_information_of_a_byte() {
        assert!(bits(b"aaaaaaaa") < 0.001);
        assert!((bits(b"abcdefgh") - 3.0).abs() < 0.001);
        assert!((bits(b"aabb") - 1.0).abs() < 0.001);
    }

    #[test]
    fn runs_are_told_from_random_text() {
        assert!(run_share(b"abcdefgh12345678") > 0.8);
        assert!(run_share(b"xxxxxxxx") > 0.9);
        assert!(run_share(b"q8Zr1Lw0pXv7") < 0.3);
    }
}
