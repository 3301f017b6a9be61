//! An agent for tests of workflows in code: it logs what is asked of it, and fails when it is told to.

use cofferdam::core::event::StepOutput;
use cofferdam::core::fault::Fault;
use cofferdam::core::port::{AgentContext, AgentFailure, AgentInput, AgentOutput, BoxFuture};
use cofferdam::{Agent, AgentRef, Flow, Step};
use std::sync::{Arc, Mutex};

/// An agent that counts what is asked of it, in one list for all that share it.
pub(crate) struct Counting {
    pub(crate) name: &'static str,
    log: Arc<Mutex<Vec<String>>>,
    fails: &'static str,
}

impl Counting {
    pub(crate) fn new(name: &'static str, log: &Arc<Mutex<Vec<String>>>) -> Self {
        Self { name, log: Arc::clone(log), fails: "" }
    }

    pub(crate) fn failing(name: &'static str, fails: &'static str, log: &Arc<Mutex<Vec<String>>>) -> Self {
        Self { fails, ..Self::new(name, log) }
    }

    fn did(&self, what: &str) -> Result<(), Fault> {
        self.log.lock().unwrap().push(format!("{} {what}", self.name));
        if self.fails == what { Err(Fault::step("broken", format!("{} is broken", self.name))) } else { Ok(()) }
    }
}

impl Agent for Counting {
    fn name(&self) -> &str {
        self.name
    }

    fn initialize(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(self.did("initialize")))
    }

    fn run(&self, _: AgentContext, input: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        let ran = self.did("run").map_err(AgentFailure::from);
        let content = format!("{}({})", self.name, input.message).into();
        let output = StepOutput { content, ..StepOutput::default() };
        Box::pin(async move { ran.map(|()| AgentOutput { output, ..AgentOutput::default() }) })
    }

    fn cleanup(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(self.did("cleanup")))
    }
}

pub(crate) fn three(flow: &mut Flow, log: &Arc<Mutex<Vec<String>>>) {
    for name in ["one", "two", "three"] {
        flow.add_step(Step::new(name).agent(AgentRef::new(Counting::new(name, log)))).unwrap();
    }
}

pub(crate) fn runs(log: &Arc<Mutex<Vec<String>>>) -> Vec<String> {
    let log = log.lock().unwrap();
    log.iter().filter_map(|entry| entry.strip_suffix(" run")).map(str::to_owned).collect()
}
