//! The stable codes of findings, each with a title and a sentence: what `cofferdam explain` prints.
//!
//! A code is never given another meaning, and never used again after its finding is gone.

/// A kind of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// `W012`.
    pub id: &'static str,
    /// A few words.
    pub title: &'static str,
    /// One sentence: what is meant, and what to do.
    pub about: &'static str,
}

macro_rules! codes {
    ($($name:ident = $id:literal, $title:literal, $about:literal;)*) => {
        $(#[doc = $about] pub const $name: Code = Code { id: $id, title: $title, about: $about };)*

        /// All codes, by number.
        pub const ALL: &[Code] = &[$($name,)*];
    };
}

codes! {
    SYNTAX = "W001", "not YAML or JSON", "The text is not one YAML or JSON document; the place is where reading it stopped.";
    TOO_LARGE = "W002", "document out of bounds", "The document is larger, deeper or has more aliases than a workflow needs; `cofferdam limits` prints the bounds.";
    DUPLICATE_KEY = "W003", "key written twice", "A table has the same key twice, and it is not clear which of the two is meant.";
    WRONG_TYPE = "W004", "wrong type", "The value has another type than the key takes, for instance a number where text is expected.";
    UNKNOWN_KEY = "W005", "unknown key", "The key is not part of the language at this place; keys that begin with `x-` are ignored, except names of headers, of variables of the environment and of providers.";
    NOT_BUILT = "W006", "not built in this version", "The key or value is part of the language and was checked, but this version of Cofferdam cannot do it yet; it is not ignored, a run is refused.";
    MISSING_KEY = "W007", "required key missing", "The table lacks a key that it must have.";
    EMPTY = "W008", "empty value", "The text, list or table must not be empty here.";
    TOO_LONG = "W009", "too long", "The text or list is longer than its limit; `cofferdam limits` prints the bounds.";
    UNKNOWN_CHOICE = "W010", "not one of the choices", "The key takes one of a few words, and this is none of them.";
    OUT_OF_RANGE = "W011", "number out of range", "The number is smaller or larger than the key takes.";
    BAD_NAME = "W012", "malformed name", "Names follow a small grammar so that they can stand in expressions, file names and the wire of every provider.";
    REMOVED_CHARACTERS = "W013", "invisible characters removed", "Control, zero-width and private-use characters were removed: a reader cannot see them, a model can.";
    BIDI = "W014", "text that changes direction", "Characters that override the direction of text make a document read differently from what it says.";
    FILE = "W015", "file cannot be read", "A file that the document names cannot be read; paths are relative to the document and stay inside its directory.";
    FILE_CHAIN = "W016", "files that name each other", "An `@file` may name another one, but not in a circle, and at most twenty in a row.";

    DUPLICATE_STEP = "W020", "step id used twice", "A step's id is unique in its scope.";
    UNKNOWN_DEPENDENCY = "W021", "unknown dependency", "`dependsOn` names a step that is not in the same scope.";
    CYCLE = "W022", "steps that wait for each other", "The steps of a scope must have an order; the message lists the steps of the circle.";
    UNKNOWN_AGENT = "W023", "unknown agent", "The step names an agent that `agents` does not have.";
    CONFLICT = "W024", "keys that exclude each other", "A step does exactly one kind of work, and takes the keys of that kind only.";
    BAD_TOOL = "W025", "malformed tool name", "A tool is `name` for a native one or `alias.name` for a plugin's.";
    UNKNOWN_PLUGIN = "W026", "unknown plugin", "The tool belongs to a plugin that `plugins` does not have.";
    REPEATED_DEPENDENCY = "W027", "dependency named twice", "`dependsOn` names the same step twice; once is enough.";
    BAD_DURATION = "W028", "malformed duration", "A duration is written `1h30m`, `45s` or `500ms`; a bare number has no unit.";
    NO_LIMIT = "W029", "no time limit", "A duration of zero means that there is no limit.";
    ALL_TOOLS = "W030", "star means all tools", "`*` in a list of tools means every tool; in zenflow it silently matched nothing.";

    NO_EFFECT = "W031", "key without effect", "The key stands where nothing reads it; what was meant by it does not happen.";
    BAD_JUDGE = "W032", "agent that cannot judge", "The agent of `untilAgent` needs a `resultSchema` whose `properties` have `done` of type `boolean`, and `done` in `required`.";
    WIRED_BY_MODE = "W033", "dependency beside a mode", "In the modes `sequential` and `parallel` the mode says what runs after what; `dependsOn` is for `dag`.";
    BAD_LOOP = "W034", "loop without an end", "A loop needs `forEach`, or `maxIterations`, so that it ends.";
    LABEL_TWICE = "W035", "label used twice", "The steps of a scope that one condition chooses from, by the same plugin and options, need labels that differ.";

    EXPRESSION = "W040", "malformed expression", "The expression or template does not parse.";
    EXPRESSION_LIMIT = "W041", "expression out of bounds", "The expression is longer, deeper or more nested than what can be evaluated safely.";
    UNKNOWN_STEP = "W042", "unknown step in an expression", "The expression reads a step that does not exist in this scope or around it.";
    NOT_AN_ANCESTOR = "W043", "step that need not have run", "The expression reads a step that this one does not depend on, so its result may not be there yet.";
    UNKNOWN_NAME = "W044", "unknown name in an expression", "The expression uses a variable, function or filter that does not exist here.";
    UNKNOWN_INPUT = "W045", "unknown input", "The expression reads an input, or the command gives one, that `inputs` does not declare.";
    UNKNOWN_MEMBER = "W046", "unknown part of a result", "The expression reads something that the step's result schema does not have.";
    NEVER_FITS = "W047", "constant of the wrong type", "The expression is a constant that can never be what is needed: a condition is true or false, `forEach` a list.";
    ALWAYS_EMPTY = "W048", "variable that is always empty", "The variable is known here for the sake of documents of zenflow, and never has a value at this place.";

    BAD_SCHEMA = "W050", "malformed JSON Schema", "The schema is not valid JSON Schema of draft 2020-12, or refers to something outside itself, or takes more work to check against than `cofferdam limits` allows.";

    BAD_DEFAULT = "W060", "default that does not fit", "The default or one of the choices of an input or a question is not what that takes.";
    MISSING_INPUT = "W061", "input missing", "An input without a default was not given.";
    BAD_INPUT = "W062", "input that does not fit", "The value given for an input has another type, or is none of its choices.";

    BAD_SOURCE = "W070", "malformed source", "A plugin comes from `builtin:NAME`, a registry (`oci://HOST/REPOSITORY:TAG`) or a path to a component, relative to the document; an MCP server is a program or an address.";
    BAD_DIGEST = "W071", "malformed digest", "A digest is `sha256:` and 64 hexadecimal digits.";
    BAD_GRANTS = "W072", "malformed grants", "The table of what a plugin asks for has a fault; it grants nothing until it is right.";
    BAD_LIMITS = "W073", "malformed limits", "The table of a plugin's limits has a fault.";
    ABOVE_THE_HOST = "W074", "limit above the host's", "`options.limits` may only lower the limits of the host; `cofferdam limits` prints them.";
    CREDENTIAL = "W075", "credential in a document", "A header that carries a credential has no place in a document; the model's settings hold it, or a variable of the environment that is named as `${NAME}`.";
    MODEL_OPTION = "W076", "malformed options of a model", "`modelOptions` says something that cannot be sent with a request, or that the host says itself.";

    NOT_ZENFLOW = "W080", "not in zenflow", "The document says `compat: zenflow`, and zenflow v1 does not have this or forbids it.";
    INCLUDE_CIRCLE = "W081", "documents that include each other", "A document cannot include itself, also not through others; the message shows the circle.";
    INCLUDE_DEPTH = "W082", "documents nested too deep", "Documents include each other at most five deep, groups and loops between them or not.";
    NAME_CLASH = "W083", "name with two meanings", "The documents of a run share the names of agents, plugins, MCP servers and variables; a name that two of them define must mean the same.";
    OPTION_CLASH = "W084", "option that differs", "What holds for the whole run is said by the document that runs; an included document may only repeat it.";

    MORE = "W099", "more findings", "The document has more faults than are listed; the rest follows when the first are mended.";
}

/// The code with this id.
#[must_use]
pub fn find(id: &str) -> Option<&'static Code> {
    ALL.iter().find(|code| code.id.eq_ignore_ascii_case(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_order() {
        assert!(ALL.windows(2).all(|pair| pair[0].id < pair[1].id));
        assert!(ALL.iter().all(|code| code.about.ends_with('.') && !code.title.ends_with('.')));
        assert_eq!(find("w012"), Some(&BAD_NAME));
    }
}
