//! The plugins that are part of this program: built components with their digests, so that running them needs no
//! toolchain.
//!
//! It must not know what they do.

use crate::Digest;

const DIGESTS: &str = include_str!("../../../plugins/dist/digests.toml");

/// A component inside this program.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// What follows `builtin:`.
    pub name: &'static str,
    /// The component.
    pub component: &'static [u8],
}

/// All of them, by name.
pub const ALL: &[Builtin] = &[
    Builtin { name: "csv", component: include_bytes!("../../../plugins/dist/csv.wasm") },
    Builtin { name: "dir-journal", component: include_bytes!("../../../plugins/dist/dir-journal.wasm") },
    Builtin { name: "fetch", component: include_bytes!("../../../plugins/dist/fetch.wasm") },
    Builtin { name: "gate", component: include_bytes!("../../../plugins/dist/gate.wasm") },
    Builtin { name: "keyword-recall", component: include_bytes!("../../../plugins/dist/keyword-recall.wasm") },
    Builtin { name: "markdown-table", component: include_bytes!("../../../plugins/dist/markdown-table.wasm") },
    Builtin { name: "ndjson-file", component: include_bytes!("../../../plugins/dist/ndjson-file.wasm") },
    Builtin { name: "openai-shaped", component: include_bytes!("../../../plugins/dist/openai-shaped.wasm") },
    Builtin { name: "redact", component: include_bytes!("../../../plugins/dist/redact.wasm") },
    Builtin { name: "secrets-scan", component: include_bytes!("../../../plugins/dist/secrets-scan.wasm") },
    Builtin { name: "slack", component: include_bytes!("../../../plugins/dist/slack.wasm") },
    Builtin { name: "text", component: include_bytes!("../../../plugins/dist/text.wasm") },
    Builtin { name: "truncate-tokens", component: include_bytes!("../../../plugins/dist/truncate-tokens.wasm") },
    Builtin { name: "webhook", component: include_bytes!("../../../plugins/dist/webhook.wasm") },
];

impl Builtin {
    /// The digest of the component as the list beside it has it: hashing it at each start would cost more than
    /// loading its code.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let listed = DIGESTS.lines().filter_map(|line| line.split_once(" = ")).find(|(name, _)| *name == self.name);
        let digest = listed.and_then(|(_, digest)| Digest::parse(digest.trim_matches('"')).ok());
        digest.expect("a test compares every digest of the list with its component")
    }
}

/// The one of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Builtin> {
    ALL.iter().find(|builtin| builtin.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_component_has_the_digest_of_the_list() {
        let listed = DIGESTS.lines().filter(|line| line.contains(" = ")).count();
        assert_eq!(listed, ALL.len());
        for builtin in ALL {
            assert_eq!(builtin.digest(), Digest::of(builtin.component), "{}", builtin.name);
        }
    }
}
