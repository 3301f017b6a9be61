//! The shipped plugins, real components in a real language: they load, describe themselves and work.

use crate::guest::Scratch;
use crate::scene::{Scene, dirs_of};
use cofferdam_core::id::{Alias, LocalName};
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
    let scene = Scene::with(|settings| settings.cache = Some(dirs_of(&cache)));
    for builtin in builtin::ALL {
        let first = scene.host.inspect(shipped(builtin.name)).await.unwrap();
        assert_eq!(first.about.id, format!("cofferdam/{}", builtin.name));
        assert!(!first.about.tools.is_empty() && first.unsupported.is_empty());
        let second = scene.host.inspect(shipped(builtin.name)).await.unwrap();
        assert!(second.history.cached);
        assert_eq!(second.about, first.about);
    }
}

#[tokio::test]
async fn an_unknown_builtin_names_the_known_ones() {
    let error = Scene::new().host.load(shipped("nonsense")).await.map(|_| ()).unwrap_err();
    assert_eq!(error.hint().unwrap(), "there are csv, fetch, secrets-scan, text");
}
