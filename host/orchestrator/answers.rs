//! What people answered for good: under what it is kept, what is kept of it, and how it is taken back.
//!
//! Keys contain the user's secret, so that the records that a folder of somebody else brings along cannot hold an answer. Beside the
//! key stands what it was made of, to be shown; it counts only where it gives that key again.

use super::Orchestrator;
use crate::error::Error;
use cofferdam_core::digest::sha256_hex;
use cofferdam_core::id::ToolName;
use cofferdam_core::policy::Grants;
use cofferdam_core::port::{Put, StateEntry};
use cofferdam_core::time::Timestamp;
use cofferdam_plugin::user_key;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Where answers about calls of tools are kept.
pub(super) const OF_TOOLS: &str = "permissions";
/// Where answers about what documents request are kept.
pub(super) const OF_REQUESTS: &str = "grants";

/// How many entries are read at a time.
const PAGE: usize = 500;

/// An answer that a person gave for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeptAnswer {
    /// Its id in the project.
    pub id: String,
    /// What it is about.
    pub kind: AnswerKind,
    /// The tool, or what the document calls the plugin or server; empty where an older version did not keep it.
    pub name: String,
    /// Where the plugin of a tool came from, or the document that requests something; none of a native tool, and where an older
    /// version did not keep it.
    pub of: Option<String>,
    /// The digest of the component that it is about.
    pub digest: Option<String>,
    /// What it allows, a line each.
    pub allows: Vec<String>,
    /// When it was given.
    pub at: Option<Timestamp>,
    /// Whether it is this user's for this project, so that it counts; none where that cannot be told.
    pub counts: Option<bool>,
}

/// What an answer for good is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerKind {
    /// Calls of a tool by models and plugins, in this project.
    Tool,
    /// What a document requests for a plugin, as both are.
    Plugin,
    /// A server of the Model Context Protocol of a document, as both are.
    McpServer,
    /// What an older version kept, which did not say more.
    Older,
}

impl AnswerKind {
    /// The kind as it stands in output for machines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Plugin => "plugin",
            Self::McpServer => "mcp_server",
            Self::Older => "older",
        }
    }
}

/// A component, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Component {
    pub(super) source: String,
    pub(super) digest: String,
}

/// What is kept of an answer: what its key is made of, beside the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum About {
    /// Calls of a tool.
    Tool { tool: ToolName, component: Option<Component>, at: Timestamp },
    /// What a document requests.
    Request(Request),
}

/// What a document requests for a plugin, or a server that it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) alias: String,
    /// The document's file.
    pub(super) document: PathBuf,
    /// Of the component; of a server what it is.
    pub(super) digest: String,
    /// The grants, as JSON.
    pub(super) requested: String,
    /// What is started or spoken to, where it is a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<Vec<String>>,
    pub(super) at: Timestamp,
}

impl About {
    /// Under what it is kept.
    pub(super) fn key(&self, secret: &[u8; 32], root: &Path) -> String {
        match self {
            Self::Tool { tool, component, .. } => {
                let of = component.as_ref().map_or(String::new(), |of| format!("{}\0{}", of.source, of.digest));
                let (root, tool) = (root.as_os_str().as_encoded_bytes(), tool.to_string());
                sha256_hex(&[b"tool", &secret[..], root, of.as_bytes(), tool.as_bytes()].join(&0))
            }
            Self::Request(Request { alias, document, digest, requested, .. }) => {
                let path = document.as_os_str().as_encoded_bytes();
                let parts = [b"grant", &secret[..], path, alias.as_bytes(), digest.as_bytes(), requested.as_bytes()];
                sha256_hex(&parts.join(&0))
            }
        }
    }

    /// The same as it is kept; nothing where a path is no text: such an answer counts, and cannot be shown.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn shown(self, id: String, counts: Option<bool>) -> KeptAnswer {
        match self {
            Self::Tool { tool, component, at } => {
                let (of, digest) = component.map(|of| (of.source, of.digest)).unzip();
                let (kind, at, allows) = (AnswerKind::Tool, Some(at), vec![format!("every call of `{tool}`")]);
                KeptAnswer { id, kind, name: tool.to_string(), of, digest, allows, at, counts }
            }
            Self::Request(Request { alias: name, document, digest, requested, server, at }) => {
                let (of, at) = (Some(document.display().to_string()), Some(at));
                match server {
                    Some(allows) => {
                        KeptAnswer { id, kind: AnswerKind::McpServer, name, of, digest: None, allows, at, counts }
                    }
                    None => {
                        let (kind, digest, allows) = (AnswerKind::Plugin, Some(digest), explained(&requested));
                        KeptAnswer { id, kind, name, of, digest, allows, at, counts }
                    }
                }
            }
        }
    }
}

fn explained(requested: &str) -> Vec<String> {
    let value: Option<Value> = serde_json::from_str(requested).ok();
    value.and_then(|value| Grants::parse(&value).ok()).map(|grants| grants.explain()).unwrap_or_default()
}

impl Orchestrator {
    /// What people answered for good in this project, about calls of tools and about what documents request; nothing without a project.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn kept_answers(&self) -> Result<Vec<KeptAnswer>, Error> {
        let mut answers = Vec::new();
        for namespace in [OF_TOOLS, OF_REQUESTS] {
            for entry in self.kept_entries(namespace).await? {
                answers.push(self.shown_answer(namespace, entry));
            }
        }
        answers.sort_by(|one, other| (&one.name, &one.of, &one.id).cmp(&(&other.name, &other.of, &other.id)));
        Ok(answers)
    }

    /// Takes an answer back, by its id: whoever wants the same is asked again, also in runs that are under way, apart from the one in
    /// which it was given. Gives whether there was such an answer.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn forget_answer(&self, id: &str) -> Result<bool, Error> {
        let state = &self.shared.settings.state;
        let mut found = false;
        for namespace in [OF_TOOLS, OF_REQUESTS] {
            if state.get(namespace, id).await?.is_some() {
                let (namespace, key) = (namespace.to_owned(), id.to_owned());
                state.put_if(Put { namespace, key, value: None, expected: None }).await?;
                found = true;
            }
        }
        Ok(found)
    }

    async fn kept_entries(&self, namespace: &str) -> Result<Vec<StateEntry>, Error> {
        let mut all: Vec<StateEntry> = Vec::new();
        loop {
            let after = all.last().map(|last| last.key.clone());
            let page = self.shared.settings.state.scan(namespace, "", after.as_deref(), PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    fn shown_answer(&self, namespace: &str, StateEntry { key, value, .. }: StateEntry) -> KeptAnswer {
        if let Ok(about) = serde_json::from_slice::<About>(&value) {
            let counts = self.key_of(&about).map(|known| known == key);
            return about.shown(key, counts);
        }
        // An older version kept the name of the tool, or the grants.
        let text = String::from_utf8_lossy(&value).into_owned();
        if let (OF_TOOLS, Ok(tool)) = (namespace, ToolName::parse(&text)) {
            let native = tool.alias().is_none();
            let about = About::Tool { tool, component: None, at: Timestamp::default() };
            let counts = self.key_of(&about).map(|known| known == key).filter(|_| native);
            return KeptAnswer { at: None, ..about.shown(key, counts) };
        }
        let allows = explained(&text);
        let (kind, name) = (AnswerKind::Older, String::new());
        KeptAnswer { id: key, kind, name, of: None, digest: None, allows, at: None, counts: None }
    }

    /// Under what an answer of this user for this project is kept; none without them.
    pub(super) fn key_of(&self, about: &About) -> Option<String> {
        let settings = &self.shared.settings;
        let dirs = settings.user_dirs.as_ref()?;
        let root = settings.root.as_deref().map(canonical);
        let root = match about {
            About::Tool { .. } => root?,
            About::Request(_) => PathBuf::new(),
        };
        let secret = user_key(&dirs.state);
        let secret = secret.inspect_err(|error| tracing::warn!(%error, "answers for good are not kept")).ok()?;
        Some(about.key(&secret, &root))
    }
}

/// One folder is one project, whatever it was called on the command line.
pub(super) fn canonical(root: &Path) -> PathBuf {
    let root = if root.as_os_str().is_empty() { Path::new(".") } else { root };
    root.canonicalize().unwrap_or_else(|_| root.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_the_same_whatever_it_is_called() {
        // What `.cofferdam` of this directory is in, as the command line has it.
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        for name in ["", ".", "./"] {
            assert_eq!(canonical(Path::new(name)), here, "`{name}`");
        }
    }
}
