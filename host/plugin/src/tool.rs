//! A loaded plugin as a source of tools: the port on one side, instances on the other.
//!
//! It must not know how a plugin was found or compiled, and it decides no permission.

use crate::about::About;
use crate::bindings::cofferdam::types::common::{CallContext, Payload};
use crate::bindings::exports::cofferdam::tool::tool::ToolOutput as GuestOutput;
use crate::failure::{Culprit, Failure};
use crate::frozen::Frozen;
use crate::host::Core;
use crate::instance::{Call, Ended, Identity, Invocation};
use crate::limit::{Limit, size};
use crate::manifest::{Capability, Manifest};
use crate::scan::Interpreter;
use crate::worlds::Worlds;
use cofferdam_core::event::PluginPin;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{Alias, LocalName};
use cofferdam_core::policy::{Grants, Method, PluginKind, PluginLimits, Trust};
use cofferdam_core::port::{BlobId, BoxFuture, Clock, Effects, Tool, ToolContext, ToolDefinition, ToolOutput};
use cofferdam_core::schema::{self, Checker};
use cofferdam_core::value;
use serde_json::{Value, json};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A component that was checked, compiled and asked what it is. Cheap to share.
pub struct LoadedPlugin {
    pub(crate) core: Arc<Core>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) identity: Arc<Identity>,
    /// The same plugin as a transform or condition: nothing is granted to it, and its bounds are lower.
    pub(crate) pure: Arc<Identity>,
    /// The same plugin as what stays up: its grants hold, and its bounds are wider.
    pub(crate) warm: Arc<Identity>,
    pub(crate) worlds: Worlds,
    pub(crate) manifest: Manifest,
    pub(crate) about: About,
    /// The bounds that the user gave.
    pub(crate) asked: PluginLimits,
    source: String,
    /// What the user believes of it.
    trust: Trust,
    definitions: Vec<ToolDefinition>,
    /// Compiled when first needed: most runs use few of the tools that they load.
    outputs: Vec<OnceLock<Option<Checker>>>,
}

/// The parts of a loaded plugin.
pub(crate) struct Parts {
    pub(crate) core: Arc<Core>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) pure: Arc<Identity>,
    pub(crate) warm: Arc<Identity>,
    pub(crate) worlds: Worlds,
    pub(crate) manifest: Manifest,
    pub(crate) about: About,
    pub(crate) asked: PluginLimits,
    pub(crate) source: String,
    pub(crate) trust: Trust,
}

impl fmt::Debug for LoadedPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoadedPlugin({}, {})", self.identity.alias, self.identity.digest)
    }
}

impl LoadedPlugin {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { core, clock, identity, pure, warm, worlds, manifest, about, asked, source, trust } = parts;
        let mut definitions = about.tools.clone();
        for definition in &mut definitions {
            definition.effects = believable(definition.effects, &identity.rights.granted, trust);
        }
        let outputs = definitions.iter().map(|_| OnceLock::new()).collect();
        Self { core, clock, identity, pure, warm, worlds, manifest, about, asked, source, trust, definitions, outputs }
    }

    /// What documents call it.
    #[must_use]
    pub fn alias(&self) -> &Alias {
        &self.identity.alias
    }

    /// The digest of its component.
    #[must_use]
    pub fn digest(&self) -> crate::Digest {
        self.identity.digest
    }

    /// Whether it can be used as this.
    #[must_use]
    pub fn is(&self, kind: PluginKind) -> bool {
        self.manifest.is(kind)
    }

    /// What it says about itself.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The interfaces that it wants and offers, with their versions, without what every language's standard library
    /// imports.
    #[must_use]
    pub fn interfaces(&self) -> Vec<String> {
        let imports = self.manifest.imports.iter().filter(|import| import.capability != Capability::Baseline);
        let mut names: Vec<String> = imports.map(|import| import.interface.clone()).collect();
        names.extend(self.manifest.exports.iter().cloned());
        names.sort();
        names
    }

    /// What it may do, one line a capability, and what is believed of it.
    #[must_use]
    pub fn granted(&self) -> Vec<String> {
        self.identity.rights.granted.explain().into_iter().chain(self.trust.explain()).collect()
    }

    /// What a run records of it.
    #[must_use]
    pub fn pin(&self) -> PluginPin {
        PluginPin {
            alias: self.identity.alias.to_string(),
            source: self.source.clone(),
            digest: self.identity.digest.hex(),
            name: format!("{} {}", self.about.id, self.about.version),
            granted: self.granted(),
        }
    }

    async fn run(&self, ctx: ToolContext, name: &LocalName, args: &Value) -> Result<ToolOutput, Fault> {
        let Some(index) = self.definitions.iter().position(|definition| definition.name == *name) else {
            let message = format!("plugin `{}` has no tool `{name}`", self.identity.alias);
            return Err(Fault::step("unknown_tool", message));
        };
        let events = Arc::clone(&ctx.events);
        let (answer, denials) = match self.enter(ctx, name, args).await {
            Ok(Ended { answer, denials }) => (answer, denials),
            Err(failure) => (Err(failure), Vec::new()),
        };
        let failure = match answer.and_then(|output| self.output(index, output)) {
            Ok(output) => return Ok(output),
            Err(failure) => self.identity.services.told(failure),
        };
        let culprit = Culprit { alias: &self.identity.alias, digest: self.identity.digest, function: name.as_str() };
        let fault = culprit.fault(&failure, &denials);
        if failure.is_misconduct() {
            events.observe(self.identity.failed(&fault));
        }
        Err(fault)
    }

    /// Hands the call over to the guests' threads and waits for it.
    async fn enter(&self, ctx: ToolContext, name: &LocalName, args: &Value) -> Result<Ended<GuestOutput>, Failure> {
        let Some(world) = self.worlds.tool.clone() else {
            return Err(Failure::Refused("it is no tool".to_owned()));
        };
        let args = args.to_string();
        let bound = size(self.identity.limits.payload_bytes);
        if args.len() > bound {
            return Err(Failure::Refused(format!("its arguments have more than {}", crate::limit::Bytes(bound))));
        }
        let now = self.clock.now();
        let left = ctx.deadline.map_or(Duration::MAX, |deadline| deadline.since(now));
        let allowed = self.identity.limits.wall.min(left);
        let deadline = now.after(allowed);
        let context = CallContext {
            run_id: ctx.run_id.to_string(),
            step_path: ctx.path.to_string(),
            attempt: ctx.attempt,
            idempotency_key: ctx.idempotency_key.to_string(),
            deadline: u64::try_from(deadline.as_millis()).unwrap_or(0),
            traceparent: String::new(),
            ext: Vec::new(),
        };
        // What a tool calls may be narrower than what a step calls: it gets an instance of its own.
        let in_step = self.manifest.interpreter.is_some_and(Interpreter::keeps_instance) && ctx.depth == 0;
        let kept = in_step.then(|| Arc::clone(&ctx.kept));
        let frozen = self.identity.services.observation.exact.then(|| Frozen::rehearsed(now, &ctx));
        let call = Call::new(Arc::clone(&self.identity), Some(ctx), allowed);
        let call = match frozen {
            Some(frozen) => call.repeatable(frozen),
            None => call,
        };
        let invocation = Invocation { context, name: name.to_string(), args };
        let (runtime, pace) = (&self.core.runtime, self.identity.services.share.pace());
        let task = match kept {
            Some(kept) => runtime.call(pace, world.call_in_step(call, invocation, kept)),
            None => runtime.call(pace, world.call(call, invocation)),
        };
        task.await.map_err(|panicked| Failure::Host(panicked.0))
    }

    /// Checks what came back, and turns it into the port's form.
    fn output(&self, index: usize, output: GuestOutput) -> Result<ToolOutput, Failure> {
        let bound = size(self.identity.limits.payload_bytes);
        let summary = output.summary.filter(|text| !text.is_empty());
        let bytes = payload_bytes(&output.value).saturating_add(summary.as_ref().map_or(0, String::len));
        if bytes > bound {
            return Err(Failure::Limit(Limit::Result(bound)));
        }
        let (result, text) = match output.value {
            Payload::Json(text) => {
                let result =
                    value::parse(&text).map_err(|error| Failure::Lie(format!("its result cannot be read: {error}")))?;
                (result, None)
            }
            Payload::Text(text) => (Value::Null, Some(text)),
            Payload::Bytes(bytes) => match String::from_utf8(bytes) {
                Ok(text) => (Value::Null, Some(text)),
                Err(error) => (json!({ "base64": base64(error.as_bytes()) }), None),
            },
            // In the result, so that the record of the run has it: that is what keeps the blob.
            Payload::Blob(id) if BlobId::parse(&id).is_some() => (json!({ "blob": id }), None),
            Payload::Blob(_) => return Err(Failure::Lie("its result names a blob that cannot be one".to_owned())),
        };
        self.check_output(index, &result)?;
        let content = summary.or(text).map(|text| Arc::from(printable(&text)));
        Ok(ToolOutput { result: Arc::new(result), content })
    }

    fn check_output(&self, index: usize, result: &Value) -> Result<(), Failure> {
        let schema = self.definitions.get(index).and_then(|definition| definition.output_schema.as_ref());
        let (Some(schema), Some(slot)) = (schema, self.outputs.get(index)) else { return Ok(()) };
        let checker = slot.get_or_init(|| schema::compile(schema).ok());
        match checker.as_ref().and_then(|checker| checker.first_error(result)) {
            Some(error) => Err(Failure::Lie(format!("its result does not match its own output schema, {error}"))),
            None => Ok(()),
        }
    }
}

impl Tool for LoadedPlugin {
    fn definitions(&self) -> &[ToolDefinition] {
        &self.definitions
    }

    fn call<'a>(
        &'a self,
        ctx: ToolContext,
        name: &'a LocalName,
        args: Arc<Value>,
    ) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        Box::pin(async move { self.run(ctx, name, &args).await })
    }
}

/// Clears the claims that the grants could belie: of who can write it is not known that it only reads, nor that doing it twice
/// is doing it once, unless the user believes it.
fn believable(claimed: Effects, granted: &Grants, trust: Trust) -> Effects {
    let harmless = [Method::Get, Method::Head, Method::Options];
    let sends = granted.http.iter().flat_map(|grant| &grant.methods).any(|method| !harmless.contains(method));
    let changes = granted.fs.write
        || granted.fs.out
        || granted.fs.also.iter().any(|mount| mount.write)
        || granted.kv.is_some()
        || !granted.tools.is_empty()
        || sends;
    Effects {
        read_only: claimed.read_only && (trust.read_only || !changes),
        idempotent: claimed.idempotent && (trust.idempotent || !changes),
        destructive: claimed.destructive,
        open_world: claimed.open_world || !granted.http.is_empty(),
        stays_within: false,
        within_run: false,
    }
}

fn payload_bytes(payload: &Payload) -> usize {
    match payload {
        Payload::Json(text) | Payload::Text(text) | Payload::Blob(text) => text.len(),
        Payload::Bytes(bytes) => bytes.len(),
    }
}

/// Text without what moves a terminal's cursor; line ends and tabs stay.
fn printable(text: &str) -> String {
    text.chars().filter(|character| matches!(character, '\n' | '\t') || !character.is_control()).collect()
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS.get((bits >> (18 - 6 * place) & 63) as usize).copied().unwrap_or(b'=');
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::policy::FsGrant;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn who_may_write_is_not_believed_to_only_read_or_to_bear_repetition() {
        let claimed = Effects { read_only: true, idempotent: true, ..Effects::default() };
        let nothing = Trust::default();
        let harmless = believable(claimed, &Grants::default(), nothing);
        assert!(harmless.read_only && harmless.idempotent);
        let fs = FsGrant { read: true, out: true, ..FsGrant::default() };
        let writer = Grants { fs, ..Grants::default() };
        let written = believable(claimed, &writer, nothing);
        assert!(!written.read_only && !written.idempotent);
        let trusted = believable(claimed, &writer, Trust { idempotent: true, ..nothing });
        assert!(!trusted.read_only && trusted.idempotent);
        assert!(
            !believable(Effects::default(), &writer, Trust { idempotent: true, ..nothing }).idempotent,
            "it claims nothing"
        );
        let poster = Grants::parse(&json!({ "http": [{ "host": "example.com", "methods": ["POST"] }] })).unwrap();
        let effects = believable(claimed, &poster, nothing);
        assert!(!effects.read_only && !effects.idempotent && effects.open_world);
    }
}
