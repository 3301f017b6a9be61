//! `[plugins.NAME]` as `plugin add` writes it: into a file that a person wrote, whose comments and order stay.
//!
//! It must not read or write files: text goes in and comes out.

use cofferdam::core::id::Alias;
use cofferdam::core::policy::Grants;
use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

/// What is to stand in the file.
pub(super) struct Wanted<'a> {
    pub(super) alias: &'a Alias,
    pub(super) source: &'a str,
    pub(super) digest: &'a str,
    /// All that the plugin is to be granted; none leaves what stands there.
    pub(super) grants: Option<&'a Grants>,
}

/// What may be overwritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Consent {
    /// A plugin with another source.
    pub(super) other_source: bool,
    /// The same source with another digest.
    pub(super) other_digest: bool,
}

/// Why the file is left as it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The name is that of a plugin with this source.
    Source(String),
    /// The source is written down with this digest.
    Digest(String),
    /// The file has something else in that place.
    Form(String),
}

/// Refuses what nobody consented to, before anything is fetched. What would be written is not known yet.
pub(super) fn check(text: &str, alias: &Alias, source: &str, consent: Consent) -> Result<(), Refusal> {
    let document = parse(text)?;
    match known(&document, alias, "source") {
        Some(other) if other != source && !consent.other_source => Err(Refusal::Source(other)),
        _ => Ok(()),
    }
}

/// The text with the plugin in it.
pub(super) fn write(text: &str, wanted: &Wanted<'_>, consent: Consent) -> Result<String, Refusal> {
    check(text, wanted.alias, wanted.source, consent)?;
    let mut document = parse(text)?;
    let is_same = known(&document, wanted.alias, "source").is_some_and(|source| source == wanted.source);
    if let Some(digest) = known(&document, wanted.alias, "digest")
        && is_same
        && !digest.eq_ignore_ascii_case(wanted.digest)
        && !consent.other_digest
    {
        return Err(Refusal::Digest(digest));
    }
    let form = |what: &str| Refusal::Form(format!("`{what}` is not a table"));
    let plugins = document.entry("plugins").or_insert_with(implicit);
    let plugins = plugins.as_table_like_mut().ok_or_else(|| form("plugins"))?;
    if plugins.get(wanted.alias.as_str()).is_none() {
        plugins.insert(wanted.alias.as_str(), Item::Table(Table::new()));
    }
    let table = plugins.get_mut(wanted.alias.as_str()).and_then(Item::as_table_like_mut);
    let table = table.ok_or_else(|| form(&format!("plugins.{}", wanted.alias)))?;
    if !is_same && table.contains_key("source") {
        // What one plugin may do and is told is not for another.
        for key in ["grants", "trust", "config", "limits"] {
            table.remove(key);
        }
    }
    set(table, "source", wanted.source);
    set(table, "digest", wanted.digest);
    if let Some(grants) = wanted.grants {
        let granted = grants.to_toml(wanted.alias);
        let granted = parse(&granted)?;
        let item = granted.get("plugins").and_then(|plugins| plugins.get(wanted.alias.as_str())?.get("grants"));
        let mut item = item.cloned().unwrap_or_else(implicit);
        if let Some(fresh) = item.as_table_mut() {
            match table.get("grants").and_then(Item::as_table) {
                Some(old) => *fresh.decor_mut() = old.decor().clone(),
                None => fresh.decor_mut().set_prefix("\n"),
            }
        }
        table.insert("grants", item);
    }
    Ok(document.to_string())
}

fn parse(text: &str) -> Result<DocumentMut, Refusal> {
    text.parse::<DocumentMut>().map_err(|error| Refusal::Form(error.message().to_owned()))
}

/// A text of the plugin's table.
fn known(document: &DocumentMut, alias: &Alias, key: &str) -> Option<String> {
    let table = document.get("plugins")?.get(alias.as_str())?;
    table.get(key)?.as_str().map(str::to_owned)
}

fn implicit() -> Item {
    let mut table = Table::new();
    table.set_implicit(true);
    Item::Table(table)
}

/// Sets a text; what stands around an old one stays.
fn set(table: &mut dyn TableLike, key: &str, text: &str) {
    let mut value = Value::from(text);
    if let Some(old) = table.get(key).and_then(Item::as_value) {
        *value.decor_mut() = old.decor().clone();
    }
    table.insert(key, Item::Value(value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ONE: &str = "sha256:1";

    fn alias() -> Alias {
        Alias::parse("gh").unwrap()
    }

    fn written(text: &str, source: &str, digest: &str, consent: Consent) -> Result<String, Refusal> {
        write(text, &Wanted { alias: &alias(), source, digest, grants: None }, consent)
    }

    #[test]
    fn what_a_person_wrote_stays() {
        let text = "# ours\n[run]\nmodel = \"x\" # fast\n\n[plugins.gh]\nsource = \"oci://a.io/b:1\" # theirs\n";
        let once = written(text, "oci://a.io/b:1", ONE, Consent::default()).unwrap();
        assert!(once.starts_with(text.trim_end()), "{once}");
        assert!(once.ends_with("digest = \"sha256:1\"\n"), "{once}");
        assert_eq!(written(&once, "oci://a.io/b:1", ONE, Consent::default()).unwrap(), once, "nothing to do");
        let fresh = written("", "oci://a.io/b:1", ONE, Consent::default()).unwrap();
        assert_eq!(fresh, "[plugins.gh]\nsource = \"oci://a.io/b:1\"\ndigest = \"sha256:1\"\n");
    }

    #[test]
    fn another_plugin_needs_consent() {
        let text = written("", "oci://a.io/b:1", ONE, Consent::default()).unwrap();
        let source = written(&text, "oci://a.io/c:1", ONE, Consent::default()).unwrap_err();
        assert_eq!(source, Refusal::Source("oci://a.io/b:1".into()));
        let force = Consent { other_source: true, ..Consent::default() };
        assert!(written(&text, "oci://a.io/c:1", "sha256:2", force).unwrap().contains("sha256:2"));
        let digest = written(&text, "oci://a.io/b:1", "sha256:2", Consent::default()).unwrap_err();
        assert_eq!(digest, Refusal::Digest(ONE.into()));
        let update = Consent { other_digest: true, ..Consent::default() };
        assert!(written(&text, "oci://a.io/b:1", "sha256:2", update).unwrap().contains("sha256:2"));
    }

    #[test]
    fn what_one_plugin_may_is_not_for_the_one_that_takes_its_place() {
        let text = "[plugins.gh]\nsource = \"a.wasm\"\nconfig = { x = 1 }\n[plugins.gh.grants]\nfs = { read = true }\n";
        let force = Consent { other_source: true, other_digest: true };
        let replaced = written(text, "b.wasm", ONE, force).unwrap();
        assert!(!replaced.contains("grants") && !replaced.contains("config"), "{replaced}");
        let same = written(text, "a.wasm", ONE, Consent::default()).unwrap();
        assert!(same.contains("grants") && same.contains("config"), "{same}");
    }

    #[test]
    fn every_form_of_a_table_is_understood() {
        for text in
            ["plugins = { gh = { source = \"x.wasm\" } }\n", "plugins.gh.source = \"x.wasm\"\n", "[plugins]\ngh = {}\n"]
        {
            let once = written(text, "x.wasm", ONE, Consent::default()).unwrap();
            let document = parse(&once).unwrap();
            assert_eq!(known(&document, &alias(), "digest").as_deref(), Some(ONE), "{once}");
        }
        for text in ["plugins = 3\n", "[plugins]\ngh = 3\n", "["] {
            assert!(matches!(written(text, "x.wasm", ONE, Consent::default()), Err(Refusal::Form(_))), "{text}");
        }
    }

    #[test]
    fn grants_stand_in_a_table_of_their_own() {
        let grants = Grants::parse(&json!({ "fs": { "read": true } })).unwrap();
        let wanted = Wanted { alias: &alias(), source: "x.wasm", digest: ONE, grants: Some(&grants) };
        let text = write("# top\n", &wanted, Consent::default()).unwrap();
        assert!(text.contains("[plugins.gh.grants]\nfs = {"), "{text}");
        assert_eq!(write(&text, &wanted, Consent::default()).unwrap(), text);
        let own = text.replace("[plugins.gh.grants]", "# why\n[plugins.gh.grants]");
        assert_eq!(write(&own, &wanted, Consent::default()).unwrap(), own);
    }
}
