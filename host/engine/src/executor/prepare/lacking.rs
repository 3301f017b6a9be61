//! What a document wants and this host, or this version, does not have.

use super::{Preparation, with_detail};
use crate::executor::uncarried;
use cofferdam_core::fault::Fault;
use cofferdam_core::memory::MemoryScope;
use cofferdam_core::port::Model;
use cofferdam_core::run::limits_cost;
use cofferdam_core::spec::workflow::AgentSpec;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Preparation<'_> {
    /// What was checked and cannot run in this version.
    pub(super) fn unbuilt(&mut self) {
        let unbuilt = self.request.workflow.unbuilt.iter();
        self.faults.extend(unbuilt.map(|part| {
            let message = format!("{} is not built in this version of cofferdam (`{}`)", part.what, part.path);
            Fault::user("not_built", message).with_hint("remove it to run the document as it is")
        }));
    }

    /// A memory that outlives the run, where nobody keeps one.
    pub(super) fn shared_memory(&mut self) {
        if self.workflow().options.memory_scope == MemoryScope::Shared && self.ports.shared_memory.is_none() {
            let fault =
                Fault::user("no_shared_memory", "the document shares a memory with other runs, and none is kept here");
            self.faults.push(fault.with_hint("leave `memory.scope` out, or set it to `run`"));
        }
    }

    /// Models whose price is not known, where money is limited: nobody could say when it is spent.
    pub(super) fn unknown_prices(&mut self) {
        let settings = &self.request.settings;
        if !limits_cost(self.workflow(), &settings.budget_of(self.workflow())) {
            return;
        }
        let names = self.models.values().flatten().map(|model| model.info().name);
        let unknown: BTreeSet<Arc<str>> = names.filter(|name| settings.prices.of(name).is_none()).collect();
        self.faults.extend(unknown.into_iter().map(|name| {
            let message = format!("the price of `{name}` is not known, and the run has a budget of money");
            let hint = format!("say what it costs in `cofferdam.toml`: `[prices.\"{name}\"]`, or limit tokens instead");
            with_detail(Fault::user("unknown_price", message).with_hint(hint), json!({ "model": &*name }))
        }));
    }

    /// Options that a model cannot carry: where only what was decided runs, they keep the run from starting.
    pub(super) fn uncarried(&mut self, model: &dyn Model, agent: &AgentSpec) {
        let found = uncarried(model, &agent.settings.options);
        if !self.request.settings.strict {
            self.made.uncarried.extend(found);
            return;
        }
        let about = json!({ "agent": agent.name.as_str() });
        let hint = "leave it out, or name a model that knows it";
        let fault = |told| with_detail(Fault::user("model_option", told).with_hint(hint), about.clone());
        let new: Vec<Fault> = found.into_iter().map(fault).filter(|fault| !self.faults.contains(fault)).collect();
        self.faults.extend(new);
    }
}
