//! Answers that were given with the run: which question each is for, and whether it fits.

use crate::answer::Form;
use cofferdam_core::event::Sensitive;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::spec::InputText;
use cofferdam_core::spec::suggest::did_you_mean;
use cofferdam_core::spec::workflow::{AskWork, Scope, Work, Workflow};
use std::collections::BTreeMap;

/// Answers by path; a path without indices stands for every iteration.
#[derive(Debug, Default)]
pub(super) struct Answers(BTreeMap<String, InputText>);

impl Answers {
    /// Finds the question of each answer.
    ///
    /// # Errors
    /// Every answer that belongs to no question, to several, or does not fit.
    pub(super) fn of(workflow: &Workflow, given: &BTreeMap<String, InputText>) -> Result<Self, Vec<Fault>> {
        if given.is_empty() {
            return Ok(Self::default());
        }
        let mut questions = BTreeMap::new();
        collect(&workflow.scope, &StepPath::ROOT, &mut questions);
        let sensitive = Sensitive::of(workflow);
        let hidden = |place: &str| sensitive.as_ref().is_some_and(|sensitive| sensitive.covers(&place.into()));
        let (mut found, mut faults) = (BTreeMap::new(), Vec::new());
        for (key, answer) in given {
            match place(key, &questions).and_then(|(place, work)| match fit(key, work, answer) {
                Err(_) if hidden(&place) => Err(wrong(key, "it is not shown, since the step is sensitive")),
                fits => fits.map(|()| place),
            }) {
                Ok(place) => drop(found.insert(place, answer.clone())),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(Self(found)) } else { Err(faults) }
    }

    /// The answer for the question at `path`.
    pub(super) fn get(&self, path: &StepPath) -> Option<&InputText> {
        self.0.get(path.as_str()).or_else(|| self.0.get(&path.place()))
    }
}

type Questions<'w> = BTreeMap<String, &'w AskWork>;

fn collect<'w>(scope: &'w Scope, at: &StepPath, into: &mut Questions<'w>) {
    for step in &scope.steps {
        let path = at.child(&step.id);
        if let Work::Ask(work) = &step.work {
            into.insert(path.as_str().to_owned(), work);
        }
        if let Some(inner) = step.inner() {
            collect(inner, &path, into);
        }
    }
}

/// The question that a key means, by path, or by an id that only one question has.
fn place<'w>(key: &str, questions: &Questions<'w>) -> Result<(String, &'w AskWork), Fault> {
    if let Some(work) = questions.get(&StepPath::from(key).place()) {
        return Ok((key.to_owned(), work));
    }
    let same_id = |place: &&String| place.rsplit('.').next() == Some(key);
    let places: Vec<&String> = questions.keys().filter(same_id).collect();
    match places.as_slice() {
        [one] => questions.get(*one).map(|work| ((*one).clone(), *work)).ok_or_else(|| unknown(key, questions)),
        [] => Err(unknown(key, questions)),
        several => {
            let list: Vec<String> = several.iter().map(|place| format!("`{place}`")).collect();
            let message = format!("the answer for `{key}` could be for several questions");
            Err(Fault::user("ambiguous_answer", message).with_hint(format!("name one of {}", list.join(", "))))
        }
    }
}

fn unknown(key: &str, questions: &Questions<'_>) -> Fault {
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
    use std::sync::Arc;

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
        Answers::of(&Workflow::of_steps("w", steps), &given)
    }

    #[test]
    fn a_question_is_named_by_its_path_or_an_id_of_its_own() {
        let found = answers(&[("approve", "yes"), ("only", "no"), ("b.review", "yes"), ("a[1].review", "no")]).unwrap();
        for (path, answer) in [("approve", "yes"), ("a.only", "no"), ("a[7].only", "no"), ("b.review", "yes")] {
            assert_eq!(found.get(&path.into()), Some(&InputText::Text(answer.to_owned())), "{path}");
        }
        assert!(found.get(&"a[1].review".into()).is_some() && found.get(&"a[2].review".into()).is_none());
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
        let fault = Answers::of(&secret, &given).unwrap_err().remove(0);
        assert!(fault.message.starts_with("the answer for `pin`") && !fault.message.contains("4711"), "{fault}");
    }
}
