//! `did you mean ...`: the known word that differs least from a given one.

use crate::limits;

/// A hint naming the known word that differs least from `given`, when one is near.
#[must_use]
pub fn did_you_mean<'w>(given: &str, known: impl IntoIterator<Item = &'w str>) -> Option<String> {
    nearest(given, known).map(|word| format!("did you mean `{word}`?"))
}

/// The known word that differs least from `given`, when one is near.
#[must_use]
pub fn nearest<'w>(given: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let length = given.chars().count();
    if length > limits::SUGGESTION_CHARS {
        return None;
    }
    // A word of which half would have to change is no suggestion.
    let most = limits::SUGGESTION_DISTANCE.min(length / 2);
    let mut best: Option<(usize, &'w str)> = None;
    for word in known.into_iter().take(limits::SUGGESTION_WORDS) {
        let room = best.map_or(most + 1, |(distance, _)| distance);
        if word.chars().count().abs_diff(length) >= room {
            continue;
        }
        let distance = edits(given, word);
        if distance < room {
            best = Some((distance, word));
        }
    }
    best.map(|(_, word)| word)
}

/// The number of letters to insert, drop, change or swap with the next (a swap counts as one).
fn edits(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.to_lowercase().chars().collect();
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let width = right.len() + 1;
    let mut rows: Vec<Vec<usize>> = vec![(0..width).collect()];
    let at = |rows: &[Vec<usize>], i: usize, j: usize| {
        rows.get(i).and_then(|row| row.get(j)).copied().unwrap_or(usize::MAX / 2)
    };
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let before = row.last().copied().unwrap_or_default();
            let mut cost = (at(&rows, i, j) + usize::from(a != b)).min(at(&rows, i, j + 1) + 1).min(before + 1);
            let swapped = i > 0 && j > 0 && left.get(i - 1) == Some(b) && right.get(j - 1) == Some(a);
            if swapped {
                cost = cost.min(at(&rows, i - 1, j - 1) + 1);
            }
            row.push(cost);
        }
        rows.push(row);
    }
    at(&rows, left.len(), right.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested() {
        assert_eq!(nearest("buidl", ["build", "bundle", "x"]), Some("build"));
        assert_eq!(nearest("dependson", ["dependsOn", "description"]), Some("dependsOn"));
        assert_eq!(nearest("depend_on", ["dependsOn", "description"]), Some("dependsOn"));
        assert_eq!(nearest("zzz", ["build"]), None);
        assert_eq!(nearest("a", ["b"]), None);
        assert_eq!(nearest("", ["b"]), None);
        assert_eq!(nearest(&"x".repeat(10_000), ["b"]), None);
    }
}
