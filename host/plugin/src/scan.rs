//! Looks at a component before anything expensive is done with it: what it imports and exports, and whether it
//! would cost too much to compile.
//!
//! It must not compile, and it trusts nothing: whatever it lets pass, the compiler validates again.

use cofferdam_core::limits;
use serde::{Deserialize, Serialize};
use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentExternName, CustomSectionReader, Encoding, FunctionBody, KnownCustom,
    Name, NameSectionReader, Parser, Payload, ProducersSectionReader,
};

/// What a component says about itself in its outermost sections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outline {
    /// Names of imported instances and functions, in order.
    pub(crate) imports: Vec<String>,
    /// Names of exported instances and functions, in order.
    pub(crate) exports: Vec<String>,
    /// What its code is for, if it brings an interpreter along.
    pub(crate) interpreter: Option<Interpreter>,
}

/// A language whose interpreter is part of the component. It says so itself; nothing that protects anybody depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Interpreter {
    /// Made by componentize-js, which writes its name into the component's `producers` section.
    JavaScript,
    /// Made by componentize-py: a part of it is the library `libpython`.
    Python,
}

impl Interpreter {
    /// The language's name, for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::JavaScript => "JavaScript",
            Self::Python => "Python",
        }
    }

    /// Whether an instance serves all calls of one try of a step.
    #[must_use]
    pub fn keeps_instance(self) -> bool {
        self == Self::JavaScript
    }
}

/// Why a component is refused without being compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// Something else altogether.
    #[error("it is not WebAssembly")]
    NotWasm,
    /// Component text instead of its binary form.
    #[error("it is WebAssembly text; a plugin is the binary form")]
    Text,
    /// A module without the component around it.
    #[error("it is a core WebAssembly module, not a component")]
    CoreModule,
    /// It ends too early or does not parse.
    #[error("it is malformed or cut off: {message} (at byte {offset:#x})")]
    Malformed {
        /// What the parser said.
        message: String,
        /// Where.
        offset: usize,
    },
    /// Compiling it would cost more than any honest plugin does.
    #[error("its {what} would cost too much to compile: {found}, and at most {allowed} is allowed")]
    TooCostly {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// How much is allowed.
        allowed: u64,
    },
    /// A string encoding whose transcoding had faults in the engine.
    #[error("it asks for {0} strings; only utf-8 is accepted")]
    StringEncoding(&'static str),
}

impl ScanError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::CoreModule => Some("build it for the target `wasm32-wasip2`, which makes a component"),
            Self::Text => Some("translate it with `wasm-tools parse`"),
            Self::NotWasm => Some("name the built `.wasm` file"),
            Self::Malformed { .. } => Some("build or download it again"),
            Self::TooCostly { .. } | Self::StringEncoding(_) => None,
        }
    }
}

/// Reads the whole component once.
pub(crate) fn scan(bytes: &[u8]) -> Result<Outline, ScanError> {
    check_header(bytes)?;
    let mut scan = Scan::default();
    for payload in Parser::new(0).parse_all(bytes) {
        scan.payload(payload.map_err(|error| malformed(&error))?)?;
    }
    Ok(scan.outline)
}

fn check_header(bytes: &[u8]) -> Result<(), ScanError> {
    if !bytes.starts_with(b"\0asm") {
        let text = bytes.trim_ascii_start();
        return Err(if text.starts_with(b"(") || text.starts_with(b";;") {
            ScanError::Text
        } else {
            ScanError::NotWasm
        });
    }
    match bytes.get(4..8) {
        Some([1, 0, 0, 0]) => Err(ScanError::CoreModule),
        Some([_, _, 1, 0]) => Ok(()),
        Some(_) => Err(ScanError::Malformed { message: "unknown version of WebAssembly".to_owned(), offset: 4 }),
        None => Err(ScanError::Malformed { message: "unexpected end".to_owned(), offset: bytes.len() }),
    }
}

fn malformed(error: &wasmparser::BinaryReaderError) -> ScanError {
    ScanError::Malformed { message: error.message().to_owned(), offset: error.offset() }
}

fn bound(what: &'static str, found: u64, allowed: u64) -> Result<(), ScanError> {
    if found > allowed { Err(ScanError::TooCostly { what, found, allowed }) } else { Ok(()) }
}

#[derive(Default)]
struct Scan {
    depth: usize,
    functions: u64,
    outline: Outline,
}

impl Scan {
    fn payload(&mut self, payload: Payload<'_>) -> Result<(), ScanError> {
        match payload {
            Payload::Version { encoding, .. } => {
                if self.depth == 0 && encoding == Encoding::Module {
                    return Err(ScanError::CoreModule);
                }
                self.depth += 1;
                bound("nesting", self.depth as u64, limits::PLUGIN_COMPONENT_DEPTH as u64)
            }
            Payload::End(_) => {
                self.depth = self.depth.saturating_sub(1);
                Ok(())
            }
            Payload::CodeSectionStart { count, .. } => {
                self.functions = self.functions.saturating_add(u64::from(count));
                bound("number of functions", self.functions, limits::PLUGIN_FUNCTIONS as u64)
            }
            Payload::CodeSectionEntry(body) => check_body(&body),
            Payload::CustomSection(section) if self.outline.interpreter.is_none() => {
                self.outline.interpreter = interpreter(&section, self.depth);
                Ok(())
            }
            Payload::ComponentImportSection(section) if self.depth == 1 => {
                for import in section {
                    self.outline.imports.push(name(&import.map_err(|error| malformed(&error))?.name));
                    bound("list of imports", self.outline.imports.len() as u64, limits::PLUGIN_IMPORTS as u64)?;
                }
                Ok(())
            }
            Payload::ComponentExportSection(section) if self.depth == 1 => {
                for export in section {
                    self.outline.exports.push(name(&export.map_err(|error| malformed(&error))?.name));
                    bound("list of exports", self.outline.exports.len() as u64, limits::PLUGIN_IMPORTS as u64)?;
                }
                Ok(())
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section {
                    check_canonical(&function.map_err(|error| malformed(&error))?)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// What a custom section tells of it. One that does not parse tells nothing: nobody depends on it.
fn interpreter(section: &CustomSectionReader<'_>, depth: usize) -> Option<Interpreter> {
    match section.as_known() {
        KnownCustom::Producers(producers) if depth == 1 => made_by(producers),
        KnownCustom::Name(names) => named(names),
        _ => None,
    }
}

fn made_by(producers: ProducersSectionReader<'_>) -> Option<Interpreter> {
    let processed = producers.into_iter().filter_map(Result::ok).filter(|field| field.name == "processed-by");
    let mut tools = processed.flat_map(|field| field.values).filter_map(Result::ok);
    tools.any(|tool| tool.name == "ComponentizeJS").then_some(Interpreter::JavaScript)
}

fn named(names: NameSectionReader<'_>) -> Option<Interpreter> {
    // The name of a module is the first thing in its section.
    match names.into_iter().next()?.ok()? {
        Name::Module { name, .. } => name.starts_with("libpython").then_some(Interpreter::Python),
        _ => None,
    }
}

fn name(name: &ComponentExternName<'_>) -> String {
    name.name.to_owned()
}

fn check_body(body: &FunctionBody<'_>) -> Result<(), ScanError> {
    let bytes = body.range().len() as u64;
    bound("largest function", bytes, limits::PLUGIN_PLAIN_FUNCTION_BYTES)?;
    let mut locals: u64 = 0;
    for group in body.get_locals_reader().map_err(|error| malformed(&error))? {
        let (count, _) = group.map_err(|error| malformed(&error))?;
        locals = locals.saturating_add(u64::from(count));
        bound("function with the most locals", locals, limits::PLUGIN_FUNCTION_LOCALS)?;
    }
    if locals > limits::PLUGIN_PLAIN_FUNCTION_LOCALS {
        bound("largest function with locals", bytes, limits::PLUGIN_FUNCTION_BYTES)?;
    }
    bound("largest function times its locals", bytes.saturating_mul(locals), limits::PLUGIN_FUNCTION_WEIGHT)
}

fn check_canonical(function: &CanonicalFunction) -> Result<(), ScanError> {
    let (CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. }) = function else {
        return Ok(());
    };
    for option in options {
        match option {
            CanonicalOption::UTF16 => return Err(ScanError::StringEncoding("utf-16")),
            CanonicalOption::CompactUTF16 => return Err(ScanError::StringEncoding("latin1+utf-16")),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan_text(text: &str) -> Result<Outline, ScanError> {
        scan(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn only_the_outermost_names_count() {
        let outline = scan_text(
            r#"(component
                (import "a:b/c@0.1.0" (instance))
                (component $inner (import "hidden" (instance)))
                (instance $i)
                (export "d:e/f@0.1.0" (instance $i)))"#,
        );
        let (imports, exports) = (vec!["a:b/c@0.1.0".to_owned()], vec!["d:e/f@0.1.0".to_owned()]);
        let expected = Outline { imports, exports, interpreter: None };
        assert_eq!(outline, Ok(expected));
    }

    #[test]
    fn what_is_not_a_component_is_named() {
        assert_eq!(scan(b"hello"), Err(ScanError::NotWasm));
        assert_eq!(scan(b""), Err(ScanError::NotWasm));
        assert_eq!(scan(b"(component)"), Err(ScanError::Text));
        assert_eq!(scan_text("(module)"), Err(ScanError::CoreModule));
        assert!(matches!(scan(b"\0asm"), Err(ScanError::Malformed { .. })));
        assert!(matches!(scan(b"\0asm\xff\0\x02\0"), Err(ScanError::Malformed { .. })));
    }

    #[test]
    fn a_cut_is_found_wherever_it_is() {
        let whole =
            wat::parse_str(r#"(component (core module (func (export "f"))) (import "a:b/c" (instance)))"#).unwrap();
        for end in 8..whole.len() {
            let cut = whole.get(..end).unwrap();
            // A cut between two sections is a smaller component, and not for the parser to notice.
            if let Err(error) = scan(cut) {
                assert!(matches!(error, ScanError::Malformed { .. }), "{error} at {end}");
            }
        }
        assert!(scan(whole.get(..whole.len() - 1).unwrap()).is_err());
    }

    #[test]
    fn bombs_are_refused_before_they_are_compiled() {
        let locals = format!("(component (core module (func (local {}))))", "i64 ".repeat(1001));
        assert!(matches!(scan_text(&locals), Err(ScanError::TooCostly { found: 1001, .. })));
        let body = |locals: &str, times: usize| {
            format!("(component (core module (func {locals} {})))", "i32.const 70000 drop ".repeat(times))
        };
        let what = |text: &str| match scan_text(text) {
            Err(ScanError::TooCostly { what, .. }) => what,
            _ => "nothing",
        };
        let (few, many) = ("(local i32)", "(local i32 i32 i32 i32 i32 i32 i32 i32 i32)");
        assert_eq!(what(&body(few, 60_000)), "nothing");
        assert_eq!(what(&body(few, 120_000)), "largest function");
        assert_eq!(what(&body(many, 60_000)), "largest function with locals");
        let many = format!("(component (core module {}))", "(func)".repeat(50_001));
        assert!(matches!(scan_text(&many), Err(ScanError::TooCostly { found: 50_001, .. })));
        let mut deep = String::new();
        for _ in 0..40 {
            deep.push_str("(component ");
        }
        deep.push_str(&")".repeat(40));
        assert!(matches!(scan_text(&deep), Err(ScanError::TooCostly { what: "nesting", .. })));
    }

    #[test]
    fn an_interpreter_is_known_by_who_made_the_component() {
        let producers = |field: &str, tool: &str| {
            let text = |text: &str| format!("\\{:02x}{text}", text.len());
            let section = format!("\\01{}\\01{}{}", text(field), text(tool), text("1"));
            format!(r#"(@custom "producers" "{section}")"#)
        };
        let js = producers("processed-by", "ComponentizeJS");
        let of = |text: &str| scan_text(text).unwrap().interpreter;
        assert_eq!(of(&format!("(component {js})")), Some(Interpreter::JavaScript));
        assert_eq!(of(&format!("(component {})", producers("language", "ComponentizeJS"))), None);
        assert_eq!(of(&format!("(component {})", producers("processed-by", "rustc"))), None);
        // What a part was made by, the whole was not.
        assert_eq!(of(&format!("(component (component {js}))")), None);
        assert_eq!(of("(component (core module $libpython3.14.so))"), Some(Interpreter::Python));
        assert_eq!(of("(component (core module $other))"), None);
    }

    #[test]
    fn other_string_encodings_are_refused() {
        let text = r#"(component
            (core module $m (memory (export "m") 1) (func (export "f") (result i32) i32.const 0)
              (func (export "r") (param i32 i32 i32 i32) (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            (func (export "f") (result string)
              (canon lift (core func $i "f") string-encoding=utf16 (memory (core memory $i "m")))))"#;
        assert_eq!(scan_text(text), Err(ScanError::StringEncoding("utf-16")));
        let latin = text.replace("utf16", "latin1+utf16");
        assert_eq!(scan_text(&latin), Err(ScanError::StringEncoding("latin1+utf-16")));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = scan(&bytes);
            let mut component = b"\0asm\x0d\0\x01\0".to_vec();
            component.extend(bytes);
            let _ = scan(&component);
        }
    }
}
