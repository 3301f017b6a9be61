//! The flags about retrieval memory: of a run, and of the commands that look at what is kept.

use super::text;
use clap::{Args, Subcommand};
use cofferdam::core::limits;
use cofferdam::{RecallChoice, RecallSettings};
use serde_json::{Value, json};

/// Which retrieval memory a run has.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct MemoryArgs {
    /// Keep what agents are told and give, and put what is found of it into prompts: `limit=3,tokens=400,store=outputs`
    #[arg(long, value_name = "SETTINGS", num_args = 0..=1, require_equals = true, value_parser = settings)]
    pub(crate) recall: Option<Option<RecallSettings>>,
    /// Keep and find nothing, whatever the document says
    #[arg(long, conflicts_with = "recall")]
    pub(crate) no_recall: bool,
    /// The session that the run belongs to; runs of one session find what the others kept
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) session: Option<String>,
}

impl MemoryArgs {
    /// What the flags say.
    pub(crate) fn choice(&self) -> RecallChoice {
        match &self.recall {
            _ if self.no_recall => RecallChoice::Exactly(None),
            Some(settings) => RecallChoice::With(settings.clone().unwrap_or_default()),
            None => RecallChoice::Inherit,
        }
    }
}

/// Settings as a flag has them: `limit=3,store=inputs+outputs,min-score=0.2`.
fn settings(text: &str) -> Result<RecallSettings, String> {
    let mut read = RecallSettings::default();
    for part in text.split(',') {
        let (key, value) = part.split_once('=').ok_or_else(|| {
            format!("`{part}` is no setting; write `limit=3,tokens=400,store=outputs,min-score=0.2,provider=NAME`")
        })?;
        let key = if key == "min-score" { "minScore" } else { key };
        let value = match key {
            "store" => json!(value.split('+').collect::<Vec<_>>()),
            "limit" | "tokens" | "minScore" => value.parse::<Value>().unwrap_or_else(|_| value.into()),
            _ => value.into(),
        };
        read = RecallSettings::parse(key, &value)?.over(read);
    }
    Ok(read)
}

/// Commands about what the project keeps in its memories.
#[derive(Debug, Subcommand)]
pub(crate) enum MemoryCommand {
    /// Show what is kept, the latest first, or what a search finds
    #[command(after_help = text::MEMORY_SHOW)]
    Show(MemoryShowArgs),
    /// Forget what is kept: of a session, of a run, all, or what runs share
    #[command(after_help = text::MEMORY_CLEAR)]
    Clear(MemoryClearArgs),
}

/// Flags of `memory show`.
#[derive(Debug, Args)]
pub(crate) struct MemoryShowArgs {
    /// What the agents of this run share instead: an id, the beginning of one, or `last`
    #[arg(value_name = "RUN", conflicts_with_all = ["session", "search", "limit", "shared"])]
    pub(crate) run: Option<String>,
    /// What runs share beyond their end instead (`memory: { scope: shared }`)
    #[arg(long, conflicts_with_all = ["session", "search", "limit"])]
    pub(crate) shared: bool,
    /// Only the entries of this agent
    #[arg(long, value_name = "NAME", requires = "shared")]
    pub(crate) agent: Option<String>,
    /// Only what is kept for this session
    #[arg(long, value_name = "NAME")]
    pub(crate) session: Option<String>,
    /// What a run of the session would find for these words
    #[arg(long, value_name = "TEXT", requires = "session")]
    pub(crate) search: Option<String>,
    /// Most texts
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = limits::RECALL_FOUND_MAX)]
    pub(crate) limit: usize,
    /// Print JSON, one line a text, each whole
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `memory clear`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["session", "run", "all", "shared"])))]
pub(crate) struct MemoryClearArgs {
    /// What is kept for this session
    #[arg(long, value_name = "NAME")]
    pub(crate) session: Option<String>,
    /// What is kept for a run that belongs to no session, by its id
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// All that retrieval memory keeps
    #[arg(long)]
    pub(crate) all: bool,
    /// What runs share beyond their end (`memory: { scope: shared }`)
    #[arg(long)]
    pub(crate) shared: bool,
    /// Only the entries of this agent
    #[arg(long, value_name = "NAME", requires = "shared")]
    pub(crate) agent: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print the count as a line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl MemoryCommand {
    /// Whether a program reads what is printed.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Show(args) => args.json,
            Self::Clear(args) => args.json,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_from_one_text_or_refused() {
        let read = settings("limit=3,min-score=0.25,store=inputs+outputs,session=a b").unwrap();
        assert_eq!((read.limit, read.min_score, read.session.as_deref()), (Some(3), Some(0.25), Some("a b")));
        assert_eq!(read.store.map(|store| store.len()), Some(2));
        for (text, why) in
            [("limit", "no setting"), ("limit=x", "limit"), ("tokens=0", "from 1"), ("x=1", "unknown field")]
        {
            assert!(settings(text).unwrap_err().contains(why), "{text}");
        }
    }
}
