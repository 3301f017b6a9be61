//! Which agent steps get the run's input as their whole message.

use super::workflow::{LoopKind, Scope, Step, Work, Workflow};
use crate::id::StepPath;

/// What the first steps of a scope get from outside.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Feed {
    /// The run's input and nothing else.
    Input,
    /// Something that is there in any case: an item, a dependency.
    Content,
}

impl Workflow {
    /// Agent steps whose message is the run's input and nothing else, as paths without iterations. Without an input
    /// such a run must not start: the message would be empty.
    #[must_use]
    pub fn steps_fed_by_input(&self) -> Vec<StepPath> {
        let mut found = Vec::new();
        look(&self.scope, Feed::Input, &StepPath::default(), &mut found);
        found
    }
}

fn look(scope: &Scope, feed: Feed, path: &StepPath, found: &mut Vec<StepPath>) {
    for step in &scope.steps {
        let feed = if step.depends_on.is_empty() { feed } else { Feed::Content };
        step.look(feed, &path.child(&step.id), found);
    }
}

impl Step {
    fn look(&self, feed: Feed, path: &StepPath, found: &mut Vec<StepPath>) {
        let for_each = self.repeat.as_ref().is_some_and(|repeat| matches!(repeat.kind, LoopKind::ForEach(_)));
        // An item of a loop is in the message of every step of its body.
        if feed == Feed::Content || for_each {
            return;
        }
        match (&self.work, self.inner()) {
            (Work::Agent(work), _) => {
                let own =
                    !work.instructions.trim().is_empty() || work.input.is_some() || !work.context_files.is_empty();
                if !own {
                    found.push(path.clone());
                }
            }
            (_, Some(scope)) => look(scope, feed, path, found),
            _ => {}
        }
    }
}
