//! What providers do not guarantee of the results that a document asks for.
//!
//! It must not ask a provider: it goes by what each protocol is documented to take.

use super::culprit::{collect, is_document};
use crate::failure::Failure;
use cofferdam::core::diagnostic::{Diagnostic, Place, Severity};
use cofferdam::core::spec::authored::{Part, read};
use cofferdam::core::spec::code::Code;
use cofferdam::core::spec::suggest::did_you_mean;
use cofferdam::core::spec::workflow::Workflow;
use cofferdam::llm::ModelCatalog;
use cofferdam::llm::schema::{Use, fit};

/// The code of these findings.
pub(in crate::command) const GUARANTEE: Code = Code {
    id: "H002",
    title: "a provider does not guarantee all of a schema",
    about: "The protocol of the provider has no word for a part of the `resultSchema`. What comes back is checked against the \
            whole schema in any case, and the model is told what is wrong; without the guarantee that takes more turns.",
};

/// A provider by its name, and what it takes.
pub(super) struct Guarantor {
    name: String,
    api: cofferdam::llm::Api,
    /// Whether it guarantees anything.
    guarantees: bool,
}

/// The providers that a flag names: one of them, or `all`, of which those of one protocol are as one.
pub(super) fn named(catalog: &ModelCatalog, name: &str) -> Result<Vec<Guarantor>, Failure> {
    let known = catalog.providers_listed();
    if name == "all" {
        let mut all: Vec<Guarantor> = Vec::new();
        for provider in known {
            let guarantees = provider.guarantees_schemas;
            match all.iter_mut().find(|one| one.api == provider.api && one.guarantees == guarantees) {
                Some(one) => one.name = format!("{}, {}", one.name, provider.name),
                None => all.push(Guarantor { name: provider.name, api: provider.api, guarantees }),
            }
        }
        return Ok(all);
    }
    let Some(found) = known.iter().find(|provider| provider.name == name) else {
        let names = known.iter().map(|provider| provider.name.as_str());
        let hint =
            did_you_mean(name, names).unwrap_or_else(|| "`cofferdam models list` names them; `all` is all".to_owned());
        return Err(Failure::usage(format!("--provider {name}: no provider of models is called so")).with_hint(hint));
    };
    Ok(vec![Guarantor { name: found.name.clone(), api: found.api, guarantees: found.guarantees_schemas }])
}

/// What is lost of each result's schema.
pub(super) fn check(workflow: &Workflow, guarantors: &[Guarantor]) -> Vec<Diagnostic> {
    let documents = workflow.sources.iter().enumerate().filter(|(index, source)| *index == 0 || is_document(source));
    let mut found = Vec::new();
    for (_, source) in documents {
        let (file, _) = read(&source.text, &source.path);
        let Some(file) = file else { continue };
        for part in schemas(file.root()) {
            let place = Place { file: source.path.as_str().into(), line: part.line(), column: part.column() };
            found.extend(guarantors.iter().filter_map(|one| lost(one, part, &place)));
        }
    }
    found
}

fn schemas(root: Part<'_>) -> Vec<Part<'_>> {
    let mut steps = Vec::new();
    collect(root, &mut steps);
    let agents = root.member("agents").and_then(Part::members).into_iter().flatten().map(|member| member.value);
    agents.chain(steps).filter_map(|part| part.member("resultSchema")).collect()
}

fn lost(guarantor: &Guarantor, part: Part<'_>, place: &Place) -> Option<Diagnostic> {
    let Guarantor { name, api, guarantees } = guarantor;
    if !guarantees {
        return Some(Diagnostic {
            code: GUARANTEE.id,
            severity: Severity::Warning,
            place: Some(place.clone()),
            path: part.path().to_owned(),
            message: format!("{name}: guarantees no schema; the model hands the result over by a tool"),
            hint: Some("what comes back is checked against the whole schema".to_owned()),
        });
    }
    let fitted = fit(*api, Use::Result, &part.to_json());
    let (message, hint) = match (fitted.unfit, fitted.lost.as_slice()) {
        (None, []) => return None,
        (Some(why), _) => (
            format!("{name}: cannot be guaranteed, since {why}; the model hands the result over by a tool"),
            "name the members of each object, for a guarantee".to_owned(),
        ),
        (None, lost) => {
            let places = lost.iter().map(|place| format!("`{place}`")).collect::<Vec<_>>().join(", ");
            (
                format!("{name}: not guaranteed: {places}"),
                "what comes back is checked against the whole schema".to_owned(),
            )
        }
    };
    Some(Diagnostic {
        code: GUARANTEE.id,
        severity: Severity::Warning,
        place: Some(place.clone()),
        path: part.path().to_owned(),
        message,
        hint: Some(hint),
    })
}
