//! Components that do not load, caches that were tampered with, and the way into the compile child.

use crate::guest::{Scratch, component, echo};
use crate::scene::{Scene, compile_child, dirs_of, nothing, reference};
use cofferdam_core::policy::PluginKind;
use cofferdam_plugin::{Capability, Digest};
use serde_json::json;
use std::path::PathBuf;

#[tokio::test]
async fn a_digest_that_does_not_match_is_refused() {
    let scene = Scene::new();
    let mut wanted = reference(echo(), &nothing());
    wanted.digest = Some(Digest::of(b"another"));
    let error = scene.host.load(wanted).await.unwrap_err();
    assert_eq!(error.to_fault().code, "plugin_digest");
    assert!(error.to_string().contains(&Digest::of(&echo()).to_string()), "{error}");
}

#[tokio::test]
async fn configuration_that_nobody_takes_is_refused() {
    let scene = Scene::new();
    let mut wanted = reference(echo(), &nothing());
    wanted.config = json!({ "org": "acme" });
    let error = scene.host.load(wanted).await.unwrap_err();
    assert_eq!(error.to_fault().code, "plugin_config");
}

#[tokio::test]
async fn a_flipped_byte_in_the_cache_costs_time_and_nothing_else() {
    let cache = Scratch::new();
    let scene = || Scene::with(|settings| settings.cache = Some(dirs_of(&cache)));
    let first = scene().host.inspect(reference(echo(), &nothing())).await.unwrap();
    let second = scene().host.inspect(reference(echo(), &nothing())).await.unwrap();
    assert!(!first.history.cached && second.history.cached);
    for entry in std::fs::read_dir(cache.path().join("code")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        std::fs::write(&path, bytes).unwrap();
    }
    let scene = scene();
    let plugin = scene.load(echo(), nothing()).await.unwrap();
    assert_eq!(*scene.call(&plugin, json!([1])).await.unwrap().result, json!([1]));
    let again = scene.host.inspect(reference(echo(), &nothing())).await.unwrap();
    assert!(again.history.cached, "the entry was written again");
}

#[tokio::test]
async fn a_cache_that_cannot_be_used_is_done_without() {
    let scene = Scene::with(|settings| {
        let nowhere = PathBuf::from("/proc/no/such/place");
        settings.cache = Some(cofferdam_plugin::CacheDirs { code: nowhere.clone(), state: nowhere });
    });
    assert!(scene.load(echo(), nothing()).await.is_ok());
}

#[tokio::test]
async fn the_compile_child_gives_the_same_plugin() {
    let scene = Scene::with(|settings| settings.compile_child = Some(compile_child()));
    let plugin = scene.load(echo(), nothing()).await.unwrap();
    assert_eq!(*scene.call(&plugin, json!({"a": 1})).await.unwrap().result, json!({"a": 1}));
}

#[tokio::test]
async fn the_compile_child_says_what_is_invalid() {
    let scene = Scene::with(|settings| settings.compile_child = Some(compile_child()));
    // Scans well, and does not type-check.
    let text = r#"(component
        (core module (func (result i32) i64.const 1))
        (instance $i)
        (export "cofferdam:plugin/lifecycle@0.1.0" (instance $i))
        (export "cofferdam:tool/tool@0.1.0" (instance $i)))"#;
    let error = scene.load(wat::parse_str(text).unwrap(), nothing()).await.unwrap_err();
    assert_eq!(error.to_fault().code, "plugin_malformed", "{error}");
    assert!(error.to_string().contains("type mismatch"), "{error}");
}

#[tokio::test]
async fn inspect_tells_what_matters() {
    let scene = Scene::new();
    let mut wanted = reference(component("fetch_url"), &json!({ "fs": { "read": true } }));
    wanted.requested = cofferdam_core::policy::Grants::parse(&json!({ "http": [{ "host": "example.com" }] })).unwrap();
    let seen = scene.host.inspect(wanted).await.unwrap();
    assert_eq!(seen.about.id, "test/guest");
    assert_eq!(seen.kinds, [PluginKind::Tool]);
    assert_eq!(seen.imports.iter().map(|import| import.capability).collect::<Vec<_>>(), [Capability::Http]);
    assert_eq!(seen.granted, ["read the step's directory (`/step`)"]);
    assert_eq!(seen.unneeded, ["read the step's directory (`/step`)"]);
    assert_eq!(seen.missing, ["send GET, HEAD to https://example.com"]);
    assert_eq!(seen.smallest_grant_flags.len(), 1);
    assert!(serde_json::to_string(&seen).unwrap().contains("\"memory_bytes\":16777216"));
}

#[test]
fn creating_a_host_makes_nothing() {
    let cache = Scratch::new();
    let dirs = dirs_of(&cache);
    let scene = Scene::with(|settings| settings.cache = Some(dirs.clone()));
    assert!(!dirs.code.exists() && !dirs.state.exists());
    drop(scene);
}
