//! Names that parse once: runs, steps, agents, plugins, tools, and the path of a step in a run.
//!
//! It must not know what the names refer to.

mod plugin_model;

pub use plugin_model::PluginModelName;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;
use std::sync::{Arc, LazyLock};

/// A name that does not follow its grammar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{given}` must match {grammar}")]
pub struct Error {
    kind: &'static str,
    grammar: &'static str,
    given: String,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $grammar:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The grammar that a name of this kind follows.
            pub const GRAMMAR: &'static str = $grammar;

            /// Parses the name.
            ///
            /// # Errors
            /// When the text does not follow the grammar.
            pub fn parse(text: &str) -> Result<Self, Error> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(Arc::from(text)))
                } else {
                    Err(Error { kind: $kind, grammar: Self::GRAMMAR, given: text.to_owned() })
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                Self::parse(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(D::Error::custom)
            }
        }
    };
}

/// `[a-z][a-z0-9_-]*` of at most `max` bytes.
fn is_word(text: &str, max: usize) -> bool {
    text.len() <= max
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-')
}

fn is_short_word(text: &str) -> bool {
    is_word(text, 30) && !text.contains("__")
}

name!(
    /// A run, for instance a version 7 UUID. It may stand in a file name.
    RunId, "run id", "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
    |text| text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
);
impl RunId {
    /// What no run is called: the conversation that coordinators share lies among the runs under this name.
    pub const SHARED_COORDINATOR: &str = "shared-coordinator";

    /// Whether no run is called this.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.as_str() == Self::SHARED_COORDINATOR
    }
}

name!(
    /// A step, unique in its scope.
    StepId, "step id", "^[a-z][a-z0-9_-]{0,63}$", |text| is_word(text, 64)
);
name!(
    /// An agent of a document.
    AgentName, "agent name", "^[a-z][a-z0-9_-]{0,63}$", |text| is_word(text, 64)
);
name!(
    /// A mode of isolation that the embedder has, beside those of the language.
    IsolationName, "isolation mode", "^[a-z][a-z0-9_-]{0,63}$", |text| is_word(text, 64)
);
name!(
    /// What a document or `cofferdam.toml` calls a plugin.
    Alias, "plugin alias", "^[a-z][a-z0-9_-]{0,29}$ without `__`", is_short_word
);
name!(
    /// A tool's own name, without the plugin that has it.
    LocalName, "tool name", "^[a-z][a-z0-9_-]{0,29}$ without `__`", is_short_word
);

/// A tool as documents name it: `read` (native) or `github.search` (plugin `github`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolName {
    alias: Option<Alias>,
    name: LocalName,
}

impl ToolName {
    /// A tool of a plugin, or with no alias a native one.
    #[must_use]
    pub fn new(alias: Option<Alias>, name: LocalName) -> Self {
        Self { alias, name }
    }

    /// Parses `name` or `alias.name`.
    ///
    /// # Errors
    /// When a part does not follow its grammar.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text.split_once('.') {
            Some((alias, name)) => Ok(Self { alias: Some(Alias::parse(alias)?), name: LocalName::parse(name)? }),
            None => Ok(Self { alias: None, name: LocalName::parse(text)? }),
        }
    }

    /// Parses the form that models see, `name` or `alias__name`.
    ///
    /// # Errors
    /// When a part does not follow its grammar.
    pub fn parse_wire(text: &str) -> Result<Self, Error> {
        match text.split_once("__") {
            Some((alias, name)) => Ok(Self { alias: Some(Alias::parse(alias)?), name: LocalName::parse(name)? }),
            None => Ok(Self { alias: None, name: LocalName::parse(text)? }),
        }
    }

    /// The plugin, or none for a native tool.
    #[must_use]
    pub fn alias(&self) -> Option<&Alias> {
        self.alias.as_ref()
    }

    /// The name inside the plugin.
    #[must_use]
    pub fn local(&self) -> &LocalName {
        &self.name
    }

    /// The form that every provider's wire takes: `alias__name`.
    #[must_use]
    pub fn wire(&self) -> String {
        match &self.alias {
            Some(alias) => format!("{alias}__{}", self.name),
            None => self.name.to_string(),
        }
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.alias {
            Some(alias) => write!(f, "{alias}.{}", self.name),
            None => self.name.fmt(f),
        }
    }
}

impl fmt::Debug for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for ToolName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ToolName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

/// Where in a run something is: `build`, `scan[2]`, `scan[2].lint`. Empty for the run itself.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepPath(Option<Arc<str>>);

/// Begins with what no id of a step can have.
const COORDINATOR: &str = "@coordinator";

impl StepPath {
    /// The run itself.
    pub const ROOT: Self = Self(None);

    /// Where the coordinator of a run works; no step can have this path.
    #[must_use]
    pub fn coordinator() -> Self {
        static PATH: LazyLock<StepPath> = LazyLock::new(|| StepPath::from(COORDINATOR));
        PATH.clone()
    }

    /// Whether this is where the coordinator works.
    #[must_use]
    pub fn is_coordinator(&self) -> bool {
        self.as_str() == COORDINATOR
    }

    /// Where a sub-agent works that the agent at `self` called for in this call; no step can have this path.
    #[must_use]
    pub fn delegate(&self, call: &str) -> Self {
        Self(Some(format!("{}@{call}", self.as_str()).into()))
    }

    /// Whether a sub-agent works at this path.
    #[must_use]
    pub fn is_delegate(&self) -> bool {
        self.delegates_from().is_some()
    }

    /// The step at this path; where a sub-agent works, the step for which it does.
    #[must_use]
    pub fn step(&self) -> Self {
        let step = self.delegates_from().and_then(|at| self.as_str().get(..at));
        step.map_or_else(|| self.clone(), Self::from)
    }

    /// Where the agent works that called for the sub-agent at this path; none where no sub-agent works.
    #[must_use]
    pub fn delegator(&self) -> Option<Self> {
        let (above, _) = self.as_str().rsplit_once('@').filter(|_| self.is_delegate())?;
        Some(Self::from(above))
    }

    /// The call for which the sub-agent at this path works.
    #[must_use]
    pub fn delegating_call(&self) -> Option<&str> {
        let (_, call) = self.as_str().rsplit_once('@').filter(|_| self.is_delegate())?;
        Some(call)
    }

    /// Where the part of sub-agents begins; the coordinator's own path begins with the same letter.
    fn delegates_from(&self) -> Option<usize> {
        self.as_str().get(1..)?.find('@').map(|at| at + 1)
    }

    /// The path of a step of the document's own scope, or of the scope at `self`.
    #[must_use]
    pub fn child(&self, step: &StepId) -> Self {
        match &self.0 {
            None => Self(Some(Arc::clone(&step.0))),
            Some(parent) => Self(Some(format!("{parent}.{step}").into())),
        }
    }

    /// The path of one iteration of the loop at `self`.
    #[must_use]
    pub fn iteration(&self, index: u32) -> Self {
        Self(Some(format!("{}[{index}]", self.as_str()).into()))
    }

    /// The path without the indices of iterations: where in the document the step stands.
    #[must_use]
    pub fn place(&self) -> String {
        let mut place = String::with_capacity(self.as_str().len());
        let mut index = false;
        for letter in self.as_str().chars() {
            match letter {
                '[' => index = true,
                ']' => index = false,
                letter if !index => place.push(letter),
                _ => {}
            }
        }
        place
    }

    /// Whether `other` is this step, or inside of it; everything is inside the run.
    #[must_use]
    pub fn holds(&self, other: &Self) -> bool {
        let rest = other.as_str().strip_prefix(self.as_str());
        self.is_root() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[', '@']))
    }

    /// The path, those of the steps and iterations around it, and the run's at the end.
    pub fn upwards(&self) -> impl Iterator<Item = Self> + use<> {
        let mut next = Some(self.clone());
        std::iter::from_fn(move || {
            let path = next.take()?;
            let text = path.as_str();
            next = (!path.is_root())
                .then(|| text.rfind(['.', '[']).and_then(|end| text.get(..end)).unwrap_or_default().into());
            Some(path)
        })
    }

    /// Whether this is the run itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_none()
    }

    /// The path as text; empty for the run itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl From<&str> for StepPath {
    fn from(text: &str) -> Self {
        Self((!text.is_empty()).then(|| Arc::from(text)))
    }
}

impl fmt::Display for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_grammar() {
        for good in ["a", "build", "a-b_c9", &"x".repeat(64)] {
            assert!(StepId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "9a", "-a", "a b", "a/b", "../x", &"x".repeat(65)] {
            assert!(StepId::parse(bad).is_err(), "{bad}");
        }
        assert!(Alias::parse("a__b").is_err());
        assert!(RunId::parse("../../etc").is_err());
    }

    #[test]
    fn a_sub_agent_works_inside_of_its_step() {
        let step = StepPath::from("loop[2].find");
        let below = step.delegate("3").delegate("1");
        assert_eq!((below.as_str(), &below.step()), ("loop[2].find@3@1", &step));
        assert!(below.is_delegate() && !step.is_delegate() && !StepPath::coordinator().is_delegate());
        assert!(step.holds(&below) && !StepPath::from("loop[2].fin").holds(&below));
        assert_eq!((step.step(), StepPath::ROOT.step()), (step, StepPath::ROOT));
    }

    #[test]
    fn a_tool_name_has_a_written_and_a_wire_form() {
        let tool = ToolName::parse("github.search-code").unwrap();
        assert_eq!(tool.wire(), "github__search-code");
        assert_eq!(ToolName::parse_wire("github__search-code").unwrap(), tool);
        assert!(ToolName::parse("a.b.c").is_err());
    }

    #[test]
    fn paths_show_scopes_and_iterations() {
        let scan = StepPath::ROOT.child(&StepId::parse("scan").unwrap());
        let inner = scan.iteration(2).child(&StepId::parse("lint").unwrap());
        assert_eq!(inner.as_str(), "scan[2].lint");
        assert_eq!(inner.place(), "scan.lint");
        assert!(scan.holds(&inner) && scan.holds(&scan) && StepPath::ROOT.holds(&scan));
        assert!(!scan.holds(&StepPath::from("scanner")) && !inner.holds(&scan));
    }
}
