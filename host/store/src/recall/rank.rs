//! How well texts fit a query: by the share of its words that they have, where rare words count for more.
//!
//! The weight of a word is the one of BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009); how often
//! a text says it does not matter. It must not know where the texts are kept.

use cofferdam_core::limits;
use cofferdam_core::port::{Hit, Memo, Search};
use std::collections::{BTreeMap, BTreeSet};

/// The words of a text, in lower case, each once.
pub(crate) fn words(text: &str) -> BTreeSet<String> {
    text.split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// The words that are looked for: of a long query the first.
pub(crate) fn asked(query: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for word in query.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()) {
        if found.len() == limits::RECALL_QUERY_WORDS {
            break;
        }
        found.insert(word.to_lowercase());
    }
    found
}

/// Whether what goes with a text is what is asked for.
pub(crate) fn admits(search: &Search, memo: &Memo) -> bool {
    search.filter.iter().all(|(name, value)| memo.meta.get(name) == Some(value))
}

/// The texts that have one of the words, the best first, at most `limit`. Of texts that fit as well, the one that comes
/// first in `memos` does. `count` is how many texts there are, those without any of the words among them.
#[expect(clippy::cast_precision_loss, reason = "counts of texts are far below 2^52")]
#[expect(clippy::cast_possible_truncation, reason = "a score needs no more digits")]
pub(crate) fn rank(memos: Vec<Memo>, asked: &BTreeSet<String>, count: usize, limit: usize) -> Vec<Hit> {
    let texts: Vec<BTreeSet<String>> = memos.iter().map(|memo| words(&memo.text)).collect();
    let count = count.max(memos.len()) as f64;
    let weights: BTreeMap<&String, f64> = asked
        .iter()
        .map(|word| {
            let with = texts.iter().filter(|text| text.contains(word)).count() as f64;
            (word, (1.0 + (count - with + 0.5) / (with + 0.5)).ln())
        })
        .collect();
    let most: f64 = weights.values().sum();
    let score = |text: &BTreeSet<String>| {
        let has = weights.iter().filter(|(word, _)| text.contains(**word)).map(|(_, weight)| weight);
        has.sum::<f64>() / most.max(f64::MIN_POSITIVE)
    };
    let scores: Vec<f64> = texts.iter().map(score).collect();
    let fits = memos.into_iter().zip(scores).filter(|(_, score)| *score > 0.0);
    let mut hits: Vec<Hit> = fits.map(|(memo, score)| Hit { memo, score: (score as f32).clamp(0.0, 1.0) }).collect();
    hits.sort_by(|one, other| other.score.total_cmp(&one.score));
    hits.truncate(limit);
    hits
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::value::Map;

    fn found(texts: &[&str], query: &str) -> Vec<String> {
        let memo = |text: &&str| Memo { id: (*text).to_owned(), text: (*text).to_owned(), meta: Map::new() };
        let hits = rank(texts.iter().map(memo).collect(), &asked(query), texts.len(), 9);
        hits.into_iter().map(|hit| hit.memo.text).collect()
    }

    #[test]
    fn a_rare_word_counts_for_more_than_a_common_one() {
        let texts = ["the lamp", "the boat", "the sea", "a tide"];
        assert_eq!(found(&texts, "the tide"), ["a tide", "the lamp", "the boat", "the sea"]);
        assert!(found(&texts, "moon").is_empty() && found(&[], "tide").is_empty() && found(&texts, "").is_empty());
    }

    #[test]
    fn a_long_query_is_looked_for_by_its_first_words() {
        let query: String = (0..1_000).map(|n| format!("w{n} ")).collect();
        assert_eq!(asked(&query).len(), limits::RECALL_QUERY_WORDS);
        assert!(asked(&query).contains("w0"));
    }
}
