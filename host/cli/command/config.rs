//! `config show`: the settings that hold here, and where each comes from. Never a key.

use crate::args::Global;
use crate::environment;
use crate::exit::Exit;
use crate::session::Session;
use crate::settings::{self, Origin, TABLE};
use crate::terminal;
use crate::ui::table::{self, Wide};
use cofferdam::llm::provider::without_user;
use serde_json::json;

/// A setting as it is shown.
struct Row {
    key: String,
    value: String,
    origin: Origin,
}

pub(super) fn run(global: &Global, with_origin: bool, json: bool) -> anyhow::Result<Exit> {
    let session = Session::open(global, &[])?;
    let rows = rows(&session);
    if json {
        for row in &rows {
            let line = json!({ "key": row.key, "value": row.value, "origin": row.origin.to_string() });
            terminal::print(&format!("{line}\n"))?;
        }
        return Ok(Exit::Done);
    }
    let head: &[&str] = if with_origin { &["SETTING", "VALUE", "ORIGIN"] } else { &["SETTING", "VALUE"] };
    let mut shown = table::with_head(Wide::Keep, head);
    for row in &rows {
        let mut cells = vec![row.key.clone(), row.value.clone()];
        if with_origin {
            cells.push(row.origin.to_string());
        }
        shown.add_row(cells);
    }
    terminal::print(&table::render(&shown))?;
    if with_origin {
        let variables: Vec<&str> = TABLE.iter().map(|entry| entry.variable).collect();
        let user = settings::File::user_path().map_or_else(|| "none".to_owned(), |path| path.display().to_string());
        let project = session.project.settings_file();
        terminal::tell(&format!("\nflags beat variables ({}),", variables.join(", ")));
        terminal::tell(&format!("which beat {}, which beats {user}", project.display()));
        if let Some(dirs) = environment::user_dirs() {
            terminal::tell(&format!("compiled plugins: {}; their key: {}", dirs.cache.display(), dirs.state.display()));
        }
    }
    Ok(Exit::Done)
}

fn rows(session: &Session) -> Vec<Row> {
    let values = session.settings.values().iter();
    let mut rows: Vec<Row> = values
        .map(|(key, sourced)| Row {
            key: (*key).to_owned(),
            value: sourced.value.clone(),
            origin: sourced.origin.clone(),
        })
        .collect();
    for file in &session.settings.files {
        let mut push = |key: String, value: String| {
            rows.push(Row { key, value, origin: Origin::File(file.path.clone(), 0) });
        };
        file.allow.iter().for_each(|rule| push("permissions.allow".to_owned(), rule.to_string()));
        file.ask.iter().for_each(|rule| push("permissions.ask".to_owned(), rule.to_string()));
        file.deny.iter().for_each(|rule| push("permissions.deny".to_owned(), rule.to_string()));
        if file.strict {
            push("strict".to_owned(), "true".to_owned());
        }
        for (name, source) in &file.secrets {
            push(format!("secrets.{name}"), format!("{source:?}"));
        }
        for (alias, grants) in &file.grants {
            grants.explain().into_iter().for_each(|line| push(format!("plugins.{alias}.grants"), line));
        }
        for (alias, server) in &file.servers {
            push(format!("mcp_servers.{alias}"), server.reference.place());
        }
        if let Some(models) = &file.models {
            models.default.iter().for_each(|name| push("models.default".to_owned(), name.clone()));
            models.aliases.iter().for_each(|(name, model)| push(format!("models.aliases.{name}"), model.clone()));
            for (name, provider) in &models.providers {
                let url = provider.base_url.as_deref().map(without_user).unwrap_or_default();
                let key = provider.key_variable.as_ref().map(|name| format!(", key in {name}")).unwrap_or_default();
                push(format!("models.providers.{name}"), format!("{url}{key}"));
            }
        }
    }
    rows
}
