//! Every function that a guest can import, with nothing granted and with everything.
//!
//! What there is comes from the contract and from the linked WASI, and what of it is offered from the host itself: a
//! function that is offered and has no row in `matrix.txt` fails this test, and so does a row of what is not offered.

use crate::guest::{contract, tool};
use crate::scene::{Scene, reference};
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::policy::Grants;
use cofferdam_plugin::PluginReference;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use wit_parser::abi::{AbiVariant, WasmSignature, WasmType};

const ROWS: &str = include_str!("matrix.txt");

/// What comes of a function with nothing granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// It answers; there is nothing to deny.
    Open,
    /// It is denied, and the run hears of it; with the grant it is not.
    Granted,
    /// It wants a handle, which nobody has who was not given one.
    Handle,
    /// It ends the guest.
    Ends,
}

/// A function as a guest imports it.
struct Import {
    interface: String,
    name: String,
    signature: WasmSignature,
}

impl Import {
    /// Without the version, as the rows name it.
    fn row(&self) -> String {
        format!("{}#{}", self.interface.split('@').next().unwrap(), self.name)
    }

    /// The text of a guest that calls it: everywhere zeros, but for what matters.
    fn guest(&self, granted: bool) -> String {
        let types = |types: &[WasmType]| types.iter().map(|ty| format!(" {}", core_type(*ty))).collect::<String>();
        let (params, results) = (types(&self.signature.params), types(&self.signature.results));
        let row = self.row();
        let retptr = self.signature.retptr.then(|| self.signature.params.len() - 1);
        let given = arguments(&row);
        let mut call = String::new();
        for (index, ty) in self.signature.params.iter().enumerate() {
            let value = match given.iter().find(|(place, _)| *place == index) {
                Some((_, value)) => *value,
                None if Some(index) == retptr => RESULT,
                None => 0,
            };
            match granted && directories(&row).contains(&index) {
                true => call.push_str("(call $dir)"),
                false => call.push_str(&format!("({}.const {value})", core_type(*ty))),
            }
        }
        // A function is imported once.
        let directory = if row.ends_with("#get-directories") { "" } else { DIRECTORY };
        let dropped = if self.signature.results.is_empty() { "" } else { "(drop)" };
        format!(
            r#"(import "{}" "{}" (func $f (param{params}) (result{results})))
            {directory} {DATA}
            (func $attack (param i32 i32) (result i32) {call} (call $f) {dropped} {})"#,
            self.interface,
            self.name,
            answer(&row)
        )
    }
}

const RESULT: i64 = 1024;
const DIRECTORY: &str = r#"(import "wasi:filesystem/preopens@WASI" "get-directories" (func $directories (param i32)))
    (func $dir (result i32) (call $directories (i32.const 3000)) (i32.load (i32.load (i32.const 3000))))"#;
/// A method, a URL, a name, JSON, and a request for that URL.
const DATA: &str = r#"(data (i32.const 2048) "GET") (data (i32.const 2064) "http://a.example/") (data (i32.const 2096) "KEY")
    (data (i32.const 2112) "read") (data (i32.const 2128) "{}") (data (i32.const 2144) "\00\08\00\00\03\00\00\00\10\08\00\00\11\00\00\00")"#;

fn core_type(ty: WasmType) -> &'static str {
    match ty {
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
        _ => "i32",
    }
}

/// Which arguments of a function are directories.
fn directories(row: &str) -> &'static [usize] {
    match row.split_once("[method]descriptor.").map(|(_, name)| name) {
        None => &[],
        Some("link-at") => &[0, 4],
        Some("rename-at") => &[0, 3],
        Some("is-same-object") => &[0, 1],
        Some(_) => &[0],
    }
}

/// What is not zero of the arguments of a function: its place and what stands there.
fn arguments(row: &str) -> &'static [(usize, i64)] {
    match row.rsplit('/').next().unwrap() {
        "http#fetch" => &[(0, 2048), (1, 3), (2, 2064), (3, 17)],
        "http#fetch-many" => &[(0, 2144), (1, 1), (2, 1)],
        "secrets#placeholder" | "secrets-reveal#reveal" => &[(0, 2096), (1, 3)],
        // A list of one handle, which is none.
        "poll#poll" => &[(0, 3500), (1, 1)],
        "tools#invoke" => &[(0, 2112), (1, 4), (2, 2128), (3, 2)],
        _ => &[],
    }
}

/// What the guest answers: the host's error as its own, where there can be one.
fn answer(row: &str) -> &'static str {
    match row {
        "cofferdam:host/http#fetch-many" => {
            "(select (i32.load (i32.const 1024)) (i32.const 320) (i32.load8_u (i32.load (i32.const 1024))))"
        }
        "cofferdam:host/config#get" => "(i32.const 320)",
        // No directory is as good as a refusal.
        "wasi:filesystem/preopens#get-directories" => {
            "(if (i32.eqz (i32.load (i32.const 1028))) (then (return (call $fail (i32.const 3) (i32.const 2112) (i32.const 4))))) (i32.const 320)"
        }
        ours if ours.starts_with("cofferdam:host/") => {
            "(select (i32.const 1024) (i32.const 320) (i32.load8_u (i32.const 1024)))"
        }
        _ => "(i32.const 320)",
    }
}

fn all() -> Vec<Import> {
    let (resolve, _) = contract();
    let packages = resolve.packages.iter().map(|(_, package)| package);
    let named = packages.filter(|package| {
        package.name.namespace == "wasi" || (package.name.namespace == "cofferdam" && package.name.name == "host")
    });
    let mut imports = Vec::new();
    for id in named.flat_map(|package| package.interfaces.values()) {
        for function in resolve.interfaces.get(*id).unwrap().functions.values() {
            imports.push(Import {
                interface: resolve.id_of(*id).unwrap(),
                name: function.name.clone(),
                signature: resolve.wasm_signature(AbiVariant::GuestImport, function),
            });
        }
    }
    imports
}

fn rows() -> BTreeMap<&'static str, Door> {
    let door = |word: &str| match word {
        "open" => Door::Open,
        "granted" => Door::Granted,
        "handle" => Door::Handle,
        "ends" => Door::Ends,
        other => panic!("{other}"),
    };
    let lines = ROWS.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split_once(' ').map(|(word, name)| (name, door(word))).unwrap()).collect()
}

fn everything() -> Value {
    json!({
        "fs": { "read": true, "write": true, "out": true },
        "http": [{ "host": "a.example", "scheme": "http", "cidrs": ["127.0.0.1/32"] }],
        "kv": { "scope": "run" },
        "secrets": [{ "name": "KEY", "reveal": true }],
        "tools": ["read"],
    })
}

fn wanted(component: Vec<u8>, granted: &Value) -> PluginReference {
    let requested = Grants::parse(&everything()).unwrap();
    PluginReference { requested, ..reference(component, granted) }
}

/// Calls a function, and gives how that ended and what was denied.
async fn call(scene: &Scene, import: &Import, granted: bool) -> (Option<Fault>, Vec<String>) {
    scene.heard.take();
    let grants = if granted { everything() } else { json!({}) };
    let plugin = scene.host.load(wanted(tool(&import.guest(granted)), &grants)).await.unwrap();
    let fault = scene.call(&plugin, json!({})).await.err();
    let denials = scene.heard.take().into_iter().filter_map(|body| match body {
        Body::PluginDenied { request, .. } => Some(request),
        _ => None,
    });
    (fault, denials.collect())
}

fn is_denied(fault: Option<&Fault>) -> bool {
    fault.is_some_and(|fault| fault.detail.as_ref().is_some_and(|detail| detail["kind"] == json!("denied")))
}

async fn check(scene: &Scene, import: &Import, door: Door) -> Result<(), String> {
    let (fault, denials) = call(scene, import, false).await;
    let refused = is_denied(fault.as_ref());
    let code = fault.as_ref().map(|fault| fault.code.to_string()).unwrap_or_default();
    let message = fault.as_ref().map(ToString::to_string).unwrap_or_default();
    let right = match door {
        Door::Open => !refused && denials.is_empty() && matches!(&*code, "" | "plugin_error"),
        Door::Granted => refused && denials.len() == 1,
        Door::Handle => code == "plugin_protocol" && message.contains("unknown handle index") && denials.is_empty(),
        Door::Ends => message.contains("ended itself"),
    };
    if !right {
        return Err(format!("{} without a grant: {door:?}, {code} {message} {denials:?}", import.row()));
    }
    let (fault, denials) = call(scene, import, true).await;
    let message = fault.as_ref().map(ToString::to_string).unwrap_or_default();
    let right = match door {
        Door::Open | Door::Ends => true,
        Door::Granted => !is_denied(fault.as_ref()),
        // The handle of the directory serves where there is one.
        Door::Handle => !import.row().contains("[method]descriptor") || !message.contains("unknown handle index 0"),
    };
    if right && denials.is_empty() {
        return Ok(());
    }
    Err(format!("{} with a grant: {door:?}, {message} {denials:?}", import.row()))
}

#[tokio::test]
async fn every_import_is_refused_and_told_unless_it_is_granted() {
    let (scene, mut rows, mut wrong) = (Scene::new(), rows(), Vec::new());
    let mut checked = 0;
    for import in all() {
        let row = import.row();
        let offered = scene.host.load(wanted(tool(&import.guest(false)), &json!({}))).await.is_ok();
        match (offered, rows.remove(&*row)) {
            (true, Some(door)) => wrong.extend(check(&scene, &import, door).await.err()),
            (true, None) => wrong.push(format!("there is no row for `{row}`")),
            (false, Some(_)) => wrong.push(format!("there is a row for `{row}`, which is not offered")),
            (false, None) => continue,
        }
        checked += 1;
    }
    wrong.extend(rows.keys().map(|row| format!("there is a row for `{row}`, which there is not")));
    assert!(wrong.is_empty(), "{} of {checked} functions:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked > 80, "{checked}");
}
