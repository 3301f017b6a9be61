//! Guests that were built for other versions of the contract: what runs, and what is said to those that do not.
//!
//! The contract of such a version is the text in `wit/` with other numbers, and what the version would have added.

use crate::scene::{Scene, nothing};
use cofferdam_plugin::LoadError;
use serde_json::json;
use std::path::Path;
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

const PARTS: &str = concat!(include_str!("parts/common.wat"), "\n", include_str!("parts/tool.wat"));
const SERVED: &str = "0.1.0";
/// Calls the function that is given, with an interface that the host has.
const LOGS: &str = r#"
    (import "cofferdam:host/log@0.1.0" "log" (func $log (param i32 i32 i32 i32 i32)))
    (func $start (export "_initialize")
      (call $log (i32.const 2) (i32.const 72) (i32.const 4) (i32.const 0) (i32.const 0)))"#;

/// A contract with other versions.
#[derive(Clone, Copy)]
struct Contract<'a> {
    /// Packages, without their owner, and their versions.
    versions: &'a [(&'a str, &'a str)],
    /// What stands there in the text of `host` besides, each after a line that is there.
    added: &'a [(&'a str, &'a str)],
}

impl Contract<'_> {
    /// The same text with the versions of this contract.
    fn renumbered(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (package, version) in self.versions {
            let name = format!("cofferdam:{package}");
            let mut parts = text.split(&name).map(str::to_owned);
            let first = parts.next().unwrap_or_default();
            // The name of the interface, if there is one, and its version.
            let rest = parts.map(|part| match part.split_once(&format!("@{SERVED}")) {
                Some((interface, rest)) if interface.chars().all(|c| "/-".contains(c) || c.is_alphabetic()) => {
                    format!("{name}{interface}@{version}{rest}")
                }
                _ => format!("{name}{part}"),
            });
            text = first + &rest.collect::<String>();
        }
        text
    }

    /// The honest guest with this code, built for this contract.
    fn guest(&self, code: &str) -> Vec<u8> {
        let mut text = format!("(module\n{code}\n");
        for part in PARTS.split("\n;;;; ").skip(1) {
            text.push_str(part.split_once('\n').unwrap().1);
        }
        text.push_str(")\n");
        let mut module = wat::parse_str(self.renumbered(&text)).unwrap_or_else(|error| panic!("{error}\n{code}"));
        let mut resolve = Resolve { all_features: true, ..Resolve::default() };
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        let mut last = None;
        for package in ["types", "host", "plugin", "tool"] {
            let mut text = std::fs::read_to_string(wit.join(package).join(format!("{package}.wit"))).unwrap();
            for (after, added) in self.added.iter().filter(|_| package == "host") {
                assert!(text.contains(after), "{after}");
                text = text.replace(after, &format!("{after}\n{added}"));
            }
            let text = self.renumbered(&text).replace("@since(version = 0.1.0)", "");
            last = Some(resolve.push_str(format!("{package}.wit"), &text).unwrap());
        }
        let world = resolve.select_world(&[last.unwrap()], Some("tool-plugin")).unwrap();
        wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
    }
}

fn contract<'a>(versions: &'a [(&'a str, &'a str)]) -> Contract<'a> {
    Contract { versions, added: &[] }
}

const ALL: [&str; 4] = ["types", "host", "plugin", "tool"];

fn all(version: &str) -> [(&str, &str); 4] {
    ALL.map(|package| (package, version))
}

async fn refused(component: Vec<u8>) -> LoadError {
    Scene::new().load(component, nothing()).await.unwrap_err()
}

async fn runs(component: Vec<u8>) {
    let scene = Scene::new();
    let plugin = scene.load(component, nothing()).await.unwrap();
    assert_eq!(*scene.call(&plugin, json!({"a": 1})).await.unwrap().result, json!({"a": 1}));
}

#[tokio::test]
async fn a_guest_of_the_version_that_is_served_runs() {
    runs(contract(&[]).guest(LOGS)).await;
}

#[tokio::test]
async fn a_guest_of_another_version_is_told_which_is_served_and_what_to_do() {
    for (version, what_to_do) in
        [("0.2.0", "update Cofferdam"), ("1.0.0", "update Cofferdam"), ("0.0.9", "with the SDK of this one")]
    {
        let error = refused(contract(&all(version)).guest(LOGS)).await;
        let text = error.to_string();
        assert_eq!(error.to_fault().code, "plugin_version", "{text}");
        for says in [format!("`cofferdam:tool/tool@{version}`"), format!("`cofferdam:host/log@{version}`")] {
            assert!(text.contains(&says), "{text}");
        }
        assert!(text.contains("and this host serves 0.1.0"), "{text}");
        assert!(error.hint().unwrap().contains(what_to_do), "{:?}", error.hint());
    }
}

#[tokio::test]
async fn a_known_kind_that_asks_for_an_unknown_version_of_the_host_is_told_that_alone() {
    let error = refused(contract(&[("host", "0.2.0")]).guest(LOGS)).await;
    let text = error.to_string();
    assert!(text.contains("it wants `cofferdam:host/log@0.2.0`, and this host serves 0.1.0"), "{text}");
    assert!(error.hint().unwrap().contains("update Cofferdam"), "{:?}", error.hint());
    // One that is ahead here and behind there fits no Cofferdam there ever was.
    let error = refused(contract(&[("host", "0.2.0"), ("tool", "0.0.9")]).guest(LOGS)).await;
    assert!(error.hint().unwrap().contains("build it again with the SDK"), "{:?}", error.hint());
}

#[tokio::test]
async fn a_guest_of_a_later_version_that_fits_runs_as_long_as_it_uses_what_there_is() {
    for versions in [&all("0.1.1")[..], &[("host", "0.1.7")], &[("tool", "0.1.2")], &[("types", "0.1.9")]] {
        runs(contract(versions).guest(LOGS)).await;
    }
}

#[tokio::test]
async fn a_guest_that_uses_a_function_which_was_added_later_is_told_to_update() {
    let versions = [("host", "0.1.1")];
    let added: &[_] = &[("interface log {", "    beep: func(times: u32);")];
    let beeps = r#"
        (import "cofferdam:host/log@0.1.0" "beep" (func $beep (param i32)))
        (func $start (export "_initialize") (call $beep (i32.const 2)))"#;
    let error = refused(Contract { versions: &versions, added }.guest(beeps)).await;
    let (text, hint) = (error.to_string(), error.hint().unwrap());
    assert_eq!(error.to_fault().code, "plugin_interface", "{text}");
    assert!(text.contains("beep"), "{text}");
    assert!(hint.contains("`cofferdam:host/log@0.1.1`, and this host serves 0.1.0"), "{hint}");
    assert!(hint.contains("update Cofferdam"), "{hint}");
    // The function is there and not used: nothing is missing.
    runs(Contract { versions: &versions, added }.guest(LOGS)).await;
}

#[tokio::test]
async fn a_guest_that_uses_an_interface_which_was_added_later_is_told_to_update() {
    let added: &[_] = &[
        ("package cofferdam:host@0.1.0;", "interface bell {\n    beep: func(times: u32);\n}"),
        ("world imports {", "    import bell;"),
    ];
    let beeps = r#"
        (import "cofferdam:host/bell@0.1.0" "beep" (func $beep (param i32)))
        (func $start (export "_initialize") (call $beep (i32.const 2)))"#;
    for (version, code) in [("0.1.1", "plugin_unknown_import"), ("0.2.0", "plugin_version")] {
        let versions = [("host", version)];
        let error = refused(Contract { versions: &versions, added }.guest(beeps)).await;
        assert_eq!(error.to_fault().code, code, "{error}");
        assert!(error.to_string().contains(&format!("`cofferdam:host/bell@{version}`")), "{error}");
        assert!(error.hint().unwrap().contains("update Cofferdam"), "{:?}", error.hint());
    }
}
