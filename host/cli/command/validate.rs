//! `validate`: everything that can be found out about documents without running or spending anything.

use super::document;
use crate::args::{Global, ValidateArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{self, Dotenv, Session};
use crate::terminal;
use crate::ui::{finding, paint};
use cofferdam::core::diagnostic::{Diagnostic, Diagnostics, Severity};
use cofferdam::core::fault::Fault;
use cofferdam::core::port::Models;
use cofferdam::{Error, Workflow};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

pub(super) fn run(global: &Global, args: &ValidateArgs) -> anyhow::Result<Exit> {
    let session = Session::open(global, &[])?;
    let runtime = session::runtime()?;
    let mut worst = Exit::Done;
    for file in &args.files {
        let findings = runtime.block_on(check(&session, file))?;
        let is_bad = findings.has_errors() || (args.strict && !findings.is_empty());
        if is_bad {
            worst = Exit::Invalid;
        }
        show(file, &findings, is_bad, args.json)?;
    }
    runtime.shutdown_background();
    Ok(worst)
}

async fn check(session: &Session, file: &Path) -> anyhow::Result<Diagnostics> {
    let workflow = match Workflow::load(file) {
        Ok(workflow) => workflow,
        Err(Error::Invalid(findings)) => return Ok(findings),
        Err(other) => return Err(Failure::from(other).into()),
    };
    let orchestrator = session
        .orchestrator()
        .models(session.models(document::directory(file), Dotenv::Ignore) as Arc<dyn Models>)
        .grants(session.grants(&[])?)
        // Which model the steps get is decided when they run.
        .default_model(cofferdam::llm::extract::NAME)
        .build()
        .map_err(Failure::from)?;
    let mut findings = workflow.warnings().clone();
    match orchestrator.check_host(&workflow).await {
        Ok(_) => {}
        Err(Error::Refused(faults)) => faults.iter().for_each(|fault| findings.push(of_host(fault))),
        Err(Error::Tools(error)) => findings.push(finding_of(&error.to_string(), None, Severity::Error)),
        Err(other) => return Err(Failure::from(other).into()),
    }
    Ok(findings.sorted())
}

/// What this machine lacks is a warning: the document may be right. A broken plugin is an error anywhere.
fn of_host(fault: &Fault) -> Diagnostic {
    let severity = match fault.code.as_ref() {
        "unknown_tool" => Severity::Warning,
        code if code.starts_with("model_") => Severity::Warning,
        _ => Severity::Error,
    };
    finding_of(&fault.message, fault.hint.clone(), severity)
}

fn finding_of(message: &str, hint: Option<String>, severity: Severity) -> Diagnostic {
    Diagnostic { code: HOST.id, severity, place: None, path: String::new(), message: message.to_owned(), hint }
}

/// The code of findings about this machine.
pub(super) const HOST: cofferdam::core::spec::code::Code = cofferdam::core::spec::code::Code {
    id: "H001",
    title: "the document does not fit this machine",
    about: "A plugin, tool, schema or model that the document names cannot be used here.",
};

fn show(file: &Path, findings: &Diagnostics, is_bad: bool, json: bool) -> anyhow::Result<()> {
    let shown = file.display();
    if json {
        let line = json!({ "file": shown.to_string(), "valid": !is_bad, "findings": findings });
        terminal::print(&format!("{line}\n"))?;
        return Ok(());
    }
    if !findings.is_empty() {
        terminal::tell(&finding::render(findings));
    }
    let word = if is_bad { paint::bad("invalid") } else { paint::good("valid") };
    terminal::print(&format!("{shown}: {word}\n"))?;
    Ok(())
}
