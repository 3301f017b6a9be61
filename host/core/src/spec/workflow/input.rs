//! Inputs of a document.

use serde_json::Value;

/// A typed input.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: InputKind,
    /// What it is for.
    pub description: Option<String>,
    /// Taken when none is given.
    pub default: Option<Value>,
    /// The values it may have; empty = any of its type.
    pub choices: Vec<Value>,
    /// Whether a run without it is refused. An optional input without a default is null.
    pub required: bool,
}

/// The type of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A list.
    Array,
    /// An object.
    Object,
}
