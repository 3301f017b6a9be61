//! The stable codes of findings in files of settings: what `cofferdam explain` prints of them.

use cofferdam::core::spec::code::Code;

pub(super) const SYNTAX: Code = Code {
    id: "C001",
    title: "not TOML",
    about: "The file of settings is not TOML; the place is where reading it stopped.",
};
pub(super) const UNKNOWN: Code = Code {
    id: "C002",
    title: "unknown setting",
    about: "There is no setting of this name; a name that is ignored could hide a rule that was meant to protect.",
};
pub(super) const TYPE: Code =
    Code { id: "C003", title: "setting of the wrong type", about: "The setting takes another type of value." };
pub(super) const VALUE: Code =
    Code { id: "C004", title: "setting with a wrong value", about: "The setting does not take this value." };
pub(super) const GRANTS: Code = Code {
    id: "C005",
    title: "malformed grants",
    about: "The table of what a plugin may do has a fault; nothing is granted until it is right.",
};
pub(super) const PLACE: Code = Code {
    id: "C006",
    title: "setting in the wrong file",
    about: "Grants belong to a project: in a user's file they would hold for every document that uses the same alias.",
};

/// The codes of findings in files of settings.
pub(crate) const CODES: [Code; 6] = [SYNTAX, UNKNOWN, TYPE, VALUE, GRANTS, PLACE];
