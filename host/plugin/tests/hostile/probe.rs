//! What a probe is: a guest as data, how it is called, and how that must end.

use std::fmt;

/// The families of hostile guests that the design of plugins names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    Loops,
    Growth,
    Recursion,
    Lies,
    Floods,
    Surroundings,
    Files,
    Quotas,
    Addresses,
    Network,
    Secrets,
    Imports,
    Components,
    Kinds,
    Names,
}

impl Family {
    pub(crate) const ALL: [Self; 15] = [
        Self::Loops,
        Self::Growth,
        Self::Recursion,
        Self::Lies,
        Self::Floods,
        Self::Surroundings,
        Self::Files,
        Self::Quotas,
        Self::Addresses,
        Self::Network,
        Self::Secrets,
        Self::Imports,
        Self::Components,
        Self::Kinds,
        Self::Names,
    ];
}

/// A hostile guest, and what becomes of it.
pub(crate) struct Probe {
    /// What it tries, in a few words; unique.
    pub(crate) name: &'static str,
    pub(crate) family: Family,
    pub(crate) guest: Guest,
    /// What it is called with: JSON text, in which `{P}` is the port of the listener and `{ROOT}` the scene's directory.
    pub(crate) args: String,
    /// What it is granted: JSON text with the same places.
    pub(crate) grants: &'static str,
    pub(crate) ends: Ends,
    pub(crate) runs: Runs,
    /// Whether what stays up attacks in its first call already, whatever that is.
    pub(crate) at_once: bool,
}

/// Where the code comes from.
pub(crate) enum Guest {
    /// Text that may replace any part.
    Code(String),
    /// A whole component, the same in every kind.
    Bytes(fn() -> Vec<u8>),
}

/// Which instances it is run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    /// In a fresh one for each call, and in one that stays up and was called before.
    Both,
    /// Only what is fresh does this.
    Fresh,
}

/// How a call must end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ends {
    /// By this bound.
    Limit(&'static str),
    /// By a crash that says so.
    Trap(&'static str),
    /// Told apart as a broken contract, with these words.
    Lie(&'static str),
    /// By the plugin's own error, which says what the host told it: the kind, and words of the message.
    Own(&'static str, &'static str),
    /// As the host itself refuses it, with these words.
    Refused(&'static str),
    /// Well, and nothing was had: the answer of a tool.
    Well(&'static str),
    /// Before it begins: it does not load, with this code and these words.
    Unloaded(&'static str, &'static str),
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.family, self.name)
    }
}

/// A probe whose attack is these instructions; `with` are the imports, data and functions that they need.
/// They see the text of their arguments at `$args`, `$len` bytes long, and give the address of an answer.
pub(crate) fn attack(family: Family, name: &'static str, with: &str, does: &str, ends: Ends) -> Probe {
    let locals = "(local $n i32) (local $m i32) (local $p i32) (local $x i64)";
    let code = format!("{with}\n(func $attack (param $args i32) (param $len i32) (result i32) {locals}\n{does})\n");
    code_of(family, name, code, ends)
}

/// A probe with text of its own.
pub(crate) fn code_of(family: Family, name: &'static str, code: String, ends: Ends) -> Probe {
    Probe {
        name,
        family,
        guest: Guest::Code(code),
        args: "{}".to_owned(),
        grants: "{}",
        ends,
        runs: Runs::Both,
        at_once: false,
    }
}

/// A probe that is a whole component.
pub(crate) fn component(family: Family, name: &'static str, bytes: fn() -> Vec<u8>, ends: Ends) -> Probe {
    Probe { guest: Guest::Bytes(bytes), ..code_of(family, name, String::new(), ends) }
}

impl Probe {
    pub(crate) fn called_with(self, args: impl Into<String>) -> Self {
        Self { args: args.into(), ..self }
    }

    pub(crate) fn granted(self, grants: &'static str) -> Self {
        Self { grants, ..self }
    }

    pub(crate) fn at_once(self) -> Self {
        Self { at_once: true, ..self }
    }

    pub(crate) fn runs(self, runs: Runs) -> Self {
        Self { runs, ..self }
    }
}
