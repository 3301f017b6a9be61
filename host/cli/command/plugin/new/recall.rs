//! A recall: keeps texts and finds them again. What must last belongs into `ctx.kv()` or behind `ctx.fetch()`: an
//! instance may be replaced at any time.

use cofferdam_sdk::recall::{Hit, Memo, Recall, Search};
use cofferdam_sdk::{Context, Result, Write};

/// The memory.
pub struct Exact;

impl Recall for Exact {
    fn upsert(ctx: &Context, space: &str, memos: Vec<Memo>) -> Result<()> {
        let write = |memo: &Memo| Write::put(format!("{space}\n{}", memo.text), memo.id.clone());
        ctx.kv().commit(memos.iter().map(write).collect()).map(drop)
    }

    fn search(ctx: &Context, space: &str, search: &Search) -> Result<Vec<Hit>> {
        let found = ctx.kv().get(&format!("{space}\n{}", search.query))?;
        let hit = |id: &str| Hit {
            memo: Memo { id: id.into(), text: search.query.clone(), meta: serde_json::json!({}) },
            score: 1.0,
        };
        found.iter().map(|entry| Ok(hit(entry.text()?))).collect()
    }

    fn forget(_ctx: &Context, _space: &str, _ids: Vec<String>) -> Result<u32> {
        Ok(0)
    }
}

cofferdam_sdk::plugin!(id = "acme/__NAME__", summary = "Finds exact texts", recall = Exact);
