//! Answers that come too late: somebody else answered the question first.
//!
//! Exactly one answer counts. Whoever gave the very same one is told nothing; another one is refused before anything is
//! recorded.

use super::Error;
use super::answers::{Answers, questions_of};
use super::resume::read_events;
use super::run::Run;
use crate::answer::Form;
use cofferdam_core::event::{Body, StepStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::port::{AgentQuestion, JournalError};
use cofferdam_core::run::NodeState;
use cofferdam_core::spec::InputText;
use cofferdam_core::spec::workflow::{AskWork, Work, Workflow};
use cofferdam_core::value::to_text;
use serde_json::Value;
use std::collections::BTreeMap;

/// Whether these answers are those that a completed run was given.
///
/// # Errors
/// Every answer that belongs to no question, or does not fit.
pub fn repeats_answers(
    workflow: &Workflow,
    given: &BTreeMap<String, InputText>,
    said: &BTreeMap<StepPath, Value>,
) -> Result<bool, Vec<Fault>> {
    let mut answers = Answers::of(workflow, &BTreeMap::new(), given)?;
    let paths: Vec<StepPath> = answers.keys().map(StepPath::from).collect();
    let questions: Vec<AgentQuestion> = questions_of(workflow, &BTreeMap::new()).collect();
    Ok(paths.iter().all(|path| {
        let question = questions.iter().find(|question| question.path.as_str() == path.place());
        let (given, said) = (answers.take(path), said.get(path));
        matches!((question, given, said), (Some(question), Some(given), Some(said)) if is_same(&question.work, &given, said))
    }))
}

/// Why a completed run takes no answer.
#[must_use]
pub fn asks_nothing_more(run: &RunId) -> Fault {
    late(format!("run `{run}` is completed; it asks nothing any more"))
}

impl Run {
    /// Refuses answers to questions that were answered otherwise.
    pub(super) async fn refuse_late_answers(&mut self) -> Result<(), Error> {
        let paths: Vec<StepPath> = self.prepared.answers.keys().map(StepPath::from).collect();
        let ended = |path: &StepPath| self.machine.state_of(path) == Some(NodeState::Done(StepStatus::Completed));
        let late: Vec<StepPath> = paths.into_iter().filter(ended).collect();
        let said = if late.is_empty() { BTreeMap::new() } else { self.said(&late).await? };
        let mut faults = Vec::new();
        for (path, said) in said {
            if let Some(given) = self.prepared.answers.take(&path)
                && !self.asked(&path).is_some_and(|work| is_same(work, &given, &said))
            {
                faults.push(self.answered_before(&path, &said));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(Error::Refused(faults)) }
    }

    /// Refuses answers that a completed run has no question for.
    pub(super) fn refuse_idle_answers(&self) -> Result<(), Error> {
        if self.prepared.answers.unused_keys().next().is_none() {
            return Ok(());
        }
        Err(Error::Refused(vec![asks_nothing_more(&self.request.run_id)]))
    }

    /// The recorded answers to these questions.
    async fn said(&self, paths: &[StepPath]) -> Result<BTreeMap<StepPath, Value>, JournalError> {
        let mut said = BTreeMap::new();
        read_events(&*self.ports.journal, &self.request.run_id, |event| {
            if let Body::QuestionAnswered { answer, .. } = &event.body
                && paths.contains(&event.path)
            {
                said.insert(event.path.clone(), answer.clone());
            }
        })
        .await?;
        Ok(said)
    }

    fn asked(&self, path: &StepPath) -> Option<&AskWork> {
        match self.machine.step_at(path).map(|step| &step.work) {
            Some(Work::Ask(work)) => Some(work),
            _ => None,
        }
    }

    fn answered_before(&self, path: &StepPath, said: &Value) -> Fault {
        let is_hidden = self.sensitive.as_ref().is_some_and(|sensitive| sensitive.covers(path));
        let said = if is_hidden { String::new() } else { format!(": `{}`", to_text(said)) };
        late(format!("the question of `{path}` was answered already{said}"))
    }
}

fn is_same(work: &AskWork, given: &InputText, said: &Value) -> bool {
    Form::of(work).is_ok_and(|form| form.read(given).as_ref() == Ok(said))
}

fn late(message: String) -> Fault {
    Fault::user("late_answer", message).with_hint("`cofferdam fork` answers anew, in a new run")
}
