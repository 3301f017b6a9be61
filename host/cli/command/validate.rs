//! `validate`: everything that can be found out about documents without running or spending anything.

mod culprit;
mod form;
mod guarantees;

use super::document::{self, Absence};
use crate::args::{Global, ValidateArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{self, Dotenv, Session};
use cofferdam::core::diagnostic::{Diagnostic, Diagnostics, Place, Severity};
use cofferdam::core::fault::Fault;
use cofferdam::core::port::Models;
use cofferdam::core::spec::code;
use cofferdam::{Error, Workflow};
use culprit::Culprit;
use form::{Checked, Totals};
pub(super) use guarantees::GUARANTEE;
use guarantees::Guarantor;
use std::path::Path;
use std::sync::Arc;

pub(super) fn run(global: &Global, args: &ValidateArgs) -> anyhow::Result<Exit> {
    let session = Session::open(global, &[])?;
    let catalog = session.models(Path::new("."), Dotenv::Ignore);
    let guarantors = args.provider.as_deref().map(|name| guarantees::named(&catalog, name)).transpose()?;
    let guarantors = guarantors.unwrap_or_default();
    let runtime = session::runtime()?;
    let mut totals = Totals::default();
    for file in &args.files {
        // What is wrong with one document must not hide what is wrong with the next.
        let findings = match runtime.block_on(check(&session, file, &guarantors)) {
            Ok(findings) => findings,
            Err(error) => one(of_host(file, &format!("{error:#}"), None, Severity::Error)),
        };
        let findings = if args.strict { as_errors(findings) } else { findings };
        let checked = Checked { file, findings: &findings };
        totals.add(&checked);
        form::show(args.form(), &checked)?;
    }
    form::conclude(args.form(), &totals)?;
    runtime.shutdown_background();
    Ok(if totals.invalid == 0 { Exit::Done } else { Exit::Invalid })
}

async fn check(session: &Session, file: &Path, guarantors: &[Guarantor]) -> anyhow::Result<Diagnostics> {
    if let Some(absence) = document::absence(file) {
        return Ok(one(of_absence(file, absence)));
    }
    let workflow = match Workflow::load(file) {
        Ok(workflow) => workflow,
        Err(Error::Invalid(findings)) => return Ok(findings),
        Err(other) => return Err(Failure::from(other).into()),
    };
    let orchestrator = session
        .with_models(session.orchestrator(), &[])?
        .models(session.models(document::directory(file), Dotenv::Ignore) as Arc<dyn Models>)
        .grants(session.grants(&[])?)
        .mcp_servers(session.servers(&[])?)
        // Which model the steps get is decided when they run.
        .default_model(cofferdam::llm::extract::NAME)
        .build()
        .map_err(Failure::from)?;
    let mut findings = workflow.warnings().clone();
    guarantees::check(workflow.document(), guarantors).into_iter().for_each(|finding| findings.push(finding));
    match orchestrator.check_host(&workflow).await {
        Ok(_) => {}
        // What cannot run in this version was found at its own place already.
        Err(Error::Refused(faults)) => faults
            .iter()
            .filter(|fault| fault.code != "not_built")
            .for_each(|fault| findings.push(of_fault(file, &workflow, fault))),
        Err(Error::Tools(error)) => findings.push(of_host(file, &error.to_string(), None, Severity::Error)),
        Err(other) => return Err(Failure::from(other).into()),
    }
    Ok(findings.sorted())
}

fn one(finding: Diagnostic) -> Diagnostics {
    let mut findings = Diagnostics::default();
    findings.push(finding);
    findings
}

fn as_errors(findings: Diagnostics) -> Diagnostics {
    let mut strict = Diagnostics::default();
    for finding in findings {
        strict.push(Diagnostic { severity: Severity::Error, ..finding });
    }
    strict
}

fn of_absence(file: &Path, absence: Absence) -> Diagnostic {
    let place = Some(beginning(file));
    let Absence { message, hint } = absence;
    let (code, severity) = (code::FILE.id, Severity::Error);
    Diagnostic { code, severity, place, path: String::new(), message, hint: Some(hint) }
}

/// What this machine lacks is a warning: the document may be right. A broken plugin is an error anywhere.
fn of_fault(file: &Path, workflow: &Workflow, fault: &Fault) -> Diagnostic {
    let severity = match fault.code.as_ref() {
        "unknown_tool" | "mcp_unknown_server" | "unknown_native" | "unknown_engine" | "unknown_agent"
        | "plugin_not_fetched" => Severity::Warning,
        code if code.starts_with("model_") => Severity::Warning,
        _ => Severity::Error,
    };
    let finding = of_host(file, &fault.message, fault.hint.clone(), severity);
    let Some(Culprit { place, path, word }) = culprit::find(workflow.document(), fault) else { return finding };
    // A finding speaks in the words of the document.
    let message = if word == "bash" { finding.message.replace("`exec`", "`bash`") } else { finding.message };
    Diagnostic { place: Some(place), path, message, ..finding }
}

fn of_host(file: &Path, message: &str, hint: Option<String>, severity: Severity) -> Diagnostic {
    let place = Some(beginning(file));
    Diagnostic { code: HOST.id, severity, place, path: String::new(), message: message.to_owned(), hint }
}

/// The place of a finding about a whole document.
fn beginning(file: &Path) -> Place {
    Place { file: file.display().to_string().into(), line: 1, column: 1 }
}

/// The code of findings about this machine.
pub(super) const HOST: code::Code = code::Code {
    id: "H001",
    title: "the document does not fit this machine",
    about: "A plugin, tool, schema or model that the document names cannot be used here.",
};
