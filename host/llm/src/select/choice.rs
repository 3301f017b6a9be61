//! Which model `auto` is, from what was found. Pure.
//!
//! It must not look for anything, and must never choose a model that costs money because a key happens to be set.

use crate::extract;
use crate::provider::Known;

/// What there is to choose from.
#[derive(Debug, Default)]
pub struct Found {
    /// The model that a flag, a variable or a file names.
    pub explicit: Option<String>,
    /// A model on this machine, and where it answered.
    pub local: Option<(String, String)>,
    /// The providers whose key is set.
    pub keys: Vec<&'static Known>,
}

/// The model that was chosen, and the line that tells the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its name, as [`cofferdam_core::port::Models::resolve`] takes it.
    pub model: String,
    /// What was chosen and why, in lower case without a final period.
    pub line: String,
}

/// Chooses: what was named, else what runs on this machine, else `builtin/extract`.
#[must_use]
pub fn choose(found: &Found) -> Choice {
    let (model, line) = match (&found.explicit, &found.local) {
        (Some(explicit), _) => (explicit.clone(), format!("using {explicit}")),
        (None, Some((local, place))) => {
            let line = format!("using {local}, found at {place}{}", alternative(found));
            (local.clone(), line)
        }
        (None, None) => {
            let line = format!("using {} (not a language model){}", extract::NAME, alternative(found));
            (extract::NAME.to_owned(), line)
        }
    };
    Choice { model, line }
}

/// What could be used instead, and the words that would do it.
fn alternative(found: &Found) -> String {
    match (found.keys.first(), &found.local) {
        (Some(known), _) => {
            format!("; {} is set: --model {} would use it", known.key_variable, known.example_model())
        }
        (None, None) => {
            "; --model provider/model uses a language model, a running Ollama is found by itself".to_owned()
        }
        (None, Some(_)) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Vec<&'static Known> {
        vec![Known::find("openai").unwrap(), Known::find("groq").unwrap()]
    }

    #[test]
    fn what_is_named_beats_what_is_found() {
        let local = Some(("ollama/llama3.2".to_owned(), "http://127.0.0.1:11434".to_owned()));
        let found = Found { explicit: Some("groq/x".to_owned()), local: local.clone(), keys: keys() };
        assert_eq!(choose(&found), Choice { model: "groq/x".to_owned(), line: "using groq/x".to_owned() });
        let found = Found { explicit: None, local, keys: Vec::new() };
        assert_eq!(choose(&found).line, "using ollama/llama3.2, found at http://127.0.0.1:11434");
    }

    #[test]
    fn a_key_alone_chooses_nothing_that_costs_money() {
        let choice = choose(&Found { keys: keys(), ..Found::default() });
        assert_eq!(choice.model, "builtin/extract");
        assert_eq!(
            choice.line,
            "using builtin/extract (not a language model); OPENAI_API_KEY is set: --model openai/gpt-5 would use it"
        );
        assert!(choose(&Found::default()).line.contains("not a language model"));
    }
}
