//! Keeps texts in its own values and finds them again by their words: BM25 over all texts of a space.
//!
//! It needs the grant `kv: { scope: project }`. A search reads the whole space, so this is for thousands of texts.

use cofferdam_sdk::recall::{Hit, Memo, Recall, Search};
use cofferdam_sdk::{Context, Error, Result, Write};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Values that are read or written at once.
const AT_ONCE: usize = 64;
/// How soon more of the same word says nothing more, and how much the length of a text matters (Robertson and Zaragoza,
/// "The Probabilistic Relevance Framework", 2009).
const SATURATION: f64 = 1.2;
const LENGTH: f64 = 0.75;

/// The memory.
pub struct Keywords;

#[derive(Serialize, Deserialize)]
struct Kept {
    text: String,
    meta: Value,
}

impl Recall for Keywords {
    fn upsert(ctx: &Context, space: &str, memos: Vec<Memo>) -> Result<()> {
        if memos.len() > AT_ONCE {
            return Err(Error::too_large(format!("at most {AT_ONCE} texts are kept at once")));
        }
        let write = |memo: Memo| {
            let kept = serde_json::to_vec(&Kept { text: memo.text, meta: memo.meta })?;
            Ok(Write::put(key(space, &memo.id), kept))
        };
        let writes = memos.into_iter().map(write).collect::<Result<Vec<_>>>()?;
        if writes.is_empty() { Ok(()) } else { ctx.kv().commit(writes).map(drop) }
    }

    fn search(ctx: &Context, space: &str, search: &Search) -> Result<Vec<Hit>> {
        let memos: Vec<Memo> = all(ctx, space)?.into_iter().filter(|memo| search.admits(&memo.meta)).collect();
        let mut hits = rank(memos, &search.query);
        hits.truncate(search.limit as usize);
        Ok(hits)
    }

    fn forget(ctx: &Context, space: &str, ids: Vec<String>) -> Result<u32> {
        let present = all(ctx, space)?;
        let gone = present.into_iter().map(|memo| memo.id).filter(|id| ids.is_empty() || ids.contains(id));
        let gone: Vec<String> = gone.map(|id| key(space, &id)).collect();
        for some in gone.chunks(AT_ONCE) {
            ctx.kv().commit(some.iter().map(Write::delete).collect())?;
        }
        Ok(u32::try_from(gone.len()).unwrap_or(u32::MAX))
    }
}

/// A key of a text. The length of the space's name keeps `a/b` and `c` apart from `a` and `b/c`.
fn key(space: &str, id: &str) -> String {
    format!("{}{id}", prefix(space))
}

fn prefix(space: &str) -> String {
    format!("{}:{space}/", space.len())
}

fn all(ctx: &Context, space: &str) -> Result<Vec<Memo>> {
    let prefix = prefix(space);
    let (mut memos, mut cursor) = (Vec::new(), None);
    loop {
        let page = ctx.kv().scan(&prefix, cursor.as_deref(), u32::try_from(AT_ONCE).unwrap_or(u32::MAX))?;
        for entry in &page.entries {
            let Kept { text, meta } = entry.json()?;
            let id = entry.key.strip_prefix(&prefix).unwrap_or(&entry.key).to_owned();
            memos.push(Memo { id, text, meta });
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(memos),
        }
    }
}

/// The words of a text, in lower case.
fn words(text: &str) -> Vec<String> {
    text.split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// The texts that have a word of the query, the best first; scores from 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "counts of words are far below 2^52")]
#[expect(clippy::cast_possible_truncation, reason = "a score needs no more digits")]
fn rank(memos: Vec<Memo>, query: &str) -> Vec<Hit> {
    let mut terms = words(query);
    terms.sort_unstable();
    terms.dedup();
    let texts: Vec<Vec<String>> = memos.iter().map(|memo| words(&memo.text)).collect();
    let count = texts.len() as f64;
    let average = texts.iter().map(Vec::len).sum::<usize>() as f64 / count.max(1.0);
    let weights: BTreeMap<&str, f64> = terms
        .iter()
        .map(|term| {
            let with = texts.iter().filter(|words| words.contains(term)).count() as f64;
            (term.as_str(), (1.0 + (count - with + 0.5) / (with + 0.5)).ln())
        })
        .collect();
    let most: f64 = weights.values().sum::<f64>() * (SATURATION + 1.0);
    let score = |words: &Vec<String>| {
        let length = SATURATION * (1.0 - LENGTH + LENGTH * words.len() as f64 / average.max(1.0));
        let of_term = |(term, weight): (&&str, &f64)| {
            let times = words.iter().filter(|word| word == term).count() as f64;
            weight * times * (SATURATION + 1.0) / (times + length)
        };
        weights.iter().map(of_term).sum::<f64>() / most.max(f64::MIN_POSITIVE)
    };
    let scores: Vec<f64> = texts.iter().map(score).collect();
    let mut hits: Vec<Hit> = memos
        .into_iter()
        .zip(scores)
        .filter(|(_, score)| *score > 0.0)
        .map(|(memo, score)| Hit { memo, score: (score as f32).clamp(0.0, 1.0) })
        .collect();
    hits.sort_by(|one, other| other.score.total_cmp(&one.score).then_with(|| one.memo.id.cmp(&other.memo.id)));
    hits
}

cofferdam_sdk::plugin!(id = "cofferdam/keyword-recall", recall = Keywords);

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_sdk::Fake;
    use serde_json::json;

    fn memo(id: &str, text: &str, meta: Value) -> Memo {
        Memo { id: id.into(), text: text.into(), meta }
    }

    fn found(ctx: &Context, space: &str, query: &str, filter: Value) -> Vec<String> {
        let search = Search { query: query.into(), limit: 10, filter };
        Keywords::search(ctx, space, &search).unwrap().into_iter().map(|hit| hit.memo.id).collect()
    }

    #[test]
    fn the_text_with_the_rarer_word_comes_first() {
        let ctx = Fake::new().kv().context();
        let texts = ["the tide is out", "the tide and the moon", "a dam in the river", "the the the"];
        let memos = texts.iter().enumerate().map(|(n, text)| memo(&n.to_string(), text, json!({ "even": n % 2 == 0 })));
        Keywords::upsert(&ctx, "a", memos.collect()).unwrap();
        assert_eq!(found(&ctx, "a", "the Moon", json!({}))[0], "1");
        assert_eq!(found(&ctx, "a", "river", json!({})), ["2"]);
        assert_eq!(found(&ctx, "a", "nothing", json!({})), [""; 0]);
        assert_eq!(found(&ctx, "a", "tide", json!({ "even": true })), ["0"]);
        assert_eq!(found(&ctx, "b", "tide", json!({})), [""; 0]);
    }

    #[test]
    fn a_text_is_replaced_and_forgotten() {
        let ctx = Fake::new().kv().context();
        Keywords::upsert(&ctx, "a", vec![memo("x", "old", json!({})), memo("y", "old", json!({}))]).unwrap();
        Keywords::upsert(&ctx, "a", vec![memo("x", "new", json!({}))]).unwrap();
        assert_eq!(found(&ctx, "a", "old", json!({})), ["y"]);
        assert_eq!(Keywords::forget(&ctx, "a", vec!["x".into(), "z".into()]).unwrap(), 1);
        assert_eq!(Keywords::forget(&ctx, "a", Vec::new()).unwrap(), 1);
        assert_eq!(found(&ctx, "a", "old new", json!({})), [""; 0]);
    }

    #[test]
    fn spaces_whose_names_run_together_stay_apart() {
        assert_ne!(key("a/b", "c"), key("a", "b/c"));
    }
}
