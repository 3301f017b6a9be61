//! A retrieval memory in an SQLite file, with its full-text search.
//!
//! The index has the words as [`rank::words`] takes them, so that a query is a list of such words and never text that could
//! be syntax, and the name of the space as one word more, so that a search looks at no other space. Texts are weighed as the
//! memory in memory weighs them: what the two find is the same. It must not know what texts are for.

use crate::connection::{self, Schema};
use crate::database::{Database, Failure};
use crate::recall::rank;
use cofferdam_core::digest::sha256_hex;
use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use cofferdam_core::port::{BoxFuture, Durability, Hit, JournalError, KeptMemo, Memo, Recall, Search};
use cofferdam_core::value;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The tables. A text that is kept again gets a new number: the highest is the latest.
const SCHEMA: Schema = Schema {
    version: 1,
    create: "
        CREATE TABLE memos (
            number INTEGER PRIMARY KEY AUTOINCREMENT, space TEXT NOT NULL, id TEXT NOT NULL, text TEXT NOT NULL,
            meta TEXT NOT NULL, UNIQUE (space, id)
        ) STRICT;
        CREATE INDEX memos_of_space ON memos (space, number);
        CREATE VIRTUAL TABLE memo_words USING fts5 (space, words, content = '', contentless_delete = 1, tokenize = 'ascii');
    ",
};

/// Keeps texts in a file, which is made with its directory when the first of them is kept.
pub struct FileRecall {
    database: Database,
}

impl FileRecall {
    /// A memory in the file at `path`. Nothing is opened.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { database: Database::new(path.into(), SCHEMA) }
    }

    async fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<Option<T>, Fault> {
        let read = move |connection: Option<&Connection>, path: &Path| match connection {
            Some(connection) => what(connection).map(Some).map_err(|error| connection::refused(path, &error)),
            None => Ok(None),
        };
        self.database.read(read).await.map_err(|error| unavailable(&error))
    }
}

fn unavailable(error: &JournalError) -> Fault {
    Fault::step("recall_store", error.to_string())
}

impl Recall for FileRecall {
    fn upsert<'a>(&'a self, space: &'a str, memos: Vec<Memo>) -> BoxFuture<'a, Result<(), Fault>> {
        let space = space.to_owned();
        Box::pin(async move {
            if memos.is_empty() {
                return Ok(());
            }
            let write = move |connection: &Connection| {
                memos.iter().try_for_each(|memo| keep(connection, &space, memo))?;
                bound(connection, &space).map_err(Failure::from)
            };
            // What a power cut takes is kept again when its run goes on.
            self.database.write(Durability::Written, write).await.map_err(|error| unavailable(&error))
        })
    }

    fn search<'a>(&'a self, space: &'a str, search: Search) -> BoxFuture<'a, Result<Vec<Hit>, Fault>> {
        let space = space.to_owned();
        Box::pin(async move {
            let asked = rank::asked(&search.query);
            if asked.is_empty() || search.limit == 0 {
                return Ok(Vec::new());
            }
            let found = self.ask(move |connection| {
                let (memos, count) = candidates(connection, &space, &asked, &search)?;
                Ok(rank::rank(memos, &asked, count, search.limit))
            });
            Ok(found.await?.unwrap_or_default())
        })
    }

    fn forget<'a>(&'a self, space: &'a str, ids: Vec<String>) -> BoxFuture<'a, Result<usize, Fault>> {
        let space = space.to_owned();
        Box::pin(async move {
            // Writing would make the file.
            if self.ask(|_| Ok(())).await?.is_none() {
                return Ok(0);
            }
            let write = move |connection: &Connection| forget(connection, &space, &ids).map_err(Failure::from);
            self.database.write(Durability::Durable, write).await.map_err(|error| unavailable(&error))
        })
    }

    fn list(&self, space: Option<String>, limit: usize) -> BoxFuture<'_, Result<Vec<KeptMemo>, Fault>> {
        Box::pin(async move {
            let listed = self.ask(move |connection| {
                let sql = "SELECT id, text, meta, space FROM memos WHERE ?1 IS NULL OR space = ?1 ORDER BY number DESC LIMIT ?2";
                let limit = i64::try_from(limit).unwrap_or(i64::MAX);
                let mut statement = connection.prepare_cached(sql)?;
                let rows = statement.query_map(params![space, limit], |row| {
                    Ok(KeptMemo { space: row.get(3)?, memo: memo(row)? })
                })?;
                rows.collect()
            });
            Ok(listed.await?.unwrap_or_default())
        })
    }
}

/// The name of a space as one word of the index.
fn space_word(space: &str) -> String {
    sha256_hex(space.as_bytes())
}

fn memo(row: &Row<'_>) -> rusqlite::Result<Memo> {
    let meta: String = row.get(2)?;
    let meta = match value::parse(&meta) {
        Ok(Value::Object(meta)) => meta,
        // It was one when it was written; what somebody made of it since goes with no text.
        _ => value::Map::new(),
    };
    Ok(Memo { id: row.get(0)?, text: row.get(1)?, meta })
}

fn keep(connection: &Connection, space: &str, memo: &Memo) -> Result<(), Failure> {
    remove(connection, space, &memo.id)?;
    let meta = serde_json::to_string(&memo.meta).unwrap_or_else(|_| "{}".to_owned());
    let sql = "INSERT INTO memos (space, id, text, meta) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(sql)?.execute(params![space, memo.id, memo.text, meta])?;
    let words = Vec::from_iter(rank::words(&memo.text)).join(" ");
    let sql = "INSERT INTO memo_words (rowid, space, words) VALUES (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute(params![connection.last_insert_rowid(), space_word(space), words])?;
    Ok(())
}

/// Removes a text; says how many there were.
fn remove(connection: &Connection, space: &str, id: &str) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM memos WHERE space = ?1 AND id = ?2 RETURNING number";
    let number: Option<i64> = connection.prepare_cached(sql)?.query_row([space, id], |row| row.get(0)).optional()?;
    let Some(number) = number else { return Ok(0) };
    connection.prepare_cached("DELETE FROM memo_words WHERE rowid = ?1")?.execute([number])?;
    Ok(1)
}

fn forget(connection: &Connection, space: &str, ids: &[String]) -> rusqlite::Result<usize> {
    if ids.is_empty() {
        let sql = "DELETE FROM memo_words WHERE rowid IN (SELECT number FROM memos WHERE space = ?1)";
        connection.prepare_cached(sql)?.execute([space])?;
        return connection.prepare_cached("DELETE FROM memos WHERE space = ?1")?.execute([space]);
    }
    ids.iter().try_fold(0, |count, id| Ok(count + remove(connection, space, id)?))
}

/// The oldest texts go where there are too many, of the space or of all.
fn bound(connection: &Connection, space: &str) -> rusqlite::Result<()> {
    for (space, most) in [(Some(space), limits::RECALL_SPACE_ENTRIES), (None, limits::RECALL_ENTRIES)] {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        // Between the first and the last number there are at least as many as there are texts.
        let sql = "SELECT COALESCE(MAX(number) - MIN(number) + 1, 0) FROM memos WHERE ?1 IS NULL OR space = ?1";
        let span: i64 = connection.prepare_cached(sql)?.query_row([space], |row| row.get(0))?;
        if span <= most {
            continue;
        }
        let sql = "SELECT number FROM memos WHERE ?1 IS NULL OR space = ?1 ORDER BY number DESC LIMIT -1 OFFSET ?2";
        let mut statement = connection.prepare_cached(sql)?;
        let gone: Vec<i64> = statement.query_map(params![space, most], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for number in gone {
            connection.prepare_cached("DELETE FROM memos WHERE number = ?1")?.execute([number])?;
            connection.prepare_cached("DELETE FROM memo_words WHERE rowid = ?1")?.execute([number])?;
        }
    }
    Ok(())
}

/// The texts of a space that have a word of the query, the latest first, and how many texts the space has. Where there are
/// too many, those that the index takes for the best.
fn candidates(
    connection: &Connection,
    space: &str,
    asked: &std::collections::BTreeSet<String>,
    search: &Search,
) -> rusqlite::Result<(Vec<Memo>, usize)> {
    // Words have no quotes in them.
    let words: Vec<String> = asked.iter().map(|word| format!("\"{word}\"")).collect();
    let query = format!("space:\"{}\" AND words:({})", space_word(space), words.join(" OR "));
    let sql = "SELECT id, text, meta, number FROM memos JOIN memo_words ON memo_words.rowid = memos.number
        WHERE memo_words MATCH ?1 AND memos.space = ?2 ORDER BY memo_words.rank, number DESC";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([query.as_str(), space])?;
    let mut found: Vec<(i64, Memo)> = Vec::new();
    while found.len() < limits::RECALL_CANDIDATES {
        let Some(row) = rows.next()? else { break };
        let memo = memo(row)?;
        if rank::admits(search, &memo) {
            found.push((row.get(3)?, memo));
        }
    }
    found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    let count = "SELECT COUNT(*) FROM memos WHERE space = ?1";
    let count = connection.prepare_cached(count)?.query_row([space], |row| row.get(0))?;
    Ok((found.into_iter().map(|(_, memo)| memo).collect(), count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryRecall, contract};
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn text(id: &str, text: &str) -> Memo {
        Memo { id: id.to_owned(), text: text.to_owned(), meta: value::Map::new() }
    }

    fn wanted(query: &str) -> Search {
        Search { query: query.to_owned(), limit: 9, ..Search::default() }
    }

    #[tokio::test]
    async fn it_holds_every_law() {
        let folder = tempfile::tempdir().unwrap();
        let files = AtomicU32::new(0);
        let make = || -> Arc<dyn Recall> {
            let name = format!("{}.db", files.fetch_add(1, Ordering::Relaxed));
            Arc::new(FileRecall::new(folder.path().join("kept").join(name)))
        };
        contract::recall(make).await.unwrap();
    }

    #[tokio::test]
    async fn texts_outlive_their_store_and_looking_makes_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("memory.db");
        let store = FileRecall::new(&path);
        assert_eq!(store.search("s", wanted("tide")).await, Ok(Vec::new()));
        assert_eq!((store.forget("s", Vec::new()).await, store.list(None, 9).await), (Ok(0), Ok(Vec::new())));
        assert!(!path.exists());
        store.upsert("s", vec![text("a", "the tide")]).await.unwrap();
        let again = FileRecall::new(&path);
        assert_eq!(again.search("s", wanted("tide")).await.unwrap().len(), 1);
        assert_eq!(again.list(Some("s".to_owned()), 9).await.unwrap()[0].memo.id, "a");
    }

    #[tokio::test]
    async fn any_text_is_a_query() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileRecall::new(folder.path().join("memory.db"));
        store.upsert("s", vec![text("a", "near NOT words: \"tide\" (x) ÄÖ")]).await.unwrap();
        for query in
            ["\"", "tide AND (", "words:x*", "NEAR(tide moon)", "^tide -x", "'; DROP TABLE memos; --", "äö", "\0tide"]
        {
            let found = store.search("s", wanted(query)).await;
            let words = rank::asked(query);
            let fits = !words.is_disjoint(&rank::words("near NOT words: \"tide\" (x) ÄÖ"));
            assert_eq!(found.unwrap().len(), usize::from(fits), "{query}");
        }
    }

    #[tokio::test]
    async fn the_oldest_texts_of_a_space_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileRecall::new(folder.path().join("memory.db"));
        let many =
            |from: usize| (from..=from + limits::RECALL_SPACE_ENTRIES).map(|n| text(&n.to_string(), &format!("w{n}")));
        store.upsert("s", many(0).collect()).await.unwrap();
        assert!(store.search("s", wanted("w0")).await.unwrap().is_empty());
        assert_eq!(store.search("s", wanted("w1")).await.unwrap().len(), 1);
        assert_eq!(store.list(None, usize::MAX).await.unwrap().len(), limits::RECALL_SPACE_ENTRIES);
    }

    #[derive(Clone, Debug)]
    enum Act {
        Keep(usize, usize, String),
        Forget(usize, Option<usize>),
        Search(usize, String),
    }

    fn act() -> impl Strategy<Value = Act> {
        let words = || prop::collection::vec(prop::sample::select(vec!["tide", "Dam", "ÄÖ", "sea", "a-b", "7"]), 0..5);
        let said = move || words().prop_map(|words| words.join(" "));
        prop_oneof![
            3 => (0..3_usize, 0..4_usize, said()).prop_map(|(space, id, text)| Act::Keep(space, id, text)),
            1 => (0..3_usize, prop::option::of(0..4_usize)).prop_map(|(space, id)| Act::Forget(space, id)),
            3 => (0..3_usize, said()).prop_map(|(space, query)| Act::Search(space, query)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        /// Whatever is kept and forgotten: the twins find the same, and nothing of another space.
        #[test]
        fn spaces_never_mix_and_the_twins_agree(acts in prop::collection::vec(act(), 1..40)) {
            const SPACES: [&str; 3] = ["session:a", "session:b", "run:a"];
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let folder = tempfile::tempdir().unwrap();
            let stores: [Box<dyn Recall>; 2] =
                [Box::new(FileRecall::new(folder.path().join("memory.db"))), Box::new(MemoryRecall::new())];
            runtime.block_on(async {
                for act in acts {
                    let mut found = Vec::new();
                    for store in &stores {
                        match &act {
                            Act::Keep(space, id, said) => {
                                let name = format!("{}#{id}", SPACES[*space]);
                                store.upsert(SPACES[*space], vec![text(&name, said)]).await.unwrap();
                            }
                            Act::Forget(space, id) => {
                                let ids = id.iter().map(|id| format!("{}#{id}", SPACES[*space])).collect();
                                store.forget(SPACES[*space], ids).await.unwrap();
                            }
                            Act::Search(space, query) => {
                                let hits = store.search(SPACES[*space], wanted(query)).await.unwrap();
                                for hit in &hits {
                                    prop_assert!(hit.memo.id.starts_with(&format!("{}#", SPACES[*space])), "{hit:?}");
                                }
                                found.push(hits);
                            }
                        }
                    }
                    if let [one, other] = found.as_slice() {
                        prop_assert_eq!(one, other);
                    }
                }
                Ok(())
            })?;
        }
    }
}
