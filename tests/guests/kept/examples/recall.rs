//! The archived recall: every import that recalls may have. It keeps texts in its own values, and finds equal ones.

use cofferdam_sdk::recall::{Hit, Memo, Recall, Search};
use cofferdam_sdk::{Context, Result, Write};
use guest_kept::{Config, basics, http, kv, secrets};
use serde_json::json;

/// The memory.
pub struct Kept;

impl Recall for Kept {
    fn upsert(ctx: &Context, space: &str, memos: Vec<Memo>) -> Result<()> {
        let write = |memo: Memo| Write::put(format!("{space}/{}", memo.id), memo.text);
        ctx.kv().commit(memos.into_iter().map(write).collect()).map(drop)
    }

    /// The query `report` asks the host for everything.
    fn search(ctx: &Context, space: &str, search: &Search) -> Result<Vec<Hit>> {
        let hit = |id: &str, text: String| Hit {
            memo: Memo { id: id.to_owned(), text, meta: json!({ "space": space }) },
            score: 1.0,
        };
        if search.query == "report" {
            let url = ctx.config::<Config>()?.url;
            let report = json!({
                "asked": { "limit": search.limit, "filter": search.filter },
                "config": basics(ctx, "recall"),
                "kv": kv(ctx),
                "secrets": secrets(ctx, &url),
                "http": http(ctx, &url),
            });
            return Ok(vec![hit("report", report.to_string())]);
        }
        let prefix = format!("{space}/");
        let page = ctx.kv().scan(&prefix, None, 100)?;
        let same = page.entries.iter().filter(|entry| entry.text().is_ok_and(|text| text == search.query));
        Ok(same.map(|entry| hit(entry.key.trim_start_matches(&prefix), search.query.clone())).collect())
    }

    fn forget(ctx: &Context, space: &str, ids: Vec<String>) -> Result<u32> {
        let keys: Vec<String> = ids.iter().map(|id| format!("{space}/{id}")).collect();
        let entries = ctx.kv().get_many(&keys.iter().map(String::as_str).collect::<Vec<_>>())?;
        let known: Vec<Write> = entries.into_iter().flatten().map(|entry| Write::delete(entry.key)).collect();
        let count = u32::try_from(known.len()).unwrap_or(u32::MAX);
        if count > 0 {
            ctx.kv().commit(known)?;
        }
        Ok(count)
    }
}

cofferdam_sdk::plugin!(id = "tests/kept-recall", config = Config, recall = Kept);
