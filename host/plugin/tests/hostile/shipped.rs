//! The shipped plugins, real components in a real language: they load, describe themselves and work.

use crate::guest::Scratch;
use crate::scene::{Scene, compile_child, dirs_of};
use cofferdam_core::id::{Alias, LocalName};
use cofferdam_core::policy::{Grants, PluginKind};
use cofferdam_core::port::Tool as _;
use cofferdam_plugin::{PluginReference, Source, builtin};
use serde_json::json;
use std::sync::Arc;

fn shipped(name: &str) -> PluginReference {
    PluginReference::new(Alias::parse(name).unwrap(), Source::Builtin(name.to_owned()))
}

#[tokio::test]
async fn every_shipped_plugin_loads_and_says_what_it_is() {
    let cache = Scratch::new();
    let scene = Scene::with(|settings| {
        settings.cache = Some(dirs_of(&cache));
        settings.compile_child = Some(compile_child());
    });
    for builtin in builtin::ALL {
        let first = scene.host.inspect(shipped(builtin.name)).await.unwrap();
        assert_eq!(first.about.id, format!("cofferdam/{}", builtin.name));
        assert!(!first.kinds.is_empty() && first.unsupported.is_empty());
        assert_eq!(first.kinds.contains(&PluginKind::Tool), !first.about.tools.is_empty());
        let second = scene.host.inspect(shipped(builtin.name)).await.unwrap();
        assert!(second.history.cached);
        assert_eq!(second.about, first.about);
        let needs_config = first.about.config_schema.as_ref().is_some_and(|schema| schema.get("required").is_some());
        if needs_config {
            let error = scene.host.load(shipped(builtin.name)).await.unwrap_err();
            assert!(error.to_string().contains("is a required property"), "{error}");
            continue;
        }
        let pin = scene.host.load(shipped(builtin.name)).await.unwrap().pin();
        assert_eq!((pin.source, pin.granted.len()), (format!("builtin:{}", builtin.name), 0));
    }
}

#[tokio::test]
async fn an_unknown_builtin_names_the_known_ones() {
    let error = Scene::new().host.load(shipped("nonsense")).await.unwrap_err();
    let hint = error.hint().unwrap();
    assert!(hint.starts_with("there are csv, dir-journal, fetch") && hint.ends_with("webhook"), "{hint}");
}

#[tokio::test]
async fn a_shipped_plugin_reads_the_files_it_is_granted_and_no_others() {
    let scene = Scene::new();
    std::fs::write(scene.scratch.path().join("step/a.txt"), "to be or not to be").unwrap();
    let words = LocalName::parse("words").unwrap();
    let mut reference = shipped("text");
    reference.requested = Grants::parse(&json!({ "fs": { "read": true } })).unwrap();
    let denied = scene.host.load(reference.clone()).await.unwrap();
    let fault = denied.call(scene.context(), &words, Arc::new(json!({"path": "a.txt"}))).await.unwrap_err();
    assert!(fault.hint.as_ref().unwrap().contains("--grant text:fs=read"), "{fault:?}");
    reference.granted = reference.requested.clone();
    let granted = scene.host.load(reference).await.unwrap();
    let answer = granted.call(scene.context(), &words, Arc::new(json!({"path": "a.txt"}))).await.unwrap();
    assert_eq!(answer.result["words"], 6, "{answer:?}");
    for path in ["../secret.txt", "/etc/passwd"] {
        let fault = granted.call(scene.context(), &words, Arc::new(json!({"path": path}))).await.unwrap_err();
        assert_eq!(fault.code, "plugin_error", "{fault}");
    }
    // What takes no path works without any grant.
    let answer = denied.call(scene.context(), &words, Arc::new(json!({"text": "one two"}))).await.unwrap();
    assert_eq!(answer.result["words"], 2);
}
