//! Random documents that use the whole language: every key of every table, odd texts, nesting. They are valid by
//! construction.

mod texts;

use crate::dice::Dice;
use cofferdam_core::port::{SourceError, SourceFile, Sources};
use serde_json::{Map, Value, json};

/// The files that random documents name.
pub(crate) struct Beside;

impl Sources for Beside {
    fn read(&self, path: &str, _: usize) -> Result<SourceFile, SourceError> {
        let text = match path.trim_start_matches("./") {
            "prompt.md" => "You are @careful.\n\n  Indented.\n",
            "at.md" => "@@home\n",
            "flows/one.yaml" => ONE,
            "two.json" => r#"{"name": "two", "mode": "parallel", "steps": [{"id": "x", "instructions": "do x"}]}"#,
            _ => return Err(SourceError::Missing(path.into())),
        };
        Ok(SourceFile { bytes: text.as_bytes().into() })
    }
}

const ONE: &str = "
name: one
inputs: {topic: {type: string, default: any}}
agents: {inner: {description: of one}}
steps:
  - {id: find, agent: inner, instructions: find it}
  - {id: tell, dependsOn: [find], input: 'about {{ inputs.topic }}: {{ steps.find.content }}'}
output: steps.tell.content
";

/// What a text may read where it stands.
#[derive(Clone, Default)]
struct Sight {
    steps: Vec<String>,
    item: bool,
}

/// A random document.
pub(crate) fn document(dice: &mut Dice) -> Value {
    let mut writer = Writer { dice, ids: 0, includes: false };
    writer.root()
}

struct Writer<'d> {
    dice: &'d mut Dice,
    ids: usize,
    includes: bool,
}

const AGENTS: &[&str] = &["writer", "reader-2", "a", "under_score"];
const TOOLS: &[&str] = &["read", "glob", "text.words", "text.lines"];
const DURATIONS: &[&str] = &["1h30m", "90m", "45s", "500ms", "1h1m1s1ms", "2h"];
impl Writer<'_> {
    fn root(&mut self) -> Value {
        let mut root = Map::new();
        root.insert("name".into(), json!(self.filled()));
        self.sometimes(&mut root, "version", |_| json!(1));
        self.sometimes(&mut root, "description", |writer| json!(writer.text()));
        root.insert("agents".into(), self.agents());
        root.insert("plugins".into(), self.plugins());
        root.insert("inputs".into(), self.inputs());
        root.insert("vars".into(), json!({ "count": self.value(2), "who": self.value(1) }));
        self.includes = self.dice.percent(50);
        if self.includes {
            root.insert("includes".into(), json!({ "one": "flows/one.yaml" }));
        }
        let looped = self.dice.percent(15);
        let sight = Sight::default();
        let ids = if looped {
            root.insert("mode".into(), json!("loop"));
            let (kind, inside) = self.loop_kind(&sight, true);
            root.insert("loop".into(), Value::Object(kind));
            let mode = *self.dice.pick(&["", "dag", "sequential", "parallel"]);
            let wired = if mode.is_empty() { "sequential" } else { mode };
            let (steps, _) = self.steps(wired, 1, &inside);
            root.insert("steps".into(), steps);
            if !mode.is_empty() {
                root.insert("bodyMode".into(), json!(mode));
            }
            vec!["loop".to_owned()]
        } else {
            let mode = *self.dice.pick(&["", "dag", "sequential", "parallel"]);
            if !mode.is_empty() {
                root.insert("mode".into(), json!(mode));
            }
            let (steps, ids) = self.steps(mode, 0, &sight);
            root.insert("steps".into(), steps);
            ids
        };
        let after = Sight { steps: ids, item: false };
        self.sometimes(&mut root, "output", |writer| json!(writer.expression(&after)));
        self.sometimes(&mut root, "options", Self::options);
        if self.dice.percent(10) {
            root.insert("x-note".into(), json!({ "any": ["thing", 1] }));
        }
        Value::Object(root)
    }

    fn sometimes(&mut self, table: &mut Map<String, Value>, key: &str, value: impl FnOnce(&mut Self) -> Value) {
        if self.dice.percent(35) {
            let value = value(self);
            table.insert(key.to_owned(), value);
        }
    }

    fn agents(&mut self) -> Value {
        let mut agents = Map::new();
        for name in AGENTS {
            let mut agent = Map::new();
            agent.insert("description".into(), json!(self.filled()));
            self.sometimes(&mut agent, "prompt", Self::instructions);
            self.sometimes(&mut agent, "model", |writer| json!(writer.dice.pick(&["scripted/x", "a/b:c"])));
            let tools = json!([TOOLS[0], "text.*", "gr*"]);
            self.sometimes(&mut agent, "tools", |writer| if writer.dice.percent(20) { json!([]) } else { tools });
            self.sometimes(&mut agent, "disallowedTools", |_| json!(["exec", "text.words"]));
            self.sometimes(&mut agent, "maxTurns", |writer| json!(writer.dice.below(60)));
            self.sometimes(&mut agent, "temperature", |writer| json!(writer.dice.below(20) as f64 / 10.0));
            self.sometimes(&mut agent, "topP", |writer| json!(writer.dice.pick(&[0.0, 0.5, 1.0])));
            self.sometimes(&mut agent, "maxTokens", |writer| json!(writer.dice.between(1, 9999)));
            self.sometimes(&mut agent, "resultSchema", Self::schema);
            self.sometimes(&mut agent, "transform", Self::transform);
            agents.insert((*name).into(), Value::Object(agent));
        }
        let verdict =
            json!({ "type": "object", "properties": { "done": { "type": "boolean" } }, "required": ["done"] });
        agents.insert("judge".into(), json!({ "description": "judges", "resultSchema": verdict }));
        Value::Object(agents)
    }

    fn plugins(&mut self) -> Value {
        let whole = json!({
            "source": "./plugins/text.wasm",
            "digest": format!("sha256:{}", "ab".repeat(32)),
            "config": self.object(2),
            "grants": {
                "http": [{ "host": "*.example.com", "methods": ["GET", "POST"], "paths": ["/a/**"] }],
                "fs": { "read": true, "also": [{ "from": "{{ inputs.dir }}", "at": "/data", "read": true }] },
                "kv": { "scope": "run" },
                "secrets": ["KEY"],
                "tools": ["read"],
            },
            "limits": { "memory": "16MiB", "wall": "1m30s" },
        });
        if self.dice.percent(50) { json!({ "text": "builtin:text" }) } else { json!({ "text": whole }) }
    }

    fn inputs(&mut self) -> Value {
        let mut inputs = json!({
            "dir": { "type": "string" },
            "depth": { "type": "integer", "default": self.dice.below(9), "description": self.text() },
            "list": { "type": "array", "required": false },
            "level": { "type": "string", "enum": ["low", "high", "no"], "default": "no" },
            "flag": { "type": "boolean", "default": false },
            "ratio": { "type": "number", "default": 1.5, "required": self.dice.percent(50) },
        });
        inputs["object"] = json!({ "type": "object", "default": self.object(2) });
        inputs
    }

    fn options(&mut self) -> Value {
        let mut options = Map::new();
        self.sometimes(&mut options, "model", |_| json!("scripted/default"));
        self.sometimes(&mut options, "maxConcurrency", |writer| json!(writer.dice.below(9)));
        self.sometimes(&mut options, "onStepFailure", Self::failure);
        self.sometimes(&mut options, "timeout", Self::duration);
        self.sometimes(&mut options, "stepTimeout", Self::duration);
        let schedulers = ["dependency-first", "round-robin", "least-busy"];
        self.sometimes(&mut options, "scheduler", |writer| json!(writer.dice.pick(&schedulers)));
        self.sometimes(&mut options, "maxRetries", |writer| json!(writer.dice.below(5)));
        self.sometimes(&mut options, "outputTransform", Self::chain);
        self.sometimes(&mut options, "onUnknownEffect", |writer| json!(writer.dice.pick(&["ask", "retry", "fail"])));
        self.sometimes(&mut options, "isolation", |_| json!("none"));
        self.sometimes(&mut options, "engine", |writer| json!(writer.dice.pick(&["default", "other"])));
        let limits = json!({ "stepInstances": 500, "messageBytes": "64KiB", "toolCallsPerTurn": 3 });
        self.sometimes(&mut options, "limits", |_| limits);
        Value::Object(options)
    }

    fn failure(&mut self) -> Value {
        json!(self.dice.pick(&["cascade", "skip-dependents", "continue", "abort"]))
    }

    fn duration(&mut self) -> Value {
        json!(self.dice.pick(DURATIONS))
    }

    fn transform(&mut self) -> Value {
        match self.dice.below(3) {
            0 => json!({ "input": self.chain() }),
            1 => json!({ "output": self.chain() }),
            _ => json!({ "input": self.chain(), "output": self.chain() }),
        }
    }

    fn output_transform(&mut self) -> Value {
        json!({ "output": self.chain() })
    }

    fn chain(&mut self) -> Value {
        let count = self.dice.between(1, 3);
        let links = [
            json!("trim"),
            json!("upper"),
            json!("lower"),
            json!({ "truncate": self.dice.between(1, 500) }),
            json!("json"),
            json!("first-line"),
            json!({ "native": "shorten it" }),
            json!({ "plugin": "text", "options": { "n": 1 } }),
        ];
        (0..count).map(|_| self.dice.pick(&links).clone()).collect()
    }

    fn schema(&mut self) -> Value {
        let member = json!({ "type": "string", "description": self.text() });
        json!({ "type": "object", "properties": { "name": member, "n": { "type": "integer" } }, "required": ["name"] })
    }

    /// The steps of a scope, and their ids.
    fn steps(&mut self, mode: &str, depth: usize, outer: &Sight) -> (Value, Vec<String>) {
        let count = self.dice.between(1, if depth == 0 { 7 } else { 3 });
        let mut steps = Vec::new();
        let mut ids: Vec<String> = Vec::new();
        for index in 0..count {
            if index > 0 && depth == 0 && self.dice.percent(10) && !ids.iter().any(|id| AGENTS.contains(&id.as_str())) {
                let name = *self.dice.pick(AGENTS);
                steps.push(json!(name));
                ids.push(name.into());
                continue;
            }
            self.ids += 1;
            let id = format!("{}{}", self.dice.pick(&["s", "step-", "long_name-with-parts-", "n0-"]), self.ids);
            let before: Vec<String> = match mode {
                "parallel" => Vec::new(),
                "sequential" => ids.clone(),
                _ => ids.iter().filter(|_| self.dice.percent(40)).cloned().collect(),
            };
            let mut sight = outer.clone();
            sight.steps.extend(before.iter().cloned());
            let mut step = Map::new();
            step.insert("id".into(), json!(id));
            if matches!(mode, "" | "dag") && !before.is_empty() {
                step.insert("dependsOn".into(), json!(before));
            }
            self.step(&mut step, depth, &sight);
            steps.push(Value::Object(step));
            ids.push(id);
        }
        (Value::Array(steps), ids)
    }

    fn step(&mut self, step: &mut Map<String, Value>, depth: usize, sight: &Sight) {
        let mut kind = self.dice.below(12);
        if depth >= 3 && kind >= 8 {
            kind = 0;
        }
        let mut inside = sight.clone();
        if kind < 6 && self.dice.percent(25) {
            let (table, loop_sight) = self.loop_kind(sight, false);
            inside.item |= loop_sight.item;
            step.insert("loop".into(), Value::Object(table));
        }
        match kind {
            0..=3 => self.agent_step(step, &inside),
            4 | 5 => {
                step.insert("tool".into(), json!(self.dice.pick(TOOLS)));
                self.sometimes(step, "args", |writer| writer.arguments(&inside));
            }
            6 => {
                step.insert("ask".into(), self.ask(sight));
            }
            7 => self.include_step(step, sight),
            8 | 9 => {
                let mode = *self.dice.pick(&["", "dag", "sequential", "parallel"]);
                if !mode.is_empty() {
                    step.insert("mode".into(), json!(mode));
                }
                step.insert("steps".into(), self.steps(mode, depth + 1, sight).0);
            }
            _ => {
                let (mut table, loop_sight) = self.loop_kind(sight, false);
                let mode = *self.dice.pick(&["", "dag", "sequential", "parallel"]);
                if !mode.is_empty() {
                    table.insert("mode".into(), json!(mode));
                }
                let inside = Sight { item: sight.item || loop_sight.item, ..sight.clone() };
                table.insert("steps".into(), self.steps(mode, depth + 1, &inside).0);
                step.insert("loop".into(), Value::Object(table));
            }
        }
        let include = kind == 7;
        self.common(step, include, sight);
    }

    fn common(&mut self, step: &mut Map<String, Value>, include: bool, sight: &Sight) {
        self.sometimes(step, "label", |writer| json!(writer.filled()));
        self.sometimes(step, "metadata", |writer| writer.object(3));
        if !include {
            self.sometimes(step, "condition", |writer| match writer.dice.below(8) {
                0 => json!({ "native": "is it time?" }),
                1 => json!({ "plugin": "text", "options": { "like": "x" }, "label": "one" }),
                _ => json!(writer.condition(sight)),
            });
        }
        if !step.contains_key("ask") {
            self.sometimes(step, "timeout", Self::duration);
            self.sometimes(step, "maxRetries", |writer| json!(writer.dice.below(4)));
            self.sometimes(step, "retries", |writer| json!(writer.dice.below(4)));
        }
        self.sometimes(step, "onFailure", Self::failure);
        self.sometimes(step, "sensitive", |writer| json!(writer.dice.percent(50)));
        if !step.contains_key("transform") {
            self.sometimes(step, "transform", Self::output_transform);
        }
    }

    fn agent_step(&mut self, step: &mut Map<String, Value>, sight: &Sight) {
        self.sometimes(step, "agent", |writer| json!(writer.dice.pick(AGENTS)));
        if self.dice.percent(80) {
            let text = self.instructions();
            step.insert("instructions".into(), text);
        } else {
            self.sometimes(step, "input", |writer| json!(writer.template(sight)));
        }
        self.sometimes(step, "contextFiles", |_| json!(["notes/a.md", "./b.png", "c d.txt"]));
        self.sometimes(step, "model", |_| json!("scripted/other"));
        self.sometimes(step, "resultSchema", Self::schema);
        self.sometimes(step, "transform", Self::transform);
    }

    fn include_step(&mut self, step: &mut Map<String, Value>, sight: &Sight) {
        if self.dice.percent(30) {
            step.insert("include".into(), json!("two.json"));
            return;
        }
        let named = self.includes && self.dice.percent(50);
        step.insert("include".into(), json!(if named { "one" } else { "./flows/one.yaml" }));
        self.sometimes(step, "with", |writer| json!({ "topic": writer.template(sight) }));
    }

    fn ask(&mut self, sight: &Sight) -> Value {
        let mut ask = Map::new();
        ask.insert("prompt".into(), json!(format!("? {}", self.template(sight))));
        match self.dice.below(3) {
            0 => {
                ask.insert("choices".into(), json!(["yes", "no", "12"]));
                self.sometimes(&mut ask, "default", |writer| json!(writer.dice.pick(&["yes", "12"])));
            }
            1 => {
                ask.insert("schema".into(), json!({ "type": "integer" }));
                self.sometimes(&mut ask, "default", |writer| json!(writer.dice.below(100)));
            }
            _ => self.sometimes(&mut ask, "default", |writer| json!(writer.filled())),
        }
        self.sometimes(&mut ask, "timeout", Self::duration);
        Value::Object(ask)
    }

    /// A loop without its body, and what the body may read.
    fn loop_kind(&mut self, sight: &Sight, root: bool) -> (Map<String, Value>, Sight) {
        let mut table = Map::new();
        if self.dice.percent(50) {
            let items = match self.dice.below(3) {
                0 => json!("[1, 2, 3]"),
                1 => json!("inputs.list"),
                _ => Value::Array((0..self.dice.between(1, 4)).map(|_| self.value(2)).collect()),
            };
            table.insert("forEach".into(), items);
            self.sometimes(&mut table, "maxConcurrency", |writer| json!(writer.dice.below(5)));
            self.sometimes(&mut table, "onItemFailure", |writer| {
                json!(writer.dice.pick(&["stop", "continue", "ignore"]))
            });
            return (table, Sight { item: true, ..sight.clone() });
        }
        table.insert("maxIterations".into(), json!(self.dice.between(1, 20)));
        let reads = if root { Sight::default() } else { sight.clone() };
        self.sometimes(&mut table, "while", |writer| match writer.dice.below(4) {
            0 => json!({ "native": "go-on" }),
            _ => json!(writer.turn_check(&reads)),
        });
        self.sometimes(&mut table, "until", |writer| json!(writer.turn_check(&reads)));
        self.sometimes(&mut table, "untilAgent", |_| json!("judge"));
        self.sometimes(&mut table, "onLimit", |writer| json!(writer.dice.pick(&["fail", "complete"])));
        self.sometimes(&mut table, "delay", Self::duration);
        self.sometimes(&mut table, "outputMode", |writer| json!(writer.dice.pick(&["last", "cumulative", ""])));
        (table, sight.clone())
    }
}
