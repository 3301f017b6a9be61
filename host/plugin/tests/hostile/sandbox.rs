//! Guests that reach for files and the network: what is granted works, what is not is refused and explained.

use crate::guest::component;
use crate::scene::{Scene, nothing, reference};
use cofferdam_core::event::Body;
use cofferdam_core::fault::{Class, Fault};
use cofferdam_core::policy::Grants;
use serde_json::json;
use std::os::unix::fs::symlink;

async fn open(scene: &Scene, grants: serde_json::Value, path: &str) -> Result<(), Fault> {
    let plugin = scene.load(component("open_path"), grants).await.unwrap();
    scene.call(&plugin, json!(path)).await.map(|_| ())
}

fn kind(fault: &Fault) -> &str {
    assert_eq!(fault.code, "plugin_error", "{fault}");
    fault.detail.as_ref().unwrap()["kind"].as_str().unwrap()
}

fn furnished() -> Scene {
    let scene = Scene::new();
    let root = scene.scratch.path();
    std::fs::write(root.join("secret.txt"), "secret").unwrap();
    std::fs::write(root.join("step/plain.txt"), "plain").unwrap();
    symlink("../secret.txt", root.join("step/relative")).unwrap();
    symlink(root.join("secret.txt"), root.join("step/absolute")).unwrap();
    symlink("..", root.join("step/up")).unwrap();
    symlink("plain.txt", root.join("step/inside")).unwrap();
    scene
}

#[tokio::test]
async fn sockets_are_doors_that_nothing_opens() {
    let scene = Scene::new();
    let grants = json!({ "http": [{ "host": "localhost" }] });
    let plugin = scene.load(component("sockets"), grants).await.unwrap();
    let answer = scene.call(&plugin, json!("ask")).await.unwrap();
    assert_eq!(*answer.result, json!("ask"));
    let fault = scene.call(&plugin, json!("forge")).await.unwrap_err();
    assert_eq!(fault.code, "plugin_protocol", "{fault}");
    assert!(fault.message.contains("unknown handle"), "{fault}");
    let seen = scene.host.inspect(reference(component("sockets"), &nothing())).await.unwrap();
    assert!(seen.baseline.iter().any(|name| name.starts_with("wasi:sockets/tcp")), "{:?}", seen.baseline);
    assert_eq!(seen.missing, Vec::<String>::new());
}

#[tokio::test]
async fn without_a_grant_there_are_no_files_and_the_fault_says_what_would_help() {
    let scene = furnished();
    let fault = open(&scene, nothing(), "plain.txt").await.unwrap_err();
    assert_eq!(kind(&fault), "denied");
    let hint = fault.hint.unwrap();
    assert!(
        hint.contains("--grant guest:fs=read") && hint.contains("[plugins.guest.grants]\nfs = { read = true }"),
        "{hint}"
    );
}

#[tokio::test]
async fn what_the_document_asked_for_is_denied_in_an_event() {
    let scene = furnished();
    let mut reference = reference(component("open_path"), &nothing());
    reference.requested = Grants::parse(&json!({ "fs": { "read": true, "out": true } })).unwrap();
    let plugin = scene.host.load(reference).await.unwrap();
    let fault = scene.call(&plugin, json!("plain.txt")).await.unwrap_err();
    assert_eq!(fault.class, Class::User);
    let denied = scene.heard.all().into_iter().find_map(|body| match body {
        Body::PluginDenied { plugin, request, allow, .. } => Some((plugin, request, allow)),
        _ => None,
    });
    let (plugin, request, allow) = denied.unwrap();
    assert_eq!((plugin.as_str(), request.as_str()), ("guest", "fs"));
    assert!(allow.contains("--grant guest:fs=read,out"), "{allow}");
}

#[tokio::test]
async fn a_host_that_is_not_granted_is_denied_with_the_line_that_allows_it() {
    let scene = Scene::new();
    let plugin = scene.load(component("fetch_url"), nothing()).await.unwrap();
    let fault = scene.call(&plugin, json!("https://example.com/a?token=canary")).await.unwrap_err();
    assert_eq!(kind(&fault), "denied");
    assert_eq!(fault.class, Class::User);
    let hint = fault.hint.clone().unwrap();
    assert!(hint.contains("--grant") && hint.contains("example.com"), "{hint}");
    assert!(!format!("{fault:?}").contains("canary"));
}

#[tokio::test]
async fn what_is_granted_for_reading_cannot_be_written() {
    let scene = furnished();
    let step = scene.scratch.path().join("step");
    let reader = scene.load(component("write_path"), json!({ "fs": { "read": true } })).await.unwrap();
    for path in ["new.txt", "plain.txt", "../escaped.txt", "up/escaped.txt"] {
        let fault = scene.call(&reader, json!(path)).await.expect_err(path);
        assert_eq!(kind(&fault), "denied", "{path}: {fault}");
    }
    let writer = scene.load(component("write_path"), json!({ "fs": { "read": true, "out": true } })).await.unwrap();
    scene.call(&writer, json!("new.txt")).await.unwrap();
    assert!(scene.scratch.path().join("out/new.txt").exists() && !step.join("new.txt").exists());
    assert_eq!(kind(&scene.call(&writer, json!("../escaped.txt")).await.unwrap_err()), "denied");
    assert!(!scene.scratch.path().join("escaped.txt").exists());
}

#[tokio::test]
async fn values_are_denied_with_the_line_that_allows_them() {
    let scene = Scene::new();
    let plugin = scene.load(component("ask_values"), nothing()).await.unwrap();
    let fault = scene.call(&plugin, json!({})).await.unwrap_err();
    assert_eq!(kind(&fault), "denied", "{fault}");
    assert!(fault.hint.unwrap().contains("--grant guest:kv=run"));
}
