//! What a step, a group or an agent takes away from what its plugins may do.
//!
//! A narrowing has no meaning by itself: applied to grants it gives grants that are no wider, whatever it says. It
//! must not know which plugin it is applied to: one table holds for all plugins of a step.

use super::reader::Reader;
use super::{FsGrant, Grants, HttpGrant, KvGrant, Mount, PolicyError, SecretGrant};
use crate::id::ToolName;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The kinds of things that a table of grants speaks of.
const KINDS: [&str; 5] = ["http", "fs", "kv", "secrets", "tools"];
/// What stands in a table for nothing of a kind.
const NONE: &str = "none";

/// A table that narrows. A kind that it does not mention stays as it was granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Narrowing {
    http: Option<Vec<HttpGrant>>,
    fs: Option<FsNarrowing>,
    kv: Option<Option<KvGrant>>,
    secrets: Option<BTreeSet<SecretGrant>>,
    tools: Option<BTreeSet<ToolName>>,
}

/// What stays of the directories. A table that says `true` somewhere names what stays, and the rest goes; one that
/// only says `false` names what goes, and the rest stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct FsNarrowing {
    read: Option<bool>,
    write: Option<bool>,
    out: Option<bool>,
    also: Option<Vec<Kept>>,
}

/// What stays of a further directory, by the place where the guest sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    at: String,
    read: bool,
    write: bool,
}

impl Narrowing {
    /// Reads the table: that of grants, in which `none` stands for nothing of a kind, `fs` may say `false`, and a
    /// further directory is named by its place.
    ///
    /// # Errors
    /// Every fault found, each with its path from the table's root. Unknown keys are faults.
    pub fn parse(table: &Value) -> Result<Self, Vec<PolicyError>> {
        let mut reader = Reader::default();
        let Some(map) = reader.table("", table, &KINDS) else { return Err(reader.errors) };
        let mut narrowing = Self::default();
        for (key, value) in map {
            narrowing.read(&mut reader, key, value);
        }
        if reader.errors.is_empty() { Ok(narrowing) } else { Err(reader.errors) }
    }

    fn read(&mut self, reader: &mut Reader, key: &str, value: &Value) {
        let none = value.as_str() == Some(NONE);
        if key == "fs" {
            self.fs = if none { Some(FsNarrowing::nothing()) } else { FsNarrowing::read(reader, value) };
            return;
        }
        let said = if none {
            Grants::default()
        } else {
            match Grants::parse(&json!({ key: value })) {
                Ok(said) => said,
                Err(errors) => return reader.errors.extend(errors),
            }
        };
        match key {
            "http" => self.http = Some(said.http),
            "kv" => self.kv = Some(said.kv),
            "secrets" => self.secrets = Some(said.secrets),
            "tools" => self.tools = Some(said.tools),
            // Reported when the keys were looked at.
            _ => {}
        }
    }

    /// What is left of these grants; never more than them.
    #[must_use]
    pub fn apply(&self, granted: &Grants) -> Grants {
        let mut left = granted.clone();
        if let Some(kept) = &self.http {
            left.http = shared_requests(kept, &granted.http);
        }
        if let Some(kept) = &self.fs {
            left.fs = kept.apply(&granted.fs);
        }
        if let Some(kept) = &self.kv {
            let shorter = |given: KvGrant| kept.map(|kept| KvGrant { scope: kept.scope.min(given.scope) });
            left.kv = granted.kv.and_then(shorter);
        }
        if let Some(kept) = &self.secrets {
            let only = |secrets: &BTreeSet<SecretGrant>| Grants { secrets: secrets.clone(), ..Grants::default() };
            left.secrets = only(kept).intersect(&only(&granted.secrets)).secrets;
        }
        if let Some(kept) = &self.tools {
            left.tools.retain(|tool| kept.contains(tool));
        }
        left
    }

    /// What it does, one line a kind: `no http`, `fs without write`.
    #[must_use]
    pub fn explain(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let only = |grants: Grants| grants.explain().join("; ");
        match self.http.as_deref() {
            Some([]) => lines.push("no http".to_owned()),
            Some(kept) => {
                lines.push(format!("http only: {}", only(Grants { http: kept.to_vec(), ..Grants::default() })));
            }
            None => {}
        }
        lines.extend(self.fs.as_ref().map(FsNarrowing::explain));
        match self.kv {
            Some(None) => lines.push("no kv".to_owned()),
            Some(Some(kv)) => lines.push(format!("kv for the {} at most", kv.scope.as_str())),
            None => {}
        }
        let named = |kind: &str, names: Vec<String>| match names.as_slice() {
            [] => format!("no {kind}"),
            names => format!("{kind} only {}", names.join(", ")),
        };
        if let Some(secrets) = &self.secrets {
            lines.push(named("secrets", secrets.iter().map(|secret| secret.name.clone()).collect()));
        }
        if let Some(tools) = &self.tools {
            lines.push(named("tools", tools.iter().map(ToString::to_string).collect()));
        }
        lines
    }
}

impl FsNarrowing {
    fn nothing() -> Self {
        Self { read: Some(false), write: Some(false), out: Some(false), also: Some(Vec::new()) }
    }

    fn read(reader: &mut Reader, value: &Value) -> Option<Self> {
        let map = reader.table("fs", value, &["read", "write", "out", "also"])?;
        let mut switch = |key: &str| map.get(key).map(|value| reader.switch(&format!("fs.{key}"), Some(value)));
        let (read, write, out) = (switch("read"), switch("write"), switch("out"));
        let also = map.get("also").map(|value| {
            let entries = reader.list("fs.also", Some(value));
            entries.into_iter().filter_map(|(path, value)| Kept::read(reader, &path, value)).collect()
        });
        Some(Self { read, write, out, also })
    }

    fn names_what_stays(&self) -> bool {
        [self.read, self.write, self.out].contains(&Some(true))
            || self.also.as_ref().is_some_and(|also| !also.is_empty())
    }

    fn apply(&self, granted: &FsGrant) -> FsGrant {
        let unnamed = !self.names_what_stays();
        let stays = |said: Option<bool>| said.unwrap_or(unnamed);
        let also = granted.also.iter().filter_map(|mount| match &self.also {
            None => unnamed.then(|| mount.clone()),
            Some(kept) => {
                let kept = kept.iter().find(|kept| kept.at == mount.at)?;
                let left = Mount { read: mount.read && kept.read, write: mount.write && kept.write, ..mount.clone() };
                (left.read || left.write).then_some(left)
            }
        });
        FsGrant {
            read: granted.read && stays(self.read),
            write: granted.write && stays(self.write),
            out: granted.out && stays(self.out),
            also: also.collect(),
        }
    }

    fn explain(&self) -> String {
        let switches = [("read", self.read), ("write", self.write), ("out", self.out)];
        let named =
            |wanted: bool| switches.iter().filter(move |(_, said)| *said == Some(wanted)).map(|(name, _)| *name);
        if *self == Self::nothing() {
            return "no fs".to_owned();
        }
        if self.names_what_stays() {
            let places = self.also.iter().flatten().map(|kept| kept.at.as_str());
            return format!("fs only {}", named(true).chain(places).collect::<Vec<_>>().join(", "));
        }
        let also = self.also.as_ref().map(|_| "also");
        format!("fs without {}", named(false).chain(also).collect::<Vec<_>>().join(", "))
    }
}

impl Kept {
    fn read(reader: &mut Reader, path: &str, value: &Value) -> Option<Self> {
        let map = reader.table(path, value, &["at", "read", "write"])?;
        let read = reader.switch(&format!("{path}.read"), map.get("read"));
        let write = reader.switch(&format!("{path}.write"), map.get("write"));
        let Some(at) = map.get("at") else { return reader.fail(path, "`at` is missing") };
        let at = reader.text(&format!("{path}.at"), at)?.to_owned();
        Some(Self { at, read, write })
    }
}

/// What both allow. An entry that names no credential, and one that names no block of addresses, keeps those that
/// were granted: the step speaks of hosts, methods and paths.
fn shared_requests(kept: &[HttpGrant], granted: &[HttpGrant]) -> Vec<HttpGrant> {
    let mut shared = Vec::new();
    for kept in kept {
        for given in granted {
            let mut wanted = kept.clone();
            if wanted.inject.is_empty() {
                wanted.inject.clone_from(&given.inject);
            }
            if wanted.swap.is_empty() {
                wanted.swap.clone_from(&given.swap);
            }
            if wanted.cidrs.is_empty() {
                wanted.cidrs.clone_from(&given.cidrs);
            }
            shared.extend(wanted.intersect(given).filter(|both| !shared.contains(both)));
        }
    }
    shared
}

impl Serialize for Narrowing {
    /// As a document writes it.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut table = Map::new();
        let mut put = |kind: &str, said: Option<Grants>| {
            if let Some(said) = said {
                let value = serde_json::to_value(said).unwrap_or_default();
                let value = value.get(kind).cloned().unwrap_or_else(|| NONE.into());
                table.insert(kind.to_owned(), value);
            }
        };
        put("http", self.http.clone().map(|http| Grants { http, ..Grants::default() }));
        put("kv", self.kv.map(|kv| Grants { kv, ..Grants::default() }));
        put("secrets", self.secrets.clone().map(|secrets| Grants { secrets, ..Grants::default() }));
        put("tools", self.tools.clone().map(|tools| Grants { tools, ..Grants::default() }));
        if let Some(fs) = &self.fs {
            let switches = [("read", fs.read), ("write", fs.write), ("out", fs.out)];
            let said = switches.into_iter().filter_map(|(key, said)| Some((key.to_owned(), json!(said?))));
            let also = fs.also.as_ref().map(|also| {
                let kept = |kept: &Kept| json!({ "at": kept.at, "read": kept.read, "write": kept.write });
                ("also".to_owned(), also.iter().map(kept).collect::<Value>())
            });
            table.insert("fs".to_owned(), Value::Object(said.chain(also).collect()));
        }
        table.serialize(serializer)
    }
}

/// Who narrows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Layer {
    /// As messages call it: ``step `scan` ``.
    who: Arc<str>,
    narrowing: Arc<Narrowing>,
}

/// All narrowings that hold for one step: of the groups around it, of its agent, and its own. Cheap to share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Narrowings(Vec<Layer>);

impl Narrowings {
    /// Adds one; `who` is as messages call it.
    pub fn push(&mut self, who: impl Into<Arc<str>>, narrowing: Arc<Narrowing>) {
        let layer = Layer { who: who.into(), narrowing };
        if !self.0.contains(&layer) {
            self.0.push(layer);
        }
    }

    /// Whether nothing narrows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What all of them leave of these grants.
    #[must_use]
    pub fn apply(&self, granted: &Grants) -> Grants {
        self.0.iter().fold(granted.clone(), |left, layer| layer.narrowing.apply(&left))
    }

    /// What they do, one line each: ``step `scan`: no http``.
    #[must_use]
    pub fn explain(&self) -> Vec<String> {
        let lines = |layer: &Layer| {
            let who = Arc::clone(&layer.who);
            layer.narrowing.explain().into_iter().map(move |line| format!("{who}: {line}"))
        };
        self.0.iter().flat_map(lines).collect()
    }

    /// Who takes `wanted` away from a plugin that was granted it; none when it was never granted, or is left.
    #[must_use]
    pub fn culprit(&self, granted: &Grants, wanted: &Grants) -> Option<&str> {
        let mut left = granted.clone();
        if !wanted.missing_from(&left).is_empty() {
            return None;
        }
        self.0.iter().find_map(|layer| {
            left = layer.narrowing.apply(&left);
            (!wanted.missing_from(&left).is_empty()).then_some(&*layer.who)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::any_grants;
    use super::*;
    use proptest::prelude::*;

    fn narrowing(table: &Value) -> Narrowing {
        Narrowing::parse(table).unwrap()
    }

    fn all() -> Grants {
        Grants::parse(&json!({
            "http": [{ "host": "*.example.com", "methods": ["GET", "POST"],
                       "inject": [{ "secret": "K", "header": "authorization", "format": "{}" }] }],
            "fs": { "read": true, "write": true, "out": true, "also": [{ "from": "/d", "at": "/in", "read": true }] },
            "kv": { "scope": "run" }, "tools": ["read", "write"], "secrets": ["A", { "name": "B", "reveal": true }],
        }))
        .unwrap()
    }

    #[test]
    fn what_is_not_mentioned_stays() {
        assert_eq!(narrowing(&json!({})).apply(&all()), all());
        let left = narrowing(&json!({ "http": "none", "fs": { "write": false } })).apply(&all());
        assert!(left.http.is_empty() && left.fs.read && !left.fs.write && left.fs.out);
        assert_eq!((left.kv, left.tools, left.fs.also), (all().kv, all().tools, all().fs.also));
    }

    #[test]
    fn a_table_of_files_that_says_true_names_what_stays() {
        let left = narrowing(&json!({ "fs": { "read": true } })).apply(&all());
        assert_eq!(left.fs, FsGrant { read: true, ..FsGrant::default() });
        assert!(narrowing(&json!({ "fs": "none" })).apply(&all()).fs.is_empty());
        let left =
            narrowing(&json!({ "fs": { "also": [{ "at": "/in", "read": true, "write": true }] } })).apply(&all());
        assert_eq!(left.fs, FsGrant { also: all().fs.also, ..FsGrant::default() });
    }

    #[test]
    fn a_narrowed_request_keeps_its_credential() {
        let left = narrowing(&json!({ "http": [{ "host": "a.example.com", "methods": ["GET"] }] })).apply(&all());
        assert_eq!(left.http[0].host.to_string(), "a.example.com");
        assert_eq!((left.http[0].methods.len(), left.http[0].inject.len()), (1, 1));
    }

    #[test]
    fn a_longer_life_than_was_granted_is_not_given() {
        assert_eq!(narrowing(&json!({ "kv": { "scope": "project" } })).apply(&all()).kv, all().kv);
        let left = narrowing(&json!({ "kv": { "scope": "step" } })).apply(&all());
        assert_eq!(left.kv.unwrap().scope.as_str(), "step");
    }

    #[test]
    fn faults_are_found_at_their_place() {
        for (table, path) in [
            (json!({ "htp": "none" }), "htp"),
            (json!({ "fs": { "wrte": false } }), "fs.wrte"),
            (json!({ "http": "nothing" }), "http"),
            (json!({ "fs": { "also": [{ "from": "x", "at": "/in" }] } }), "fs.also[0].from"),
            (json!([]), ""),
        ] {
            assert_eq!(Narrowing::parse(&table).unwrap_err()[0].path, path, "{table}");
        }
    }

    #[test]
    fn a_denial_knows_who_took_it_away() {
        let mut layers = Narrowings::default();
        layers.push("step `outer`", Arc::new(narrowing(&json!({ "kv": "none" }))));
        layers.push("step `outer.inner`", Arc::new(narrowing(&json!({ "http": "none" }))));
        let wanted = Grants { http: all().http, ..Grants::default() };
        assert_eq!(layers.culprit(&all(), &wanted), Some("step `outer.inner`"));
        assert_eq!(layers.culprit(&Grants::default(), &wanted), None);
        assert_eq!(layers.explain(), ["step `outer`: no kv", "step `outer.inner`: no http"]);
    }

    fn any_narrowing() -> impl Strategy<Value = Narrowing> {
        let switch = || prop::option::of(any::<bool>());
        (any_grants(), any::<[bool; 5]>(), any::<[bool; 5]>(), (switch(), switch(), switch())).prop_map(
            |(grants, mentioned, none, (read, write, out))| {
                let mut table = serde_json::to_value(grants).unwrap();
                let table = table.as_object_mut().unwrap();
                for (kind, (mentioned, none)) in KINDS.iter().zip(mentioned.into_iter().zip(none)) {
                    if !mentioned {
                        table.remove(*kind);
                    } else if none {
                        table.insert((*kind).to_owned(), json!(NONE));
                    }
                }
                if table.get("fs").is_some_and(Value::is_object) {
                    let switches = [("read", read), ("write", write), ("out", out)];
                    let fs: Map<_, _> =
                        switches.into_iter().filter_map(|(key, said)| Some((key.to_owned(), json!(said?)))).collect();
                    table.insert("fs".to_owned(), Value::Object(fs));
                }
                Narrowing::parse(&Value::Object(table.clone())).expect("the strategy writes valid tables")
            },
        )
    }

    proptest! {
        #[test]
        fn narrowing_never_widens(granted in any_grants(), first in any_narrowing(), second in any_narrowing()) {
            let once = first.apply(&granted);
            prop_assert!(once.missing_from(&granted).is_empty(), "{once:?}");
            let mut both = Narrowings::default();
            both.push("a", Arc::new(first));
            both.push("b", Arc::new(second));
            let twice = both.apply(&granted);
            prop_assert!(twice.missing_from(&once).is_empty(), "{twice:?}");
            prop_assert!(both.apply(&Grants::default()).is_empty());
        }

        #[test]
        fn what_is_written_out_narrows_the_same(narrowing in any_narrowing()) {
            let table = serde_json::to_value(&narrowing).unwrap();
            prop_assert_eq!(Narrowing::parse(&table), Ok(narrowing));
        }
    }
}
