//! What one plugin may do, and what it asked for in vain.
//!
//! It must not decide policy: grants come in resolved. It explains a refusal by the lines that would lift it.

use crate::reference::NameOf;
use cofferdam_core::id::Alias;
use cofferdam_core::limits;
use cofferdam_core::policy::{FsGrant, Grants, Narrowings};
use std::sync::Arc;

/// What is granted, and what the document asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rights {
    pub(crate) granted: Grants,
    pub(crate) requested: Grants,
    /// What was granted before the step of this call narrowed it.
    narrowed: Option<Narrowed>,
    /// Whose the name is under which it would be granted more.
    name_of: NameOf,
}

/// What narrowed the rights of a call.
#[derive(Clone, Debug)]
struct Narrowed {
    from: Grants,
    by: Arc<Narrowings>,
}

impl Rights {
    pub(crate) fn new(granted: Grants, requested: Grants) -> Self {
        Self { granted, requested, narrowed: None, name_of: NameOf::Itself }
    }

    /// The rights of a plugin whose name may be that of another.
    pub(crate) fn named(self, name_of: NameOf) -> Self {
        Self { name_of, ..self }
    }

    /// What is left of the rights for a call of a step that narrows.
    pub(crate) fn narrowed(self: &Arc<Self>, by: &Arc<Narrowings>) -> Arc<Self> {
        if by.is_empty() {
            return Arc::clone(self);
        }
        Arc::new(Self {
            granted: by.apply(&self.granted),
            requested: self.requested.clone(),
            narrowed: Some(Narrowed { from: self.granted.clone(), by: Arc::clone(by) }),
            name_of: self.name_of,
        })
    }

    /// Who takes away what was granted; none where nobody granted it.
    fn culprit(&self, wanted: &Grants) -> Option<&str> {
        self.narrowed.as_ref().and_then(|narrowed| narrowed.by.culprit(&narrowed.from, wanted))
    }

    /// The files that would be needed: what was asked for, else reading.
    pub(crate) fn wanted_files(&self) -> Grants {
        let mut fs = self.requested.fs.clone();
        if fs.is_empty() {
            fs.read = true;
        }
        // Nothing can be written in a directory that cannot be looked into.
        fs.read |= fs.write;
        Grants { fs, ..Grants::default() }
    }

    /// Whether some directory is visible.
    pub(crate) fn sees_files(&self) -> bool {
        let FsGrant { read, out, also, .. } = &self.granted.fs;
        *read || *out || !also.is_empty()
    }
}

/// Something that a plugin asked for and was not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    /// What it asked for, in one line: `http GET https://example.com/`.
    pub(crate) request: String,
    /// The lines that would allow it.
    pub(crate) allow: String,
    /// Whether it was certainly meant.
    pub(crate) certainty: Certainty,
}

/// How sure it is that a plugin wanted what it was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// It asked for just that.
    Certain,
    /// Its standard library looked around.
    Suspected,
}

impl Denial {
    /// A denial of `wanted`, explained for the plugin of this alias.
    pub(crate) fn new(alias: &Alias, rights: &Rights, request: String, wanted: &Grants) -> Self {
        if let Some(who) = rights.culprit(wanted) {
            let allow = format!("# it is granted, and the `grants` of {who} take it away: change them");
            return Self { request, allow, certainty: Certainty::Certain };
        }
        if let Some(advice) = rights.name_of.advice(alias) {
            return Self { request, allow: format!("# {advice}"), certainty: Certainty::Certain };
        }
        let missing = wanted.missing_from(&rights.granted);
        let table = rights.granted.union(wanted).to_toml(alias);
        let allow = format!("{}\n# or in cofferdam.toml:\n{table}", missing.to_command_line(alias));
        Self { request, allow, certainty: Certainty::Certain }
    }

    /// A denial that no grant can lift.
    pub(crate) fn for_good(request: String) -> Self {
        Self { request, allow: String::new(), certainty: Certainty::Certain }
    }

    /// What a person can do.
    pub(crate) fn hint(&self) -> String {
        if self.allow.is_empty() {
            return format!("it was denied `{}`, which no grant allows", self.request);
        }
        match self.allow.strip_prefix("# ") {
            Some(why) => format!("it was denied `{}`: {why}", self.request),
            None => format!("it was denied `{}`; to allow that, add:\n{}", self.request, self.allow),
        }
    }
}

/// The denials of one call: each once, and not too many.
#[derive(Debug, Default)]
pub(crate) struct Denials {
    certain: Vec<Denial>,
    suspected: Option<Denial>,
}

/// Whether a denial is the first of its kind in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Not seen before: worth an event.
    First,
    /// Seen before, or one too many.
    Again,
}

impl Denials {
    /// Adds a denial.
    pub(crate) fn add(&mut self, denial: Denial) -> Seen {
        if self.certain.len() >= limits::PLUGIN_DENIALS || self.certain.contains(&denial) {
            return Seen::Again;
        }
        self.certain.push(denial);
        Seen::First
    }

    /// Notes something that matters only if the call fails: a standard library looks for directories at times
    /// when its program does not want any.
    pub(crate) fn suspect(&mut self, denial: Denial) {
        self.suspected.get_or_insert(Denial { certainty: Certainty::Suspected, ..denial });
    }

    /// What explains a failure.
    pub(crate) fn explaining(mut self) -> Vec<Denial> {
        if self.certain.is_empty() {
            self.certain.extend(self.suspected);
        }
        self.certain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(request: &str) -> Denial {
        let wanted = Grants { fs: FsGrant { read: true, ..FsGrant::default() }, ..Grants::default() };
        Denial::new(&Alias::parse("scan").unwrap(), &Rights::default(), request.to_owned(), &wanted)
    }

    #[test]
    fn a_denial_prints_the_lines_that_allow_it() {
        let allow = denial("fs").allow;
        assert!(allow.starts_with("--grant scan:fs=read\n"), "{allow}");
        assert!(allow.contains("[plugins.scan.grants]\nfs = { read = true }"), "{allow}");
    }

    #[test]
    fn a_denial_under_the_name_of_a_service_advises_another_name() {
        let rights = Rights::default().named(NameOf::Service);
        let read = Grants { fs: FsGrant { read: true, ..FsGrant::default() }, ..Grants::default() };
        let hint = Denial::new(&Alias::parse("lines").unwrap(), &rights, "fs".to_owned(), &read).hint();
        assert!(hint.contains("give this plugin another name"), "{hint}");
        assert!(!hint.contains("[plugins.lines.grants]") && !hint.contains("--grant"), "{hint}");
    }

    #[test]
    fn a_denial_names_the_step_that_takes_it_away() {
        let read = Grants { fs: FsGrant { read: true, ..FsGrant::default() }, ..Grants::default() };
        let rights = Arc::new(Rights::new(read.clone(), Grants::default()));
        let mut by = Narrowings::default();
        let none = cofferdam_core::policy::Narrowing::parse(&serde_json::json!({ "fs": "none" })).unwrap();
        by.push("step `count`", Arc::new(none));
        let rights = rights.narrowed(&Arc::new(by));
        assert!(rights.granted.is_empty());
        let denial = Denial::new(&Alias::parse("scan").unwrap(), &rights, "fs".to_owned(), &read);
        assert_eq!(
            denial.hint(),
            "it was denied `fs`: it is granted, and the `grants` of step `count` take it away: change them"
        );
    }

    #[test]
    fn the_same_denial_counts_once_and_there_is_an_end() {
        let mut denials = Denials::default();
        assert_eq!(denials.add(denial("a")), Seen::First);
        assert_eq!(denials.add(denial("a")), Seen::Again);
        for index in 0..1_000 {
            denials.add(denial(&index.to_string()));
        }
        assert_eq!(denials.explaining().len(), limits::PLUGIN_DENIALS);
    }

    #[test]
    fn a_suspicion_explains_only_what_nothing_else_does() {
        let mut denials = Denials::default();
        denials.suspect(denial("fs"));
        denials.add(denial("http"));
        assert_eq!(denials.explaining(), [denial("http")]);
        let mut denials = Denials::default();
        denials.suspect(denial("fs"));
        assert_eq!(denials.explaining(), [Denial { certainty: Certainty::Suspected, ..denial("fs") }]);
    }
}
