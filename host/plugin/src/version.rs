//! Which versions of an interface this host serves, and what to say to a component that wants another.
//!
//! `wit/README.md` has the promise that is kept here. It compares numbers: it must not know kinds or capabilities.

use serde::Serialize;
use std::cmp::Ordering;
use std::fmt;

/// The packages of the contract, with the version of each that this host serves: that of its folder in `wit/`.
const SERVED: [(&str, &str); 9] = [
    ("cofferdam:types", "0.1.0"),
    ("cofferdam:host", "0.1.0"),
    ("cofferdam:plugin", "0.1.0"),
    ("cofferdam:tool", "0.1.0"),
    ("cofferdam:transform", "0.1.0"),
    ("cofferdam:storage", "0.1.0"),
    ("cofferdam:sink", "0.1.0"),
    ("cofferdam:model", "0.1.0"),
    ("cofferdam:recall", "0.1.0"),
];
/// The WASI version whose interfaces are linked as closed doors.
const WASI: &str = "0.2.6";
/// How many interfaces a message names.
const NAMED: usize = 4;

/// The version that is served of an interface's package, if it is one of ours or of WASI.
pub(crate) fn served(interface: &str) -> Option<&'static str> {
    let package = interface.split_once('/').map_or(interface, |(package, _)| package);
    let ours = SERVED.iter().find(|(name, _)| *name == package).map(|(_, version)| *version);
    ours.or_else(|| interface.starts_with("wasi:").then_some(WASI))
}

/// Whether a version that is wanted is one that is served, or an earlier or later one that fits it: the two agree up to
/// the first part that is not zero, as in Cargo. A later one fits as long as nothing is used of it that was added.
pub(crate) fn fits(wanted: &str, served: &str) -> bool {
    let (wanted, served) = (parse(wanted), parse(served));
    wanted.is_some() && wanted.map(track) == served.map(track)
}

/// An interface that is wanted in a version that is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    interface: String,
    served: &'static str,
    age: Age,
}

/// How the version that is wanted relates to the one that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Age {
    /// The component was built for a contract that this host does not know yet.
    Newer,
    /// The component was built for a contract that is no longer served.
    Older,
    /// It names no version, or none that can be read.
    Unknown,
}

impl Mismatch {
    pub(crate) fn new(name: &str, served: &'static str) -> Self {
        let wanted = name.split_once('@').map_or("", |(_, version)| version);
        let age = match parse(wanted).zip(parse(served)).map(|(wanted, served)| wanted.cmp(&served)) {
            Some(Ordering::Greater) => Age::Newer,
            Some(_) => Age::Older,
            None => Age::Unknown,
        };
        Self { interface: cofferdam_core::text::clean_to(name, 120), served, age }
    }

    /// The interface with the version that is wanted, as the component names it.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The version that this host serves.
    #[must_use]
    pub fn served(&self) -> &'static str {
        self.served
    }

    /// How the one relates to the other.
    #[must_use]
    pub fn age(&self) -> Age {
        self.age
    }
}

/// Interfaces in versions that are not served; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatches(pub(crate) Vec<Mismatch>);

impl Mismatches {
    /// Each of them, in the order in which the component names them.
    #[must_use]
    pub fn all(&self) -> &[Mismatch] {
        &self.0
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        let has = |age| self.0.iter().any(|mismatch| mismatch.age == age);
        if self.0.iter().all(|mismatch| mismatch.interface.starts_with("wasi:")) {
            return format!("build it for the target `wasm32-wasip2`; of WASI {WASI} and what fits it is served");
        }
        match (has(Age::Newer), has(Age::Older), has(Age::Unknown)) {
            (true, false, false) => NEWER.to_owned(),
            (false, true, false) => OLDER.to_owned(),
            _ => format!("{REBUILD}, which names the versions that are served"),
        }
    }
}

/// What to do with a component that was built for a later contract.
pub(crate) const NEWER: &str =
    "it was built for a newer Cofferdam: update Cofferdam, or use a release of the plugin for a version that is served";
const OLDER: &str = "it was built for an older Cofferdam: build it again with the SDK of this one, or use a newer release of the plugin";
/// What to do with a component that fits no contract.
pub(crate) const REBUILD: &str = "build it again with the SDK of this Cofferdam";

impl fmt::Display for Mismatches {
    /// Grouped by the version that is served, since packages move apart from each other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest: Vec<&Mismatch> = self.0.iter().collect();
        let mut separator = "it wants ";
        while let Some(served) = rest.first().map(|mismatch| mismatch.served) {
            let (group, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|mismatch| mismatch.served == served);
            let mut names: Vec<String> =
                group.iter().take(NAMED).map(|mismatch| format!("`{}`", mismatch.interface)).collect();
            if let Some(more) = group.len().checked_sub(NAMED).filter(|more| *more > 0) {
                names.push(format!("{more} more"));
            }
            write!(f, "{separator}{}, and this host serves {served}", listed(&names))?;
            (rest, separator) = (others, "; it wants ");
        }
        Ok(())
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The first of these interfaces whose version is later than the one that is served.
pub(crate) fn later<'n>(names: impl IntoIterator<Item = &'n str>) -> Option<Mismatch> {
    names.into_iter().filter(|name| name.starts_with("cofferdam:")).find_map(|name| {
        let (interface, version) = name.split_once('@')?;
        let mismatch = Mismatch::new(name, served(interface)?);
        (fits(version, mismatch.served) && mismatch.age == Age::Newer).then_some(mismatch)
    })
}

type Version = (u64, u64, u64);

fn parse(version: &str) -> Option<Version> {
    let version = version.split_once('+').map_or(version, |(version, _)| version);
    let mut parts = version.splitn(3, '.').map(|part| part.parse::<u64>().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

fn track(version: Version) -> Version {
    match version {
        (0, 0, patch) => (0, 0, patch),
        (0, minor, _) => (0, minor, 0),
        (major, _, _) => (major, 0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_is_served_is_what_the_contract_says() {
        let wit = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        let folders = std::fs::read_dir(wit).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
        let package = |path: std::path::PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(path.join(format!("{name}.wit"))).unwrap();
            text.lines().find_map(|line| Some(line.strip_prefix("package ")?.strip_suffix(';')?.to_owned())).unwrap()
        };
        let written: BTreeSet<String> = folders.map(package).collect();
        let served: BTreeSet<String> = SERVED.iter().map(|(name, version)| format!("{name}@{version}")).collect();
        assert_eq!(served, written);
    }

    #[test]
    fn versions_fit_as_in_cargo() {
        for (wanted, served, fit) in [
            ("0.1.0", "0.1.0", true),
            ("0.1.9", "0.1.0", true),
            ("0.1.0", "0.1.9", true),
            ("0.2.0", "0.1.0", false),
            ("0.0.9", "0.1.0", false),
            ("1.0.0", "0.1.0", false),
            ("1.4.0", "1.2.7", true),
            ("0.0.1", "0.0.2", false),
            ("0.1.0-rc.1", "0.1.0", false),
            ("0.1.0+build", "0.1.0", true),
            ("", "0.1.0", false),
            ("0.1", "0.1.0", false),
        ] {
            assert_eq!(fits(wanted, served), fit, "{wanted} for {served}");
        }
    }

    #[test]
    fn what_is_wanted_is_named_with_what_is_served() {
        let of =
            |names: &[&str]| Mismatches(names.iter().map(|name| Mismatch::new(name, served(name).unwrap())).collect());
        let one = of(&["cofferdam:tool/tool@0.2.0"]);
        assert_eq!(one.to_string(), "it wants `cofferdam:tool/tool@0.2.0`, and this host serves 0.1.0");
        assert_eq!(one.hint(), NEWER);
        let two = of(&["cofferdam:host/log@0.0.9", "wasi:cli/exit@0.1.0", "cofferdam:host/kv@0.0.9"]);
        assert_eq!(
            two.to_string(),
            "it wants `cofferdam:host/log@0.0.9` and `cofferdam:host/kv@0.0.9`, and this host serves 0.1.0; \
             it wants `wasi:cli/exit@0.1.0`, and this host serves 0.2.6"
        );
        assert_eq!(two.hint(), OLDER);
        assert!(of(&["cofferdam:host/log", "cofferdam:host/kv@1.0.0"]).hint().starts_with(REBUILD));
        assert!(of(&["wasi:cli/exit@0.3.0"]).hint().contains("wasm32-wasip2"));
        let names: Vec<String> = (0..9).map(|index| format!("cofferdam:host/i{index}@1.0.0")).collect();
        let many = of(&names.iter().map(String::as_str).collect::<Vec<_>>()).to_string();
        assert!(many.contains("`cofferdam:host/i3@1.0.0` and 5 more, and this host"), "{many}");
    }

    #[test]
    fn a_later_version_that_fits_is_told_apart() {
        assert_eq!(later(["cofferdam:host/log@0.1.0", "cofferdam:host/log@0.2.0", "wasi:cli/exit@0.2.9"]), None);
        assert_eq!(later(["cofferdam:host/log@0.1.1"]).unwrap().interface(), "cofferdam:host/log@0.1.1");
    }
}
