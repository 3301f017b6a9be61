//! The plugins that are part of this program: built components with their digests, so that running them needs no
//! toolchain.
//!
//! It must not know what they do.

use crate::Digest;

/// A component inside this program.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// What follows `builtin:`.
    pub name: &'static str,
    /// The component.
    pub component: &'static [u8],
    digest: &'static str,
}

/// All of them, by name.
pub const ALL: &[Builtin] = &[
    Builtin {
        name: "csv",
        component: include_bytes!("../../../plugins/dist/csv.wasm"),
        digest: "sha256:2745f548336f6b65133c553488341699c4f05127f125ecae7bbb023f75f860de",
    },
    Builtin {
        name: "fetch",
        component: include_bytes!("../../../plugins/dist/fetch.wasm"),
        digest: "sha256:10083b7a7c5664eff3312ebb1096165e636dc8d73850de3f8d3a7c06938466c4",
    },
    Builtin {
        name: "secrets-scan",
        component: include_bytes!("../../../plugins/dist/secrets-scan.wasm"),
        digest: "sha256:cd531677f3b831117c2e91deb4974521cf8e51c397b28685f5d6b21ea595aec6",
    },
    Builtin {
        name: "text",
        component: include_bytes!("../../../plugins/dist/text.wasm"),
        digest: "sha256:7fdc612ecd46609deb9a50ae4f2965fff59837783498d0eff46d9b1abec1ae9f",
    },
];

impl Builtin {
    /// The digest of the component, known since the program was built: hashing it at each start would cost more
    /// than loading its code.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::parse(self.digest).expect("a test compares every digest of the list with its component")
    }
}

/// The one of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Builtin> {
    ALL.iter().find(|builtin| builtin.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_component_is_the_one_of_the_list() {
        let listed = include_str!("../../../plugins/dist/digests.toml");
        let names = listed.lines().filter_map(|line| line.split_once(" = ")).collect::<Vec<_>>();
        assert_eq!(names.len(), ALL.len());
        for (builtin, (name, digest)) in ALL.iter().zip(names) {
            assert_eq!(builtin.name, name);
            assert_eq!(
                builtin.digest(),
                Digest::of(builtin.component),
                "{name}: write the digest of `digests.toml` here"
            );
            assert_eq!(format!("\"{}\"", builtin.digest()), digest, "{name}");
        }
    }
}
