//! What the user believes of what others say about their tools: a plugin that may write, an MCP server.
//!
//! It must not decide what follows: permissions and the repetition of calls ask it.

/// The claims that the user confirms. Nobody else can: a document has no say in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// That a tool only reads: then a model may call it without being asked about.
    pub read_only: bool,
    /// That calling a tool twice is calling it once: then a call that a crash cut short is made again.
    pub idempotent: bool,
}

impl Trust {
    /// The words for them in settings.
    pub const WORDS: [&'static str; 2] = ["read_only", "idempotent"];

    /// With one more of [`Self::WORDS`]; none for another word.
    #[must_use]
    pub fn and(self, word: &str) -> Option<Self> {
        match word {
            "read_only" => Some(Self { read_only: true, ..self }),
            "idempotent" => Some(Self { idempotent: true, ..self }),
            _ => None,
        }
    }

    /// What either says.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { read_only: self.read_only || other.read_only, idempotent: self.idempotent || other.idempotent }
    }

    /// One line a claim. Meant to follow "may", beside what is granted.
    #[must_use]
    pub fn explain(self) -> Vec<String> {
        let lines = [
            (self.read_only, "be believed where it says that a tool only reads"),
            (self.idempotent, "be believed where it says that a call may be made twice"),
        ];
        lines.iter().filter(|(holds, _)| *holds).map(|(_, line)| (*line).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_confirms_one_claim_and_has_a_line() {
        let mut all = Trust::default();
        for word in Trust::WORDS {
            let one = Trust::default().and(word).unwrap();
            assert_eq!(one.explain().len(), 1);
            all = all.union(one);
        }
        assert_eq!(all, Trust { read_only: true, idempotent: true });
        assert!(Trust::default().and("destructive").is_none() && Trust::default().explain().is_empty());
    }
}
