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
pub const ALL: &[Builtin] = &[
    Builtin { name: "csv", component: include_bytes!("../../../plugins/dist/csv.wasm") },
    Builtin { name: "fetch", component: include_bytes!("../../../plugins/dist/fetch.wasm") },
    Builtin { name: "secrets-scan", component: include_bytes!("../../../plugins/dist/secrets-scan.wasm") },
    Builtin { name: "text", component: include_bytes!("../../../plugins/dist/text.wasm") },
];

/// The one of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Builtin> {
    ALL.iter().find(|builtin| builtin.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    #[test]
    fn every_shipped_component_is_the_one_of_the_list() {
        let listed = include_str!("../../../plugins/dist/digests.toml");
        let names = listed.lines().filter_map(|line| line.split_once(" = ")).collect::<Vec<_>>();
        assert_eq!(names.len(), ALL.len());
        for (builtin, (name, digest)) in ALL.iter().zip(names) {
            assert_eq!(builtin.name, name);
            assert_eq!(format!("\"{}\"", Digest::of(builtin.component)), digest, "{name}");
        }
    }
}
