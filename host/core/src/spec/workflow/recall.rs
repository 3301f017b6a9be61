//! Retrieval memory as somebody asks for it: a document, a project, a flag. What one leaves open another may say.

use crate::limits;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which retrieval memory a run has, what is kept in it, and how much of it enters prompts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecallSettings {
    /// [`Self::BUILTIN`], or the alias of a plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What is kept of each agent step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<Vec<RecallKind>>,
    /// Most texts that are found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// What fits less is not found, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_score: Option<f64>,
    /// Most tokens that enter a prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// Runs of the same session find what the others kept; none = a run finds its own alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// What is kept of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecallKind {
    /// What its agent was told.
    Inputs,
    /// What it gave.
    Outputs,
}

impl RecallSettings {
    /// The provider that needs no plugin.
    pub const BUILTIN: &'static str = "builtin";

    /// Reads one setting by its name in a document.
    ///
    /// # Errors
    /// When there is no such setting, or it does not take the value; says what it takes.
    pub fn parse(key: &str, value: &Value) -> Result<Self, String> {
        let table = serde_json::json!({ key: value });
        let read: Self = serde_json::from_value(table).map_err(|error| format!("`{key}`: {error}"))?;
        let whole = |given: Option<usize>, most: usize| match given {
            Some(given) if !(1..=most).contains(&given) => {
                Err(format!("`{key}` is {given}, and takes a whole number from 1 to {most}"))
            }
            _ => Ok(()),
        };
        whole(read.limit, limits::RECALL_FOUND_MAX)?;
        whole(read.tokens, limits::RECALL_TOKENS_MAX)?;
        if read.min_score.is_some_and(|score| !(0.0..=1.0).contains(&score)) {
            return Err(format!("`{key}` takes a number from 0 to 1"));
        }
        if [&read.provider, &read.session].into_iter().flatten().any(|text| text.trim().is_empty()) {
            return Err(format!("`{key}` is empty"));
        }
        Ok(read)
    }

    /// These, and where they are silent those.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self {
            provider: self.provider.or(below.provider),
            store: self.store.or(below.store),
            limit: self.limit.or(below.limit),
            min_score: self.min_score.or(below.min_score),
            tokens: self.tokens.or(below.tokens),
            session: self.session.or(below.session),
        }
    }

    /// The alias of the plugin that keeps the memory; none = no plugin does.
    #[must_use]
    pub fn plugin(&self) -> Option<&str> {
        self.provider.as_deref().filter(|name| *name != Self::BUILTIN)
    }

    /// Whether something of a step is kept.
    #[must_use]
    pub fn keeps(&self, kind: RecallKind) -> bool {
        self.store.as_ref().is_none_or(|kinds| kinds.contains(&kind))
    }

    /// Most texts that are found.
    #[must_use]
    pub fn found(&self) -> usize {
        self.limit.unwrap_or(limits::RECALL_FOUND)
    }

    /// Whether a text fits well enough.
    #[must_use]
    pub fn admits(&self, score: f32) -> bool {
        self.min_score.is_none_or(|least| f64::from(score) >= least)
    }

    /// Most bytes that enter a prompt.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.tokens.unwrap_or(limits::RECALL_TOKENS).saturating_mul(limits::RECALL_TOKEN_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_setting_is_read_or_refused_with_what_it_takes() {
        assert_eq!(RecallSettings::parse("limit", &json!(3)).unwrap().found(), 3);
        assert!(!RecallSettings::parse("store", &json!(["outputs"])).unwrap().keeps(RecallKind::Inputs));
        for (key, value, why) in [
            ("limit", json!(0), "from 1 to 50"),
            ("limit", json!("a"), "limit"),
            ("tokens", json!(1_000_000), "from 1 to 32000"),
            ("minScore", json!(1.5), "from 0 to 1"),
            ("store", json!(["all"]), "inputs"),
            ("session", json!(" "), "empty"),
            ("lmit", json!(1), "unknown field"),
        ] {
            let refused = RecallSettings::parse(key, &value).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn what_one_leaves_open_another_says() {
        let flag = RecallSettings { limit: Some(2), ..RecallSettings::default() };
        let document = RecallSettings { limit: Some(9), session: Some("s".to_owned()), ..RecallSettings::default() };
        let both = flag.over(document);
        assert_eq!((both.found(), both.session.as_deref(), both.bytes()), (2, Some("s"), 3_200));
        assert!(both.plugin().is_none() && both.keeps(RecallKind::Inputs) && both.admits(0.0));
    }
}
