//! The table `[memory]` of a file of settings.

use super::code::{TYPE, VALUE};
use super::file::File;
use super::reader::{Entry, Reader};
use super::toml_table::to_json;
use cofferdam::RecallSettings;

impl Reader<'_> {
    /// What every run of the project has that says nothing else.
    pub(super) fn memory(&mut self, table: Entry<'_, '_>, file: &mut File) {
        for entry in self.entries(table) {
            match entry.0 {
                "recall" => file.recall = Some(self.recall(entry)),
                _ => self.unknown(entry, "memory", &["recall"]),
            }
        }
    }

    fn recall(&mut self, table: Entry<'_, '_>) -> RecallSettings {
        const KEYS: [&str; 6] = ["provider", "store", "limit", "min_score", "tokens", "session"];
        let mut read = RecallSettings::default();
        for entry in self.entries(table) {
            let (key, _, value) = entry;
            let path = format!("memory.recall.{key}");
            if !KEYS.contains(&key) {
                self.unknown(entry, "memory.recall", &KEYS);
                continue;
            }
            let Some(json) = to_json(value.get_ref()) else {
                self.find(TYPE, (value.span().start, &path), format!("`{key}` takes no date"), None);
                continue;
            };
            let name = if key == "min_score" { "minScore" } else { key };
            match RecallSettings::parse(name, &json) {
                Ok(one) => read = one.over(read),
                Err(message) => {
                    self.find(VALUE, (value.span().start, &path), message.replace("minScore", "min_score"), None);
                }
            }
        }
        read
    }
}
