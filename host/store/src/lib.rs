//! Journals and state: memory and SQLite
