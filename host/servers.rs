//! Which servers of the Model Context Protocol the user allows: those of the project's file, of flags, or whatever a
//! document requests.
//!
//! It must not start any.

use cofferdam_core::id::Alias;
use cofferdam_core::policy::Trust;
use cofferdam_core::server::ServerReference;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A server that the user wrote down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectServer {
    /// Where it is.
    pub reference: ServerReference,
    /// What is believed of what it says about its tools.
    pub trust: Trust,
    /// What a path of its program is relative to.
    pub directory: PathBuf,
}

/// What the user allows. A document only ever requests.
#[derive(Clone, Debug, Default)]
pub struct ServerPolicy {
    project: BTreeMap<Alias, ProjectServer>,
    flags: BTreeSet<Alias>,
    requested: bool,
}

/// What a server of a document comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// With the path of its program made absolute.
    pub(crate) reference: ServerReference,
    pub(crate) trust: Trust,
    pub(crate) is_allowed: bool,
}

impl ServerPolicy {
    /// None.
    #[must_use]
    pub fn deny_all() -> Self {
        Self::default()
    }

    /// Allows this server, exactly as it is written, under this name; documents may use it without repeating it.
    #[must_use]
    pub fn with_project(mut self, alias: Alias, server: ProjectServer) -> Self {
        self.project.insert(alias, server);
        self
    }

    /// Allows the server that a document calls by this name.
    #[must_use]
    pub fn with_flag(mut self, alias: Alias) -> Self {
        self.flags.insert(alias);
        self
    }

    /// Allows whatever documents request.
    #[must_use]
    pub fn with_requested(mut self) -> Self {
        self.requested = true;
        self
    }

    /// Names that a flag allows.
    pub fn flagged(&self) -> impl Iterator<Item = &Alias> {
        self.flags.iter()
    }

    /// What a document's server comes to; none when it is the project's and the project has none.
    pub(crate) fn wanted(&self, alias: &Alias, declared: &ServerReference, base: &Path) -> Option<Wanted> {
        let known = self.project.get(alias).map(|known| (resolved(&known.reference, &known.directory), known.trust));
        if *declared == ServerReference::Project {
            return known.map(|(reference, trust)| Wanted { reference, trust, is_allowed: true });
        }
        let reference = resolved(declared, base);
        // Another server under the same name is another server.
        let trust = known.filter(|(known, _)| *known == reference).map(|(_, trust)| trust);
        let is_allowed = trust.is_some() || self.requested || self.flags.contains(alias);
        Some(Wanted { reference, trust: trust.unwrap_or_default(), is_allowed })
    }
}

/// The reference with the path of its program made absolute. A bare name is looked for in `PATH`.
fn resolved(reference: &ServerReference, base: &Path) -> ServerReference {
    match reference {
        ServerReference::Command { command, args, env } if command.contains('/') => {
            let path = base.join(command);
            let path = std::path::absolute(&path).unwrap_or(path);
            ServerReference::Command { command: path.display().to_string(), args: args.clone(), env: env.clone() }
        }
        other => other.clone(),
    }
}

/// The lines that would allow a server: of a command line, and of `cofferdam.toml`.
pub(crate) fn lines_to_allow(alias: &Alias, reference: &ServerReference) -> String {
    let mut lines = vec![
        format!("allow it for one run with `--allow-mcp {alias}`, or for the project in cofferdam.toml:"),
        format!("[mcp_servers.{alias}]"),
    ];
    let text = |text: &str| toml::Value::from(text).to_string();
    let table = |key: &str, table: &BTreeMap<String, String>| {
        let entries: Vec<String> =
            table.iter().map(|(name, value)| format!("{} = {}", text(name), text(value))).collect();
        (!entries.is_empty()).then(|| format!("{key} = {{ {} }}", entries.join(", ")))
    };
    match reference {
        ServerReference::Command { command, args, env } => {
            lines.push(format!("command = {}", text(command)));
            if !args.is_empty() {
                let args: Vec<String> = args.iter().map(|argument| text(argument)).collect();
                lines.push(format!("args = [{}]", args.join(", ")));
            }
            lines.extend(table("env", env));
        }
        ServerReference::Address { url, headers } => {
            lines.push(format!("url = {}", text(url)));
            lines.extend(table("headers", headers));
        }
        ServerReference::Project => {}
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(program: &str, argument: &str) -> ServerReference {
        ServerReference::Command { command: program.to_owned(), args: vec![argument.to_owned()], env: BTreeMap::new() }
    }

    #[test]
    fn the_project_allows_exactly_what_it_says() {
        let alias = Alias::parse("files").unwrap();
        let trust = Trust { read_only: true, idempotent: false };
        let known = ProjectServer { reference: command("./serve", "a"), trust, directory: PathBuf::from("/p") };
        let policy = ServerPolicy::deny_all().with_project(alias.clone(), known);
        let wanted = |declared: &ServerReference, base: &str| policy.wanted(&alias, declared, Path::new(base)).unwrap();
        let same = wanted(&command("./serve", "a"), "/p");
        assert!(same.is_allowed && same.trust == trust);
        assert_eq!(wanted(&ServerReference::Project, "/elsewhere"), same);
        for other in [wanted(&command("./serve", "b"), "/p"), wanted(&command("./serve", "a"), "/q")] {
            assert!(!other.is_allowed && other.trust == Trust::default(), "{other:?}");
        }
        let nobody = ServerPolicy::deny_all();
        assert_eq!(nobody.wanted(&alias, &ServerReference::Project, Path::new("/p")), None);
        assert!(!nobody.wanted(&alias, &command("x", "y"), Path::new("/p")).unwrap().is_allowed);
        let flagged = nobody.with_flag(alias.clone()).wanted(&alias, &command("x", "y"), Path::new("/p")).unwrap();
        assert!(flagged.is_allowed && !flagged.trust.read_only);
    }

    #[test]
    fn the_lines_that_allow_a_server_can_be_read_back() {
        let alias = Alias::parse("files").unwrap();
        let env = BTreeMap::from([("KEY".to_owned(), "${TOKEN}".to_owned())]);
        let reference = ServerReference::Command { command: "serve".into(), args: vec!["say \"hi\"".into()], env };
        let lines = lines_to_allow(&alias, &reference);
        let (head, settings) = lines.split_once('\n').unwrap();
        assert!(head.contains("--allow-mcp files"));
        let table: toml::Table = toml::from_str(settings).unwrap();
        assert_eq!(table["mcp_servers"]["files"]["args"][0].as_str(), Some("say \"hi\""));
        assert_eq!(table["mcp_servers"]["files"]["env"]["KEY"].as_str(), Some("${TOKEN}"));
    }
}
