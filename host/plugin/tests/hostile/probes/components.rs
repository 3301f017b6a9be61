//! What is no plugin, or costs more to look at than any honest one.

use crate::guest::echo;
use crate::probe::{Ends, Family, Probe, Runs, component};
use Ends::Unloaded;
use Family::{Components, Imports, Kinds};
use std::fmt::Write as _;

pub(crate) fn probes() -> Vec<Probe> {
    let mut all = imports();
    all.extend(malformed());
    all.extend(bombs());
    all.extend(layers());
    all.extend(kinds());
    all.into_iter().map(|probe| probe.runs(Runs::Fresh)).collect()
}

/// A component that has the exports of a tool by name, and this inside.
fn named(inside: &str) -> Vec<u8> {
    text(&format!(
        r#"(component {inside} (instance $i)
            (export "cofferdam:plugin/lifecycle@0.1.0" (instance $i)) (export "cofferdam:tool/tool@0.1.0" (instance $i)))"#
    ))
}

fn text(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

fn imports() -> Vec<Probe> {
    let whole = |name, bytes, says| component(Imports, name, bytes, Unloaded("plugin_unknown_import", says));
    vec![
        whole(
            "requests beside the host",
            || named(r#"(import "wasi:http/outgoing-handler@0.2.0" (instance))"#),
            "wasi:http/outgoing-handler",
        ),
        whole(
            "an interface that there is not",
            || named(r#"(import "cofferdam:host/shell@0.1.0" (instance))"#),
            "cofferdam:host/shell",
        ),
        whole(
            "an interface that looks like another",
            || named(r#"(import "cofferdam:host/l0g@0.1.0" (instance))"#),
            "cofferdam:host/l0g",
        ),
        whole(
            "a package that looks like another",
            || named(r#"(import "cofferdarn:host/log@0.1.0" (instance))"#),
            "cofferdarn:host/log",
        ),
        whole("a function without an interface", || named(r#"(import "reveal" (func))"#), "`reveal`"),
        component(
            Imports,
            "another version",
            || named(r#"(import "cofferdam:host/log@0.2.0" (instance))"#),
            Unloaded("plugin_version", "0.2.0"),
        ),
        component(
            Imports,
            "no version",
            || named(r#"(import "cofferdam:host/log" (instance))"#),
            Unloaded("plugin_version", "cofferdam:host/log"),
        ),
        component(
            Imports,
            "the right name with another type",
            || named(r#"(import "cofferdam:host/log@0.1.0" (instance (export "log" (func (param "x" u32)))))"#),
            Unloaded("plugin_interface", "log"),
        ),
        component(
            Imports,
            "more of an interface than there is",
            || named(r#"(import "cofferdam:host/log@0.1.0" (instance (export "erase" (func))))"#),
            Unloaded("plugin_interface", "erase"),
        ),
        component(
            Imports,
            "two thousand imports",
            || {
                let mut text = String::new();
                for index in 0..2000 {
                    write!(text, r#"(import "a:b/c{index}@0.1.0" (instance))"#).unwrap();
                }
                named(&text)
            },
            Unloaded("plugin_malformed", "list of imports"),
        ),
    ]
}

fn malformed() -> Vec<Probe> {
    let refused = |says| Unloaded("plugin_malformed", says);
    vec![
        component(Components, "no bytes", Vec::new, refused("not WebAssembly")),
        component(Components, "another file", || b"\x7fELF\x02\x01\x01".to_vec(), refused("not WebAssembly")),
        component(Components, "text", || b"(component)".to_vec(), refused("text")),
        component(Components, "a module", || text("(module)"), refused("core WebAssembly module")),
        component(
            Components,
            "the first half of a component",
            || {
                let mut bytes = echo();
                bytes.truncate(bytes.len() / 2);
                bytes
            },
            refused("malformed or cut off"),
        ),
        component(
            Components,
            "a component and then something",
            || [echo(), b"more".to_vec()].concat(),
            refused("malformed"),
        ),
        component(Components, "another version of components", || b"\0asm\x0e\0\x01\0".to_vec(), refused("")),
        component(
            Components,
            "code that does not fit its types",
            || named("(core module (func (result i32) i64.const 1))"),
            refused("type mismatch"),
        ),
        component(
            Components,
            "an instance of what is not there",
            || named("(core module $m (import \"a\" \"b\" (func))) (core instance (instantiate $m))"),
            refused(""),
        ),
        component(
            Components,
            "memory with addresses of 64 bits",
            || named("(core module (memory i64 1))"),
            refused("memory64"),
        ),
        component(Components, "memory that threads share", || named("(core module (memory 1 1 shared))"), refused("")),
        component(
            Components,
            "references to garbage",
            || named("(core module (type (struct (field i32))))"),
            refused(""),
        ),
        component(
            Components,
            "larger than any",
            || {
                let mut bytes = echo();
                bytes.extend(section_of(65 << 20));
                bytes
            },
            Unloaded("plugin_unreadable", ""),
        ),
    ]
}

/// A section that means nothing, this large.
fn section_of(size: usize) -> Vec<u8> {
    let mut bytes = vec![0];
    let mut left = size;
    loop {
        let more = if left > 0x7f { 0x80 } else { 0 };
        bytes.push(u8::try_from(left & 0x7f).unwrap() | more);
        left >>= 7;
        if more == 0 {
            break;
        }
    }
    bytes.push(0);
    bytes.resize(bytes.len() + size - 1, 0);
    bytes
}

fn bombs() -> Vec<Probe> {
    let costly = |says| Unloaded("plugin_malformed", says);
    vec![
        component(
            Components,
            "a thousand and one locals",
            || named(&format!("(core module (func (local {})))", "i64 ".repeat(1001))),
            costly("locals"),
        ),
        component(
            Components,
            "four billion locals",
            || {
                // A body of one group of locals, encoded by hand: text would have to spell them out.
                let body = [&[0x01][..], &[0xff, 0xff, 0xff, 0xff, 0x0f, 0x7e], &[0x0b]].concat();
                let module = core_with(&body);
                wrapped(&module)
            },
            costly(""),
        ),
        component(
            Components,
            "fifty thousand and one functions",
            || named(&format!("(core module {})", "(func)".repeat(50_001))),
            costly("number of functions"),
        ),
        component(
            Components,
            "functions spread over modules",
            || named(&(format!("(core module {})", "(func)".repeat(10_001)).repeat(5))),
            costly("number of functions"),
        ),
        component(
            Components,
            "one huge function",
            || named(&format!("(core module (func {}))", "i32.const 70000 drop ".repeat(120_000))),
            costly("largest function"),
        ),
        component(
            Components,
            "one large function with many locals",
            || {
                let body = "i32.const 70000 drop ".repeat(60_000);
                named(&format!("(core module (func (local {}) {body}))", "i32 ".repeat(9)))
            },
            costly("largest function with locals"),
        ),
    ]
}

/// What is large together, or in layers.
fn layers() -> Vec<Probe> {
    let costly = |says| Unloaded("plugin_malformed", says);
    vec![
        component(
            Components,
            "a large function of many locals",
            || {
                named(&format!(
                    "(core module (func (local {}) {}))",
                    "i64 ".repeat(900),
                    "i32.const 70000 drop ".repeat(20_000)
                ))
            },
            costly("times its locals"),
        ),
        component(
            Components,
            "components in components",
            || text(&format!("{}{}", "(component ".repeat(40), ")".repeat(40))),
            costly("nesting"),
        ),
        component(
            Components,
            "a type that doubles forty times",
            || {
                let mut types = String::from("(type $t0 (tuple u8 u8))");
                for index in 1..40 {
                    write!(types, "(type $t{index} (tuple $t{} $t{}))", index - 1, index - 1).unwrap();
                }
                named(&types)
            },
            costly(""),
        ),
        component(
            Components,
            "a hundred thousand blocks in each other",
            || named(&format!("(core module (func {} {}))", "block ".repeat(80_000), "end ".repeat(80_000))),
            Unloaded("plugin_", ""),
        ),
    ]
}

/// A module with one function of this body.
fn core_with(body: &[u8]) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module.extend([1, 4, 1, 0x60, 0, 0]);
    module.extend([3, 2, 1, 0]);
    let size = u8::try_from(body.len()).unwrap();
    module.extend([10, size + 2, 1, size]);
    module.extend(body);
    module
}

/// A component around a module.
fn wrapped(module: &[u8]) -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    bytes.extend([1, u8::try_from(module.len()).unwrap()]);
    bytes.extend(module);
    bytes
}

fn kinds() -> Vec<Probe> {
    vec![
        component(Kinds, "an empty component", || text("(component)"), Unloaded("plugin_kind", "no Cofferdam plugin")),
        component(
            Kinds,
            "a tool that does not say who it is",
            || text(r#"(component (instance $i) (export "cofferdam:tool/tool@0.1.0" (instance $i)))"#),
            Unloaded("plugin_kind", "does not export"),
        ),
        component(
            Kinds,
            "a kind that there is not",
            || {
                text(
                    r#"(component (instance $i) (export "cofferdam:plugin/lifecycle@0.1.0" (instance $i))
                    (export "cofferdam:engine/engine@0.1.0" (instance $i)))"#,
                )
            },
            Unloaded("plugin_kind", ""),
        ),
        component(
            Kinds,
            "another version of a kind",
            || {
                text(
                    r#"(component (instance $i) (export "cofferdam:plugin/lifecycle@0.1.0" (instance $i))
                    (export "cofferdam:tool/tool@0.2.0" (instance $i)))"#,
                )
            },
            Unloaded("plugin_version", "wants `cofferdam:tool/tool@0.2.0`, and this host serves 0.1.0"),
        ),
        component(Kinds, "the right names with nothing behind them", || named(""), Unloaded("plugin_interface", "")),
        component(
            Kinds,
            "a transform that wants the network",
            || {
                text(
                    r#"(component (import "cofferdam:host/http@0.1.0" (instance)) (instance $i)
                    (export "cofferdam:plugin/lifecycle@0.1.0" (instance $i))
                    (export "cofferdam:transform/transform@0.1.0" (instance $i)))"#,
                )
            },
            Unloaded("plugin_kind", "may use `log` and `config` only"),
        ),
        component(
            Kinds,
            "an export that is a function",
            || {
                text(
                    r#"(component (core module $m (func (export "f"))) (core instance $c (instantiate $m))
                    (func $f (canon lift (core func $c "f"))) (instance $i)
                    (export "cofferdam:plugin/lifecycle@0.1.0" (instance $i)) (export "cofferdam:tool/tool@0.1.0" (func $f)))"#,
                )
            },
            Unloaded("plugin_", ""),
        ),
    ]
}
