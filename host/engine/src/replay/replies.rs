//! What agents answer behind the end of their step, once more: the conversation goes on against its record, and must come to
//! the same answer.

use super::Replayer;
use super::tries::Held;
use crate::executor::reply_of;
use cofferdam_core::event::{Body, Posted};
use cofferdam_core::id::StepPath;
use cofferdam_core::port::AgentInput;
use cofferdam_core::run::Machine;
use cofferdam_core::run::replay::{Answer, Asked};
use cofferdam_core::spec::workflow::Work;

impl Replayer {
    pub(super) async fn hold_on(
        &mut self,
        machine: &Machine,
        (path, attempt): (&StepPath, u32),
        asked: Asked<'_>,
    ) -> Answer {
        let Body::MessagePosted(posted) = &asked.recorded.body else { return Answer::Taken };
        let Some(Work::Agent(work)) = machine.step_at(path).map(|step| step.work.clone()) else { return Answer::Taken };
        // A model, a tool or the time failed there.
        if posted.failed {
            return Answer::Taken;
        }
        let spec = match self.spec(path, &work, &asked) {
            Ok(spec) => spec,
            Err(why) => return self.take(why),
        };
        if let Some(difference) = self.other_options((path, attempt), &spec, &asked) {
            return Answer::Differs(Box::new(difference));
        }
        let Ok(terms) = self.terms(path, &work, &spec) else { return Answer::Taken };
        let past = self.past(&asked, &terms);
        // What it was asked first makes no difference to what is recorded.
        let message = AgentInput { message: path.as_str().into(), attachments: Vec::new() };
        let spoken = self.speak(machine, (path, attempt), (spec, message), (&terms, &past)).await;
        match self.compare(path, &asked, &past) {
            Some(Held::Differs(difference)) => return Answer::Differs(difference),
            Some(Held::Taken | Held::Ended(..)) => return Answer::Taken,
            None => {}
        }
        let (text, failed) = reply_of(&spoken);
        Answer::Events(vec![Body::MessagePosted(Posted { text, failed, ..posted.clone() })])
    }
}
