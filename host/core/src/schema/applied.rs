//! How often the schemas inside a schema are applied to a value: the work of a check, counted before it is done.
//!
//! A few lines can name each other so that eight ways at each of ten levels are a thousand million applications. The
//! count follows references once and adds up what it knows, so that counting is not what it guards against.

use super::{REFERENCES, SchemaError};
use crate::{limits, text};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Keywords whose schemas apply to the same value, so that a loop through them never ends.
const IN_PLACE: [&str; 4] = ["not", "if", "then", "else"];
const IN_PLACE_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const IN_PLACE_MAPS: [&str; 2] = ["dependentSchemas", "dependencies"];

type Index = usize;

/// One schema inside a schema, and the schemas that it applies.
#[derive(Debug, Default)]
struct Part {
    /// To the same value.
    in_place: Vec<Index>,
    /// To a member or item; of each list one at a time.
    one_of: Vec<Vec<Index>>,
    /// To a member or item, beside the others.
    beside: Vec<Index>,
    /// Whether what was evaluated is found out for each member again.
    looks_back: bool,
}

impl Part {
    fn all(&self) -> impl Iterator<Item = Index> {
        self.in_place.iter().chain(self.one_of.iter().flatten()).chain(&self.beside).copied()
    }
}

/// The schemas inside a schema, the root first.
#[derive(Debug)]
pub(super) struct Applied {
    parts: Vec<Part>,
    /// Each after those that it applies to the same value.
    order: Vec<Index>,
}

impl Applied {
    /// Follows a schema, each part once.
    pub(super) fn of(root: &Value) -> Result<Self, SchemaError> {
        let parts = Walk::over(root)?;
        let order = sinks_first(&parts, |part| part.in_place.clone());
        if order.len() < parts.len() {
            return Err(SchemaError::Endless(circle(root, &parts, &order)));
        }
        let applied = Self { parts, order };
        applied.check_size()?;
        Ok(applied)
    }

    /// Refuses what is too large with every reference written out. What contains itself has no such size; each value
    /// that is checked against it is counted with it.
    fn check_size(&self) -> Result<(), SchemaError> {
        let mut sizes = vec![0_u64; self.parts.len()];
        for index in sinks_first(&self.parts, |part| part.all().collect()) {
            let Some(part) = self.parts.get(index) else { continue };
            let size = part.all().fold(1_u64, |sum, inner| sum.saturating_add(of(&sizes, inner)));
            if size > limits::SCHEMA_EXPANDED {
                return Err(SchemaError::TooWide);
            }
            if let Some(slot) = sizes.get_mut(index) {
                *slot = size;
            }
        }
        Ok(())
    }

    /// The most applications that checking this value may take.
    pub(super) fn work(&self, value: &Value) -> u64 {
        let shape = Shape::of(value);
        let mut deeper = vec![0_u64; self.parts.len()];
        for _ in 0..=shape.depth {
            deeper = self.level(&deeper, shape.width);
        }
        of(&deeper, 0).saturating_mul(shape.nodes)
    }

    /// What each part costs on a value whose members cost `deeper`.
    fn level(&self, deeper: &[u64], width: u64) -> Vec<u64> {
        let mut here = vec![0_u64; self.parts.len()];
        for &index in &self.order {
            let Some(part) = self.parts.get(index) else { continue };
            let mut cost = 1_u64;
            cost = part.in_place.iter().fold(cost, |sum, &inner| sum.saturating_add(of(&here, inner)));
            if part.looks_back {
                cost = cost.saturating_mul(width.saturating_add(1));
            }
            cost = part.beside.iter().fold(cost, |sum, &inner| sum.saturating_add(of(deeper, inner)));
            for list in &part.one_of {
                cost = cost.saturating_add(list.iter().map(|&inner| of(deeper, inner)).max().unwrap_or(0));
            }
            if let Some(slot) = here.get_mut(index) {
                *slot = cost;
            }
        }
        here
    }
}

fn of(costs: &[u64], index: Index) -> u64 {
    costs.get(index).copied().unwrap_or(0)
}

/// The parts, each after those that it leads to; those that lead into a circle are left out.
fn sinks_first(parts: &[Part], leads_to: impl Fn(&Part) -> Vec<Index>) -> Vec<Index> {
    let mut waiting: Vec<usize> = Vec::with_capacity(parts.len());
    let mut led_from: Vec<Vec<Index>> = vec![Vec::new(); parts.len()];
    for (index, part) in parts.iter().enumerate() {
        let targets = leads_to(part);
        waiting.push(targets.len());
        targets.iter().filter_map(|&target| led_from.get_mut(target).map(|from| from.push(index))).for_each(drop);
    }
    let mut order: Vec<Index> = (0..parts.len()).filter(|&index| waiting.get(index) == Some(&0)).collect();
    let mut done = 0;
    while let Some(&index) = order.get(done) {
        done += 1;
        for &from in led_from.get(index).into_iter().flatten() {
            let Some(left) = waiting.get_mut(from) else { continue };
            *left -= 1;
            if *left == 0 {
                order.push(from);
            }
        }
    }
    order
}

/// The reference that closes a circle, for the message.
fn circle(root: &Value, parts: &[Part], order: &[Index]) -> String {
    let mut is_left = vec![true; parts.len()];
    order.iter().filter_map(|&index| is_left.get_mut(index).map(|left| *left = false)).for_each(drop);
    // From any part that is left, as many steps as there are parts end inside of the circle.
    let mut at = is_left.iter().position(|&left| left).unwrap_or(0);
    let onward = |at: Index| {
        let inner = parts.get(at)?.in_place.iter().copied();
        inner.into_iter().find(|&inner| is_left.get(inner) == Some(&true))
    };
    for _ in 0..parts.len() {
        at = onward(at).unwrap_or(at);
    }
    let found = Walk::schemas(root);
    for _ in 0..parts.len() {
        let reference = found.get(at).and_then(|schema| REFERENCES.iter().find_map(|key| schema.get(*key)?.as_str()));
        if let Some(target) = reference {
            return text::clean_to(target, 200);
        }
        at = onward(at).unwrap_or(at);
    }
    "#".to_owned()
}

/// What of a value decides on the work.
struct Shape {
    nodes: u64,
    depth: u64,
    width: u64,
}

impl Shape {
    fn of(value: &Value) -> Self {
        let mut shape = Self { nodes: 0, depth: 0, width: 0 };
        shape.add(value, 0);
        shape
    }

    fn add(&mut self, value: &Value, depth: u64) {
        self.nodes += 1;
        self.depth = self.depth.max(depth);
        match value {
            Value::Array(items) => {
                self.width = self.width.max(items.len() as u64);
                items.iter().for_each(|item| self.add(item, depth + 1));
            }
            Value::Object(map) => {
                self.width = self.width.max(map.len() as u64);
                // Names are values too, for `propertyNames`.
                self.nodes += map.len() as u64;
                self.depth = self.depth.max(depth + u64::from(!map.is_empty()));
                map.values().for_each(|item| self.add(item, depth + 1));
            }
            _ => {}
        }
    }
}

/// Finds every part, each once.
struct Walk<'v> {
    root: &'v Value,
    anchors: BTreeMap<&'v str, &'v Value>,
    /// By address, while the schema is borrowed: a part is the same part by whatever name it is reached.
    known: BTreeMap<*const Value, Index>,
    found: Vec<&'v Value>,
    broken: Option<SchemaError>,
}

impl<'v> Walk<'v> {
    fn over(root: &'v Value) -> Result<Vec<Part>, SchemaError> {
        let mut walk = Self::start(root);
        let parts = walk.run();
        walk.broken.map_or(Ok(parts), Err)
    }

    fn schemas(root: &'v Value) -> Vec<&'v Value> {
        let mut walk = Self::start(root);
        walk.run();
        walk.found
    }

    fn start(root: &'v Value) -> Self {
        let mut anchors = BTreeMap::new();
        collect_anchors(root, &mut anchors);
        Self { root, anchors, known: BTreeMap::new(), found: Vec::new(), broken: None }
    }

    fn run(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        self.index(self.root);
        while let Some(&schema) = self.found.get(parts.len()) {
            let part = schema.as_object().map(|map| self.part(map, parts.is_empty())).unwrap_or_default();
            parts.push(part);
        }
        parts
    }

    fn index(&mut self, schema: &'v Value) -> Index {
        let next = self.found.len();
        let index = *self.known.entry(std::ptr::from_ref(schema)).or_insert(next);
        if index == next {
            self.found.push(schema);
        }
        index
    }

    fn part(&mut self, map: &'v Map<String, Value>, is_root: bool) -> Part {
        if !is_root && map.get("$id").is_some_and(Value::is_string) {
            self.broken.get_or_insert(SchemaError::Embedded);
        }
        let mut part = Part { looks_back: map.keys().any(|key| key.starts_with("unevaluated")), ..Part::default() };
        for target in REFERENCES.iter().filter_map(|key| map.get(*key)?.as_str()) {
            if let Some(schema) = self.target(target) {
                part.in_place.push(self.index(schema));
            }
        }
        let lists = IN_PLACE_LISTS.iter().flat_map(|key| members(map, key));
        let maps = IN_PLACE_MAPS.iter().flat_map(|key| members(map, key));
        part.in_place.extend(IN_PLACE.iter().filter_map(|key| map.get(*key)).map(|schema| self.index(schema)));
        part.in_place.extend(lists.chain(maps).map(|schema| self.index(schema)));
        self.members(map, &mut part);
        part
    }

    fn members(&mut self, map: &'v Map<String, Value>, part: &mut Part) {
        let mut list = |walk: &mut Self, keys: &[&str]| {
            let found: Vec<Index> =
                keys.iter().flat_map(|key| members(map, key)).map(|part| walk.index(part)).collect();
            part.one_of.push(found);
        };
        list(self, &["properties", "prefixItems"]);
        let beside = ["additionalProperties", "propertyNames", "contains", "unevaluatedItems", "unevaluatedProperties"];
        part.beside.extend(beside.iter().filter_map(|key| map.get(*key)).map(|schema| self.index(schema)));
        part.beside.extend(members(map, "patternProperties").map(|schema| self.index(schema)));
        let items = ["items", "additionalItems"].into_iter().filter_map(|key| map.get(key));
        part.beside.extend(items.map(|schema| self.index(schema)));
    }

    /// Where a reference leads; none when the compiler will find nothing there either.
    fn target(&self, target: &str) -> Option<&'v Value> {
        let fragment = decoded(target.strip_prefix('#')?);
        if fragment.is_empty() || fragment.starts_with('/') {
            return self.root.pointer(&fragment);
        }
        self.anchors.get(fragment.as_str()).copied()
    }
}

/// The schemas in the list or the table under a key.
fn members<'v>(map: &'v Map<String, Value>, key: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    let value = map.get(key);
    let list = value.and_then(Value::as_array).into_iter().flatten();
    list.chain(value.and_then(Value::as_object).into_iter().flat_map(Map::values))
}

fn collect_anchors<'v>(schema: &'v Value, anchors: &mut BTreeMap<&'v str, &'v Value>) {
    match schema {
        Value::Object(map) => {
            for name in ["$anchor", "$dynamicAnchor"].iter().filter_map(|key| map.get(*key)?.as_str()) {
                anchors.insert(name, schema);
            }
            map.values().for_each(|part| collect_anchors(part, anchors));
        }
        Value::Array(items) => items.iter().for_each(|part| collect_anchors(part, anchors)),
        _ => {}
    }
}

/// The fragment of a reference without its escapes: `%24defs` is `$defs`.
fn decoded(fragment: &str) -> String {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
