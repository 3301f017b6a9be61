//! Guests that reach for files and the network: what is granted works, what is not is refused and explained.

use crate::guest::component;
use crate::scene::{Scene, nothing, reference};
use cofferdam_core::event::Body;
use cofferdam_core::fault::{Class, Fault};
use cofferdam_core::policy::Grants;
use serde_json::json;
use std::net::TcpListener;
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
async fn a_granted_directory_is_readable_and_nothing_above_it() {
    let scene = furnished();
    let read = json!({ "fs": { "read": true } });
    for path in ["plain.txt", "inside", "./plain.txt"] {
        open(&scene, read.clone(), path).await.unwrap_or_else(|fault| panic!("{path}: {fault}"));
    }
    for path in [
        "../secret.txt",
        "/etc/passwd",
        "relative",
        "absolute",
        "up/secret.txt",
        "../step/plain.txt",
        "up/step/plain.txt",
    ] {
        let fault = open(&scene, read.clone(), path).await.expect_err(path);
        assert_eq!(kind(&fault), "denied", "{path}: {fault}");
        assert!(!format!("{fault:?}").contains(scene.scratch.path().to_str().unwrap()));
    }
    assert_eq!(kind(&open(&scene, read, "missing.txt").await.unwrap_err()), "not-found");
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
async fn private_addresses_are_refused_granted_or_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let scene = Scene::new();
    let granted = json!({ "http": [
        { "host": "127.0.0.1", "scheme": "http", "port": port },
        { "host": "169.254.169.254", "scheme": "http" },
        { "host": "localhost", "scheme": "http", "port": port },
    ] });
    let metadata = "http://169.254.169.254/latest/meta-data/".to_owned();
    let urls = [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        metadata,
        "http://[::1]/".to_owned(),
    ];
    for grants in [nothing(), granted] {
        let plugin = scene.load(component("fetch_url"), grants).await.unwrap();
        for url in &urls {
            let fault = scene.call(&plugin, json!(url)).await.expect_err(url);
            assert_eq!(kind(&fault), "denied", "{url}: {fault}");
        }
    }
    assert!(listener.accept().is_err(), "somebody connected");
    assert!(scene.heard.all().iter().any(|body| matches!(body, Body::PluginDenied { .. })));
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
async fn a_block_that_is_granted_is_reachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = axum::Router::new().route("/", axum::routing::get(|| async { "hello" }));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let scene = Scene::new();
    let grants =
        json!({ "http": [{ "host": "127.0.0.1", "scheme": "http", "port": port, "cidrs": ["127.0.0.1/32"] }] });
    let plugin = scene.load(component("fetch_url"), grants).await.unwrap();
    let answer = scene.call(&plugin, json!(format!("http://127.0.0.1:{port}/"))).await;
    assert_eq!(*answer.unwrap().result, json!({"ok": true}));
    server.abort();
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
async fn requests_are_counted_and_denials_reported_once() {
    let scene = Scene::new();
    let plugin = scene.load(component("fetch_flood"), nothing()).await.unwrap();
    let fault = scene.call(&plugin, json!("https://example.com/")).await.unwrap_err();
    assert_eq!(kind(&fault), "too-large", "{fault}");
    assert!(fault.message.contains("at most 32 requests"), "{fault}");
    let denials = scene.heard.all().into_iter().filter(|body| matches!(body, Body::PluginDenied { .. })).count();
    assert_eq!(denials, 1);
}

#[tokio::test]
async fn values_are_denied_with_the_line_that_allows_them() {
    let scene = Scene::new();
    let plugin = scene.load(component("ask_values"), nothing()).await.unwrap();
    let fault = scene.call(&plugin, json!({})).await.unwrap_err();
    assert_eq!(kind(&fault), "denied", "{fault}");
    assert!(fault.hint.unwrap().contains("--grant guest:kv=run"));
}
