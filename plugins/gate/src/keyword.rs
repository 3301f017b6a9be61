//! Choosing a label by words of a text.

use std::collections::BTreeMap;

/// The label whose words stand most often in the text; of equal ones the first. None when no word does.
pub(crate) fn choose(text: &str, labels: &[String], keywords: &BTreeMap<String, Vec<String>>) -> Option<usize> {
    let words = words(text);
    let mut best: Option<(usize, usize)> = None;
    for (index, label) in labels.iter().enumerate() {
        let count: usize = match keywords.get(label) {
            Some(list) => list.iter().map(|keyword| occurrences(&words, keyword)).sum(),
            None => occurrences(&words, label),
        };
        if count > 0 && best.is_none_or(|(_, most)| count > most) {
            best = Some((index, count));
        }
    }
    best.map(|(index, _)| index)
}

/// How often a keyword of one or more words stands in the text.
fn occurrences(text: &[String], keyword: &str) -> usize {
    let keyword = words(keyword);
    if keyword.is_empty() {
        return 0;
    }
    text.windows(keyword.len()).filter(|window| *window == keyword.as_slice()).count()
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_count_and_the_most_wins() {
        let labels = ["art".to_owned(), "start-up".to_owned()];
        let none = BTreeMap::new();
        assert_eq!(choose("Start up! The start-up starts.", &labels, &none), Some(1));
        assert_eq!(choose("nothing of the kind", &labels, &none), None);
        assert_eq!(choose("ART and a start up", &labels, &none), Some(0));
    }
}
