//! Answers that were given with the run: which question each is for, and whether it fits.

use crate::answer::Form;
use cofferdam_core::event::{RunStatus, Sensitive};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{AgentName, StepPath};
use cofferdam_core::port::{Agent, AgentQuestion};
use cofferdam_core::spec::InputText;
use cofferdam_core::spec::suggest::did_you_mean;
use cofferdam_core::spec::workflow::{AskWork, Scope, Work, Workflow};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Answers by path; a path without indices stands for every iteration.
#[derive(Debug, Default)]
pub(super) struct Answers {
    given: BTreeMap<String, InputText>,
    /// The keys that somebody asked for.
    used: BTreeSet<String>,
}

impl Answers {
    /// Finds the question of each answer: of a step, or of the work of a step's agent.
    ///
    /// # Errors
    /// Every answer that belongs to no question, to several, or does not fit.
    pub(super) fn of(
        workflow: &Workflow,
        agents: &BTreeMap<AgentName, Arc<dyn Agent>>,
        given: &BTreeMap<String, InputText>,
    ) -> Result<Self, Vec<Fault>> {
        if given.is_empty() {
            return Ok(Self::default());
        }
        let questions: Questions =
            questions_of(workflow, agents).map(|asked| (asked.path.to_string(), asked)).collect();
        let (mut found, mut faults) = (BTreeMap::new(), Vec::new());
        for (key, answer) in given {
            match place(key, &questions).and_then(|(place, asked)| match fit(key, &asked.work, answer) {
                Err(_) if asked.sensitive => Err(wrong(key, "it is not shown, since the step is sensitive")),
                fits => fits.map(|()| place),
            }) {
                Ok(place) => drop(found.insert(place, answer.clone())),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(Self { given: found, used: BTreeSet::new() }) } else { Err(faults) }
    }

    /// The answer for the question at `path`; it counts as used.
    pub(super) fn take(&mut self, path: &StepPath) -> Option<InputText> {
        let place = path.place();
        let (key, answer) = self.given.get_key_value(path.as_str()).or_else(|| self.given.get_key_value(&place))?;
        self.used.insert(key.clone());
        Some(answer.clone())
    }

    /// The answers for questions of the agent that works for the step at `path`, by path below it. One that names the
    /// iteration beats one for all of them. They count as used: whether they are is the agent's to tell.
    pub(super) fn take_below(&mut self, path: &StepPath) -> BTreeMap<String, InputText> {
        let mut below = BTreeMap::new();
        for prefix in [&path.place(), path.as_str()] {
            for (key, answer) in &self.given {
                if let Some(rest) = key.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')) {
                    below.insert(rest.to_owned(), answer.clone());
                    self.used.insert(key.clone());
                }
            }
        }
        below
    }

    /// The questions that are answered.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.given.keys().map(String::as_str)
    }

    /// Those that nobody asked.
    pub(super) fn unused_keys(&self) -> impl Iterator<Item = &str> {
        self.keys().filter(|key| !self.used.contains(*key))
    }

    /// What to tell of answers that nobody asked for by the end of the run, or by the time it waits.
    pub(super) fn unused(&self, status: RunStatus) -> impl Iterator<Item = String> {
        let why = match status {
            RunStatus::Waiting => "its question has not come yet; give it again when the run goes on",
            _ => "this run did not ask for it",
        };
        self.unused_keys().map(move |key| format!("the answer for `{key}` was not used: {why}"))
    }
}

type Questions = BTreeMap<String, AgentQuestion>;

/// Every question that a run of the workflow may ask: of its steps, and of the work of its agents below theirs.
pub fn questions_of(
    workflow: &Workflow,
    agents: &BTreeMap<AgentName, Arc<dyn Agent>>,
) -> impl Iterator<Item = AgentQuestion> {
    let mut questions = Vec::new();
    collect(&workflow.scope, agents, &StepPath::ROOT, &mut questions);
    let sensitive = Sensitive::of(workflow);
    questions.into_iter().map(move |asked| {
        let hidden = sensitive.as_ref().is_some_and(|sensitive| sensitive.covers(&asked.path));
        AgentQuestion { sensitive: asked.sensitive || hidden, ..asked }
    })
}

fn collect(scope: &Scope, agents: &BTreeMap<AgentName, Arc<dyn Agent>>, at: &StepPath, into: &mut Vec<AgentQuestion>) {
    for step in &scope.steps {
        let path = at.child(&step.id);
        if let Work::Ask(work) = &step.work {
            into.push(AgentQuestion { path: path.clone(), work: AskWork::clone(work), sensitive: false });
        }
        let agent = step.agent().and_then(|name| agents.get(name));
        for asked in agent.map(|agent| agent.questions()).unwrap_or_default() {
            into.push(AgentQuestion { path: StepPath::from(format!("{path}.{}", asked.path).as_str()), ..asked });
        }
        if let Some(inner) = step.inner() {
            collect(inner, agents, &path, into);
        }
    }
}

/// The question that a key means, by path, or by an id that only one question has.
fn place<'w>(key: &str, questions: &'w Questions) -> Result<(String, &'w AgentQuestion), Fault> {
    if let Some(asked) = questions.get(&StepPath::from(key).place()) {
        return Ok((key.to_owned(), asked));
    }
    let same_id = |(place, _): &(&'w String, &'w AgentQuestion)| place.rsplit('.').next() == Some(key);
    let found: Vec<_> = questions.iter().filter(same_id).collect();
    match found.as_slice() {
        [(place, asked)] => Ok(((*place).clone(), asked)),
        [] => Err(unknown(key, questions)),
        several => {
            let list: Vec<String> = several.iter().map(|(place, _)| format!("`{place}`")).collect();
            let message = format!("the answer for `{key}` could be for several questions");
            Err(Fault::user("ambiguous_answer", message).with_hint(format!("name one of {}", list.join(", "))))
        }
    }
}

fn unknown(key: &str, questions: &Questions) -> Fault {
    let list: Vec<String> = questions.keys().map(|place| format!("`{place}`")).collect();
    let list = if list.is_empty() {
        "the document asks nothing".to_owned()
    } else {
        format!("the document asks in {}", list.join(", "))
    };
    let hint = did_you_mean(key, questions.keys().map(String::as_str)).unwrap_or(list);
    Fault::user("unknown_answer", format!("there is no question `{key}` that could be answered")).with_hint(hint)
}

fn fit(key: &str, work: &AskWork, answer: &InputText) -> Result<(), Fault> {
    Form::of(work)?.read(answer).map(drop).map_err(|what| wrong(key, &what))
}

fn wrong(key: &str, what: &str) -> Fault {
    Fault::user("bad_answer", format!("the answer for `{key}` does not fit: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::id::StepId;
    use cofferdam_core::spec::workflow::Step;
    use cofferdam_core::template::Template;
    use serde_json::json;

    fn step(id: &str, work: Work) -> Step {
        Step::new(StepId::parse(id).unwrap(), work)
    }

    fn ask(id: &str) -> Step {
        let work = AskWork {
            prompt: Template::constant(json!("Ship it?")),
            choices: vec!["yes".into(), "no".into()],
            schema: None,
            default: None,
            timeout: None,
        };
        step(id, Work::Ask(Box::new(work)))
    }

    fn group(id: &str, steps: Vec<Step>) -> Step {
        step(id, Work::Group(Arc::new(Scope { steps, ..Scope::default() })))
    }

    fn answers(given: &[(&str, &str)]) -> Result<Answers, Vec<Fault>> {
        let steps = vec![ask("approve"), group("a", vec![ask("review"), ask("only")]), group("b", vec![ask("review")])];
        let given = given.iter().map(|(key, text)| ((*key).to_owned(), InputText::Text((*text).to_owned()))).collect();
        Answers::of(&Workflow::of_steps("w", steps), &BTreeMap::new(), &given)
    }

    #[test]
    fn a_question_is_named_by_its_path_or_an_id_of_its_own() {
        let mut found =
            answers(&[("approve", "yes"), ("only", "no"), ("b.review", "yes"), ("a[1].review", "no")]).unwrap();
        for (path, answer) in [("approve", "yes"), ("a.only", "no"), ("a[7].only", "no"), ("b.review", "yes")] {
            assert_eq!(found.take(&path.into()), Some(InputText::Text(answer.to_owned())), "{path}");
        }
        assert_eq!(found.unused_keys().count(), 1, "nobody has asked for that of one iteration");
        assert!(found.take(&"a[1].review".into()).is_some() && found.take(&"a[2].review".into()).is_none());
        assert_eq!(found.unused_keys().count(), 0);
    }

    #[test]
    fn what_is_no_answer_to_any_question_is_refused() {
        for (key, text, code, hint) in [
            ("aprove", "yes", "unknown_answer", "did you mean `approve`?"),
            ("zzz", "yes", "unknown_answer", "the document asks in `a.only`, `a.review`, `approve`, `b.review`"),
            ("review", "yes", "ambiguous_answer", "name one of `a.review`, `b.review`"),
        ] {
            let faults = answers(&[(key, text)]).unwrap_err();
            assert_eq!((faults[0].code.as_ref(), faults[0].hint.as_deref()), (code, Some(hint)));
        }
        let fault = answers(&[("approve", "perhaps")]).unwrap_err().remove(0);
        assert_eq!(fault.message, "the answer for `approve` does not fit: `perhaps` is none of `yes`, `no`");
        let secret = Workflow::of_steps("w", vec![Step { sensitive: true, ..ask("pin") }]);
        let given = BTreeMap::from([("pin".to_owned(), InputText::Text("4711".to_owned()))]);
        let fault = Answers::of(&secret, &BTreeMap::new(), &given).unwrap_err().remove(0);
        assert!(fault.message.starts_with("the answer for `pin`") && !fault.message.contains("4711"), "{fault}");
    }
}
