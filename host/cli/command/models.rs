//! `models`: which providers and names there are. It connects to nobody and shows no key.

use crate::args::{Global, ModelsCommand, ModelsListArgs};
use crate::exit::Exit;
use crate::session::{Dotenv, Session};
use crate::terminal;
use crate::ui::table::{self, Wide};
use cofferdam::llm::ModelCatalog;
use cofferdam::llm::select::{ListedName, ListedProvider, Origin};
use serde_json::json;
use std::path::Path;

pub(super) fn run(global: &Global, command: &ModelsCommand) -> anyhow::Result<Exit> {
    let ModelsCommand::List(args) = command;
    let session = Session::open(global, &[])?;
    let catalog = session.models(Path::new("."), if args.no_dotenv { Dotenv::Ignore } else { Dotenv::Read });
    terminal::print(&shown(&catalog, args))?;
    Ok(Exit::Done)
}

fn shown(catalog: &ModelCatalog, args: &ModelsListArgs) -> String {
    let (providers, names) = (catalog.providers_listed(), catalog.names_listed());
    if args.json {
        let providers = providers.iter().map(provider_as_json);
        return providers.chain(names.iter().map(name_as_json)).map(|line| line.to_string() + "\n").collect();
    }
    let default = catalog.default_model().map(|name| format!("\ndefault: {name}\n")).unwrap_or_default();
    providers_as_text(&providers) + &names_as_text(&names) + &default
}

fn providers_as_text(providers: &[ListedProvider]) -> String {
    let mut table = table::with_head(Wide::Break, &["PROVIDER", "SPEAKS", "ADDRESS", "KEY", "FROM"]);
    for provider in providers {
        let address = provider.base_url.clone().unwrap_or_else(|| "not set".to_owned());
        table.add_row([
            provider.name.clone(),
            provider.api.name().to_owned(),
            address,
            key(provider),
            from(provider).to_owned(),
        ]);
    }
    table::render(&table)
}

fn names_as_text(names: &[ListedName]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let mut table = table::with_head(Wide::Break, &["NAME", "MODEL", "IN ITS PLACE"]);
    for ListedName { name, model, fallbacks } in names {
        let model = model.clone().unwrap_or_else(|fault| fault);
        table.add_row([name.clone(), model, fallbacks.join(", ")]);
    }
    format!("\n{}", table::render(&table))
}

fn key(provider: &ListedProvider) -> String {
    let variable = provider.key_variable.as_deref().unwrap_or("none");
    match (provider.has_key, provider.needs_key) {
        (true, _) => format!("{variable}: set"),
        (false, true) => format!("{variable}: missing"),
        (false, false) => format!("{variable}: not needed"),
    }
}

fn from(provider: &ListedProvider) -> &'static str {
    match provider.from {
        Origin::BuiltIn => "built in",
        Origin::Variable => "environment",
        Origin::Settings => "settings",
    }
}

fn provider_as_json(provider: &ListedProvider) -> serde_json::Value {
    json!({
        "provider": provider.name,
        "api": provider.api.name(),
        "base_url": provider.base_url,
        "key_variable": provider.key_variable,
        "has_key": provider.has_key,
        "needs_key": provider.needs_key,
        "from": from(provider),
    })
}

fn name_as_json(ListedName { name, model, fallbacks }: &ListedName) -> serde_json::Value {
    json!({ "name": name, "model": model.as_ref().ok(), "error": model.as_ref().err(), "fallbacks": fallbacks })
}
