//! What is checked and cannot run in this version. It is warned about at its place, and a run is refused.

use super::code;
use super::decode::Decoder;
use super::tree::Entry;
use super::workflow::Unbuilt;

impl Decoder<'_> {
    /// Warns of a key that is checked and cannot run.
    pub(super) fn unbuilt(&mut self, entry: &Entry, what: &str) {
        let found = self.report.at(code::NOT_BUILT, entry.spot, &entry.value.path, unbuilt_message(what));
        found.warning().hint("remove it, or use a version that has it");
        self.unbuilt.push(Unbuilt { path: entry.value.path.clone(), what: what.to_owned() });
    }
}

fn unbuilt_message(what: &str) -> String {
    format!("{what} is not built in this version; a run of the document is refused")
}
