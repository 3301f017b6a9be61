//! The limits of a call into a plugin: the host's table by kind, and what a plugin reference may lower.
//!
//! It must not enforce anything: the plugin host and the egress read the table.

use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::PolicyError;
use super::reader::Reader;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The roles that a component can play.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginKind {
    /// Tools that steps and models call.
    Tool,
    /// Rewrites lists of items.
    Transform,
    /// Decides whether a step runs.
    Condition,
    /// Keeps journals.
    Storage,
    /// Receives events.
    Sink,
    /// Answers as a model.
    Model,
    /// Finds remembered text.
    Recall,
}

/// The limits of one instance or call, by kind. Sizes are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct KindLimits {
    /// Linear memory, summed over the component's memories.
    pub memory_bytes: u64,
    /// Elements, summed over its tables.
    pub table_elements: u64,
    /// Core instances inside the component.
    pub core_instances: u32,
    /// Number of memories.
    pub memories: u32,
    /// Number of tables.
    pub tables: u32,
    /// Wall-clock time of a call; written in milliseconds.
    #[serde(rename = "wall_ms", serialize_with = "as_millis")]
    pub wall: Duration,
    /// Fuel of a call on the metered engine; none where only the clock counts.
    pub fuel: Option<u64>,
    /// Bytes copied from guest to host in a call.
    pub hostcall_bytes: u64,
    /// Largest argument, result or batch.
    pub payload_bytes: u64,
    /// Handles in the component's tables, and entries in the host's resource table.
    pub handles: u32,
    /// Http limits; none where http cannot be granted.
    pub http: Option<HttpLimits>,
    /// Captured from stdout, and again from stderr; more is counted only. Zero: both are closed.
    pub output_bytes: u64,
    /// Size of the component file.
    pub component_bytes: u64,
    /// How deep `tools.invoke` may nest; zero where it cannot be granted.
    pub invoke_depth: u32,
}

/// The limits of `http.fetch` in one call of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HttpLimits {
    /// Requests, redirects not counted.
    pub calls: u32,
    /// Requests at one time.
    pub concurrent: u32,
    /// Bytes of a response's body after inflation, and of a request's body.
    pub body_bytes: u64,
    /// Redirects that are followed for one request.
    pub redirects: u32,
}

const TOOL: KindLimits = KindLimits {
    memory_bytes: 64 * MIB,
    table_elements: 20_000,
    core_instances: 32,
    memories: 8,
    tables: 16,
    wall: Duration::from_secs(30),
    fuel: None,
    hostcall_bytes: 16 * MIB,
    payload_bytes: 4 * MIB,
    handles: 256,
    http: Some(HttpLimits { calls: 32, concurrent: 4, body_bytes: 10 * MIB, redirects: 3 }),
    output_bytes: 64 * KIB,
    component_bytes: 64 * MIB,
    invoke_depth: 4,
};

const PURE: KindLimits = KindLimits {
    memory_bytes: 32 * MIB,
    wall: Duration::from_secs(2),
    fuel: Some(2_000_000_000),
    payload_bytes: 16 * MIB,
    handles: 64,
    http: None,
    output_bytes: 0,
    component_bytes: 8 * MIB,
    invoke_depth: 0,
    ..TOOL
};

const WARM: KindLimits =
    KindLimits { memory_bytes: 256 * MIB, hostcall_bytes: 64 * MIB, payload_bytes: 16 * MIB, invoke_depth: 0, ..TOOL };

impl PluginKind {
    /// The host's limits for this kind.
    #[must_use]
    pub const fn limits(self) -> KindLimits {
        match self {
            Self::Tool => TOOL,
            Self::Transform | Self::Condition => PURE,
            Self::Storage | Self::Sink | Self::Model | Self::Recall => WARM,
        }
    }
}

/// What a plugin reference asks to lower: `limits: {memory: 64MiB, wall: 30s}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PluginLimits {
    /// Linear memory in bytes.
    #[serde(rename = "memory", skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Wall-clock time of a call; written as `1500ms`.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub wall: Option<Duration>,
    /// Fuel of a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
}

impl PluginLimits {
    /// Reads the table. Sizes are bytes or `64MiB`; durations are `30s`, `1m30s`, `500ms`.
    ///
    /// # Errors
    /// Every fault found, with its path in the table. Unknown keys are faults.
    pub fn parse(table: &Value) -> Result<Self, Vec<PolicyError>> {
        let mut reader = Reader::default();
        let mut limits = Self::default();
        if !table.is_null()
            && let Some(map) = reader.table("", table, &["memory", "wall", "fuel"])
        {
            limits.memory_bytes = map.get("memory").and_then(|value| size(&mut reader, "memory", value));
            limits.wall = map.get("wall").and_then(|value| duration(&mut reader, "wall", value));
            limits.fuel = map.get("fuel").and_then(|value| fuel(&mut reader, value));
        }
        if reader.errors.is_empty() { Ok(limits) } else { Err(reader.errors) }
    }

    /// The limits that hold for a plugin of a kind: these, where they are lower than the host's.
    ///
    /// # Errors
    /// One fault for each value above the host's: a reference may only lower.
    pub fn apply(&self, kind: PluginKind) -> Result<KindLimits, Vec<PolicyError>> {
        let host = kind.limits();
        let mut errors = Vec::new();
        let mut raise = |path: &str, asked: String, most: String| {
            let error = PolicyError::new(path, format!("`{asked}` is above the host's limit of `{most}`"));
            errors.push(error.with_hint("a plugin's limits can only be lowered here"));
        };
        let mut limits = host;
        if let Some(memory) = self.memory_bytes {
            limits.memory_bytes = memory;
            if memory > host.memory_bytes {
                raise("memory", print_size(memory), print_size(host.memory_bytes));
            }
        }
        if let Some(wall) = self.wall {
            limits.wall = wall;
            if wall > host.wall {
                raise("wall", format!("{wall:?}"), format!("{:?}", host.wall));
            }
        }
        if let Some(fuel) = self.fuel {
            limits.fuel = Some(fuel);
            match host.fuel {
                Some(most) if fuel > most => raise("fuel", fuel.to_string(), most.to_string()),
                Some(_) => {}
                None => errors.push(PolicyError::new("fuel", "only transforms and conditions are metered by fuel")),
            }
        }
        if errors.is_empty() { Ok(limits) } else { Err(errors) }
    }
}

fn size(reader: &mut Reader, path: &str, value: &Value) -> Option<u64> {
    let parsed = value.as_u64().or_else(|| value.as_str().and_then(parse_size)).filter(|size| *size > 0);
    parsed.or_else(|| {
        reader.fail_with(
            path,
            format!("{value} is not a size"),
            "write bytes or a whole number of `KiB`, `MiB` or `GiB`: `64MiB`",
        )
    })
}

fn duration(reader: &mut Reader, path: &str, value: &Value) -> Option<Duration> {
    let parsed = value.as_str().and_then(parse_duration).filter(|wall| !wall.is_zero());
    parsed.or_else(|| reader.fail_with(path, format!("{value} is not a duration"), "write `30s`, `1m30s` or `500ms`"))
}

fn fuel(reader: &mut Reader, value: &Value) -> Option<u64> {
    let parsed = value.as_u64().filter(|fuel| *fuel > 0);
    parsed.or_else(|| reader.fail("fuel", format!("{value} is not a number of instructions")))
}

fn parse_size(text: &str) -> Option<u64> {
    let split = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor = match unit {
        "" => 1,
        "KiB" => KIB,
        "MiB" => MIB,
        "GiB" => 1024 * MIB,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn print_size(bytes: u64) -> String {
    match bytes {
        whole if whole % MIB == 0 => format!("{}MiB", whole / MIB),
        whole if whole % KIB == 0 => format!("{}KiB", whole / KIB),
        bytes => format!("{bytes} bytes"),
    }
}

/// `1h2m3s4ms`, each part optional, in this order.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total_ms: u64 = 0;
    let mut parts = 0;
    // Units are compared whole, so that `5ms` is not five minutes.
    for (unit, factor) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        let split = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, tail) = rest.split_at(split);
        let end = tail.find(|letter: char| letter.is_ascii_digit()).unwrap_or(tail.len());
        let (found, tail) = tail.split_at(end);
        if found == unit {
            total_ms = total_ms.checked_add(digits.parse::<u64>().ok()?.checked_mul(factor)?)?;
            rest = tail;
            parts += 1;
        }
    }
    (parts > 0 && rest.is_empty()).then(|| Duration::from_millis(total_ms))
}

fn millis(wall: Duration) -> u64 {
    u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)
}

fn as_millis<S: Serializer>(wall: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(millis(*wall))
}

fn as_text<S: Serializer>(wall: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}ms", millis(wall.unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_are_read_with_units() {
        let limits = PluginLimits::parse(&json!({ "memory": "32MiB", "wall": "1m30s", "fuel": 5 })).unwrap();
        assert_eq!(limits.memory_bytes, Some(32 * MIB));
        assert_eq!(limits.wall, Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("1h2m3s4ms"), Some(Duration::from_millis(3_723_004)));
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        let again = PluginLimits::parse(&serde_json::to_value(limits).unwrap());
        assert_eq!(again, Ok(limits));
    }

    #[test]
    fn every_fault_is_reported_with_its_place() {
        let errors =
            PluginLimits::parse(&json!({ "memroy": 1, "memory": "64 MB", "wall": 30, "fuel": -1 })).unwrap_err();
        let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(paths, ["memroy", "memory", "wall", "fuel"]);
        assert_eq!(errors[0].hint.as_deref(), Some("did you mean `memory`?"));
        let short = PluginLimits::parse(&json!({ "mem": 1 })).unwrap_err();
        assert_eq!(short[0].hint.as_deref(), Some("did you mean `memory`?"));
        for bad in ["", "s", "5", "5x", "3s2m", "1m1m", "99999999999999999999h", "18446744073709551615h"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_reference_may_lower_but_not_raise() {
        let lower = PluginLimits { memory_bytes: Some(MIB), wall: Some(Duration::from_secs(1)), fuel: None };
        let applied = lower.apply(PluginKind::Tool).unwrap();
        assert_eq!((applied.memory_bytes, applied.wall), (MIB, Duration::from_secs(1)));
        let higher = PluginLimits { memory_bytes: Some(65 * MIB), wall: Some(Duration::from_secs(31)), fuel: Some(1) };
        let errors = higher.apply(PluginKind::Tool).unwrap_err();
        assert_eq!(errors.len(), 3);
        assert_eq!(errors[0].message, "`65MiB` is above the host's limit of `64MiB`");
        assert_eq!(PluginLimits::default().apply(PluginKind::Sink), Ok(PluginKind::Sink.limits()));
    }
}
