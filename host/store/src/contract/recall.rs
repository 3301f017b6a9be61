//! Laws of retrieval memories. Which of several texts fits best is not among them, beyond that one with all words of a
//! query comes before one with fewer of the same length.

use super::{Law, Verdict, done, same};
use cofferdam_core::port::{Memo, Recall, Search};
use cofferdam_core::value::Map;
use serde_json::{Value, json};

pub(super) const LAWS: &[Law<dyn Recall>] = &[
    Law { sentence: "what was kept is found by its words", holds: |recall| Box::pin(found(recall)) },
    Law { sentence: "the text that fits best comes first", holds: |recall| Box::pin(ranked(recall)) },
    Law { sentence: "a text with the same id replaces the other", holds: |recall| Box::pin(replaced(recall)) },
    Law { sentence: "a filter and a limit leave out the rest", holds: |recall| Box::pin(narrowed(recall)) },
    Law { sentence: "spaces do not see each other", holds: |recall| Box::pin(apart(recall)) },
    Law { sentence: "what is forgotten is gone and counted", holds: |recall| Box::pin(forgotten(recall)) },
    Law { sentence: "any text is a query", holds: |recall| Box::pin(odd_queries(recall)) },
    Law { sentence: "what can be listed is listed, the latest first", holds: |recall| Box::pin(listed(recall)) },
];

fn memo(id: &str, text: &str, meta: &Value) -> Memo {
    Memo { id: id.to_owned(), text: text.to_owned(), meta: meta.as_object().cloned().unwrap_or_default() }
}

async fn ids(recall: &dyn Recall, space: &str, query: &str, filter: Map, limit: usize) -> Result<Vec<String>, String> {
    let hits = recall.search(space, Search { query: query.to_owned(), limit, filter }).await;
    let hits = done("searching", hits)?;
    for hit in &hits {
        if !(0.0..=1.0).contains(&hit.score) {
            return Err(format!("the score {} of `{}` is not between 0 and 1", hit.score, hit.memo.id));
        }
    }
    if !hits.is_sorted_by(|one, other| one.score >= other.score) {
        return Err(format!("the hits are not in order: {hits:?}"));
    }
    Ok(hits.into_iter().map(|hit| hit.memo.id).collect())
}

async fn found(recall: &dyn Recall) -> Verdict {
    let kept = memo("a-1/x", "The tide is Äußerst low.\nToday.", &json!({ "step": "a", "n": 1 }));
    done("keeping", recall.upsert("s", vec![kept.clone(), memo("b", "nothing of it", &json!({}))]).await)?;
    done("keeping nothing", recall.upsert("s", Vec::new()).await)?;
    let search = Search { query: "TIDE äußerst".to_owned(), limit: 5, filter: Map::new() };
    let hits = done("searching", recall.search("s", search).await)?;
    same("the texts", &hits.into_iter().map(|hit| hit.memo).collect::<Vec<_>>(), &vec![kept])?;
    same("no word of it", &ids(recall, "s", "moon", Map::new(), 5).await?, &Vec::new())?;
    same("no query", &ids(recall, "s", " ", Map::new(), 5).await?, &Vec::new())
}

async fn ranked(recall: &dyn Recall) -> Verdict {
    let texts = [("one", "dam moon lamp"), ("two", "dam tide lamp"), ("none", "sea boat lamp")];
    let memos = texts.iter().map(|(id, text)| memo(id, text, &json!({}))).collect();
    done("keeping", recall.upsert("s", memos).await)?;
    same("the order", &ids(recall, "s", "tide dam", Map::new(), 5).await?, &vec!["two".to_owned(), "one".to_owned()])
}

async fn replaced(recall: &dyn Recall) -> Verdict {
    done("keeping", recall.upsert("s", vec![memo("a", "old words", &json!({}))]).await)?;
    done("keeping again", recall.upsert("s", vec![memo("a", "new words", &json!({}))]).await)?;
    same("the old text", &ids(recall, "s", "old", Map::new(), 5).await?, &Vec::new())?;
    same("the new text", &ids(recall, "s", "words", Map::new(), 5).await?, &vec!["a".to_owned()])
}

async fn narrowed(recall: &dyn Recall) -> Verdict {
    let memos = (0..9).map(|n| memo(&format!("m{n}"), "same words", &json!({ "odd": n % 2 == 1, "n": n })));
    done("keeping", recall.upsert("s", memos.collect()).await)?;
    let filter = |value: Value| value.as_object().cloned().unwrap_or_default();
    same("with a limit", &ids(recall, "s", "words", Map::new(), 4).await?.len(), &4)?;
    same("a limit of none", &ids(recall, "s", "words", Map::new(), 0).await?.len(), &0)?;
    same("the odd ones", &ids(recall, "s", "words", filter(json!({ "odd": true })), 9).await?.len(), &4)?;
    let both = ids(recall, "s", "words", filter(json!({ "odd": true, "n": 3 })), 9).await?;
    same("an odd one", &both, &vec!["m3".to_owned()])?;
    same("an unknown name", &ids(recall, "s", "words", filter(json!({ "x": null })), 9).await?.len(), &0)
}

async fn apart(recall: &dyn Recall) -> Verdict {
    for (space, id) in [("a", "b/c"), ("a/b", "c"), ("", "x"), ("A", "y")] {
        done("keeping", recall.upsert(space, vec![memo(id, "words", &json!({}))]).await)?;
    }
    for (space, id) in [("a", "b/c"), ("a/b", "c"), ("", "x"), ("A", "y")] {
        same(space, &ids(recall, space, "words", Map::new(), 9).await?, &vec![id.to_owned()])?;
    }
    Ok(())
}

async fn forgotten(recall: &dyn Recall) -> Verdict {
    let memos = ["a", "b", "c"].map(|id| memo(id, "words", &json!({})));
    done("keeping", recall.upsert("s", memos.to_vec()).await)?;
    let some = recall.forget("s", vec!["a".to_owned(), "z".to_owned()]).await;
    same("how many of two", &done("forgetting", some)?, &1)?;
    same("the rest", &ids(recall, "s", "words", Map::new(), 9).await?.len(), &2)?;
    same("all", &done("forgetting all", recall.forget("s", Vec::new()).await)?, &2)?;
    same("nothing", &ids(recall, "s", "words", Map::new(), 9).await?.len(), &0)?;
    same("none", &done("forgetting none", recall.forget("other", Vec::new()).await)?, &0)
}

async fn odd_queries(recall: &dyn Recall) -> Verdict {
    done("keeping", recall.upsert("s", vec![memo("a", "the tide is low", &json!({}))]).await)?;
    for query in ["tide AND", "\"tide", "tide*)(", "-tide", "TIDE: \u{0} \u{1f30a}"] {
        same(query, &ids(recall, "s", query, Map::new(), 5).await?, &vec!["a".to_owned()])?;
    }
    let long = "tide \u{e4}".repeat(10_000);
    same("a long query", &ids(recall, "s", &long, Map::new(), 5).await?.len(), &1)
}

async fn listed(recall: &dyn Recall) -> Verdict {
    for (space, id) in [("s", "a"), ("t", "b"), ("s", "c"), ("s", "a")] {
        done("keeping", recall.upsert(space, vec![memo(id, "words", &json!({ "n": 1 }))]).await)?;
    }
    let all = match recall.list(None, 9).await {
        Err(fault) if &*fault.code == "not_listed" => return Ok(()),
        listed => done("listing", listed)?,
    };
    let names: Vec<(&str, &str)> = all.iter().map(|kept| (kept.space.as_str(), kept.memo.id.as_str())).collect();
    same("all of them", &names, &vec![("s", "a"), ("s", "c"), ("t", "b")])?;
    let some = done("listing one space", recall.list(Some("s".to_owned()), 1).await)?;
    same("the latest of a space", &some.into_iter().map(|kept| kept.memo.id).collect::<Vec<_>>(), &vec!["a".to_owned()])
}
