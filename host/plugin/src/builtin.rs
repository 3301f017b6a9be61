//! The plugins that are part of this program: built components with their digests, so that running them needs no
//! toolchain.
//!
//! It must not know what they do.

/// A component inside this program.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// What follows `builtin:`.
    pub name: &'static str,
    /// The component.
    pub component: &'static [u8],
}

/// All of them, by name.
pub const ALL: &[Builtin] = &[];

/// The one of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Builtin> {
    ALL.iter().find(|builtin| builtin.name == name)
}
