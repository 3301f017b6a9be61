//! One step: which kind of work it does, and the keys that belong to that.

use super::code;
use super::decode::Decoder;
use super::expression::Reading;
use super::kind::Fields;
use super::looping::Body;
use super::options::failure;
use super::scope::{Draft, Known, Outside};
use super::shape::wiring;
use super::tree::Node;
use super::workflow::{AgentWork, IsolationMode, Scope, Step, Wiring, Work};
use crate::expr::Names;

/// The kind of work of a step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Include,
    Tool,
    Ask,
    Group,
    Body,
    Agent,
}

/// Keys that only some kinds of work take, with those kinds and what they belong to.
const OWN_KEYS: &[(&str, &[Kind])] = &[
    ("agent", &[Kind::Agent]),
    ("instructions", &[Kind::Agent]),
    ("contextFiles", &[Kind::Agent]),
    ("model", &[Kind::Agent]),
    ("input", &[Kind::Agent]),
    ("resultSchema", &[Kind::Agent]),
    ("maxRetries", &[Kind::Agent, Kind::Tool, Kind::Group, Kind::Include, Kind::Body]),
    ("args", &[Kind::Tool]),
    ("toolInput", &[Kind::Tool]),
    ("tool", &[Kind::Tool]),
    ("include", &[Kind::Include]),
    ("with", &[Kind::Include]),
    ("ask", &[Kind::Ask]),
    ("steps", &[Kind::Group]),
    ("mode", &[Kind::Group]),
    ("loop", &[Kind::Agent, Kind::Tool, Kind::Body]),
    ("condition", &[Kind::Agent, Kind::Tool, Kind::Ask, Kind::Group, Kind::Body]),
    ("timeout", &[Kind::Agent, Kind::Tool, Kind::Group, Kind::Include, Kind::Body]),
];

/// Keys of an agent step that zenflow takes, and does not read, beside a loop with steps of its own.
const UNREAD_BESIDE_BODY: &[&str] = &["agent", "instructions", "contextFiles", "model"];

impl Kind {
    fn of(fields: &Fields<'_>) -> Self {
        let body = fields.get("loop").is_some_and(|node| node.member("steps").is_some());
        let kinds = [("include", Self::Include), ("tool", Self::Tool), ("ask", Self::Ask), ("steps", Self::Group)];
        let named = kinds.into_iter().find(|(key, _)| fields.mentions(key));
        named.map_or(if body { Self::Body } else { Self::Agent }, |(_, kind)| kind)
    }

    fn does(self) -> &'static str {
        match self {
            Self::Include => "runs another document",
            Self::Tool => "calls a tool",
            Self::Ask => "asks a person",
            Self::Group => "is a group of steps",
            Self::Body => "repeats the steps of its loop",
            Self::Agent => "lets an agent work",
        }
    }
}

impl Decoder<'_> {
    /// Decodes a step, and says which steps its texts read. `depends_on` is the scope's to fill in.
    pub(super) fn step<'n>(&mut self, draft: &Draft<'n>, view: &Outside<'_>) -> (Option<Step>, Vec<Reading<'n>>) {
        let mut readings = Vec::new();
        let Some(fields) = &draft.fields else { return (self.bare(draft), readings) };
        let kind = Kind::of(fields);
        self.conflicts(fields, kind);
        let work = self.work(fields, kind, (view, &mut readings));
        let condition = fields.get("condition").and_then(|node| self.condition(node, view, &mut readings));
        let repeat = fields.get("loop").filter(|_| matches!(kind, Kind::Agent | Kind::Tool | Kind::Body));
        let repeat = repeat.and_then(|node| {
            let body = Body::of(node, fields.count("maxRetries"));
            self.looping(node, &body, (view, &mut readings))
        });
        let transform = fields.get("transform").map(|node| self.transforms(node)).unwrap_or_default();
        let grants = self.narrowed(fields);
        let budget = self.allowance(fields);
        let timeout = match &work {
            Some(Work::Include(include)) => include.tighter(fields.duration("timeout")),
            _ => fields.duration("timeout"),
        };
        let step = draft.id.clone().zip(work).map(|(id, work)| Step {
            label: fields.owned("label"),
            metadata: fields.get("metadata").map(Node::to_map).unwrap_or_default(),
            condition,
            timeout,
            retries: fields.count("retries").unwrap_or_default(),
            max_retries: fields.count("maxRetries"),
            repeat,
            on_failure: failure(fields, "onFailure"),
            transform,
            isolation: fields.text("isolation").and_then(IsolationMode::of_word),
            sensitive: fields.flag("sensitive").unwrap_or_default(),
            grants,
            budget,
            ..Step::new(id, work)
        });
        (step, readings)
    }

    fn work<'n>(
        &mut self,
        fields: &Fields<'n>,
        kind: Kind,
        (view, readings): (&Outside<'_>, &mut Vec<Reading<'n>>),
    ) -> Option<Work> {
        let mut around = view.around;
        if let Some(node) = fields.get("loop") {
            let for_each = node.member("forEach").is_some();
            around.for_each |= for_each;
            around.repeat |= !for_each;
        }
        let (steps, roots) = (view.ids(), around.roots());
        let names = Names { steps: &steps, roots: &roots };
        match kind {
            Kind::Agent => self.agent_work(fields, &names, readings).map(Work::Agent),
            Kind::Tool => self.tool_work(fields, &names, readings).map(Work::Tool),
            Kind::Ask => {
                fields.get("ask").and_then(|node| self.ask(node, &names, readings)).map(|ask| Work::Ask(Box::new(ask)))
            }
            Kind::Include => {
                let node = fields.get("include")?;
                let include = |own: &mut Self| own.include(fields, node, &names, readings);
                self.with_max_retries(fields.count("maxRetries"), include)
                    .map(|include| Work::Include(Box::new(include)))
            }
            Kind::Group => {
                let list = fields.get("steps")?;
                let (scope, _) = self.inner_scope(list, (wiring(fields.get("mode")), fields.count("maxRetries")), view);
                Some(Work::Group(scope.into()))
            }
            Kind::Body => Some(Work::Body),
        }
    }

    /// Decodes the steps of a group or of a loop's body.
    pub(super) fn inner_scope(
        &mut self,
        list: &Node,
        (wiring, max_retries): (Wiring, Option<u32>),
        outside: &Outside<'_>,
    ) -> (Scope, Known) {
        self.with_max_retries(max_retries, |own| own.scope(list, wiring, outside))
    }

    /// Decodes something whose steps have these retries of one request, unless they say something else.
    fn with_max_retries<T>(&mut self, max_retries: Option<u32>, decode: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.defaults.max_retries;
        self.defaults.max_retries = max_retries.or(before);
        let decoded = decode(self);
        self.defaults.max_retries = before;
        decoded
    }

    /// A step that is only the name of an agent.
    fn bare(&mut self, draft: &Draft<'_>) -> Option<Step> {
        let agent = self.agent_name(draft.node)?;
        let work = AgentWork { agent: Some(agent), ..AgentWork::new("") };
        Some(Step::new(draft.id.clone()?, Work::Agent(work)))
    }

    /// Reports keys that belong to another kind of work.
    fn conflicts(&mut self, fields: &Fields<'_>, kind: Kind) {
        for entry in fields.node.entries() {
            let Some((key, kinds)) = OWN_KEYS.iter().find(|(key, _)| *key == entry.key) else { continue };
            if kinds.contains(&kind) {
                continue;
            }
            if kind == Kind::Body && UNREAD_BESIDE_BODY.contains(key) {
                let message = format!("`{key}` is not read: the step {}", kind.does());
                self.report
                    .at(code::NO_EFFECT, entry.spot, &entry.value.path, message)
                    .warning()
                    .hint("move it to the steps of the loop");
                continue;
            }
            let message = match kinds {
                [only] if *only != Kind::Agent => {
                    format!("`{key}` belongs to a step that {}; this one {}", only.does(), kind.does())
                }
                _ => format!("`{key}` does not go with a step that {}", kind.does()),
            };
            self.report.at(code::CONFLICT, entry.spot, &entry.value.path, message).hint(conflict_hint(key, kind));
        }
        if fields.mentions("args") && fields.mentions("toolInput") {
            let message = "`args` and `toolInput` exclude each other";
            self.report
                .error(code::CONFLICT, fields.node, message)
                .hint("strings in `args` are templates; keep one of the two");
        }
    }
}

fn conflict_hint(key: &str, kind: Kind) -> &'static str {
    match (key, kind) {
        ("timeout", Kind::Ask) => "say how long the person has: `ask.timeout`",
        ("loop", Kind::Group | Kind::Ask | Kind::Include) => "put the step into `loop.steps` of a step of its own",
        ("condition", Kind::Include) => {
            "put the include into a group that has the condition, or a condition into its steps"
        }
        ("args" | "toolInput", _) => "name the `tool`",
        ("with", _) => "name the document: `include`",
        ("mode", Kind::Body) => "say how the body is wired: `loop.mode`",
        ("mode", _) => "it wires the `steps` of a group",
        ("model", Kind::Include | Kind::Group | Kind::Body) => "say it on the steps inside",
        _ => "a step does one kind of work",
    }
}
