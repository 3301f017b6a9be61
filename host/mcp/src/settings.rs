//! What a server is started or reached with. Plain data, and its variables put in.

use crate::health::fault;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::Alias;
use cofferdam_core::policy::Trust;
use cofferdam_core::port::Clock;
use cofferdam_core::server::{Piece, ServerReference, pieces};
use cofferdam_egress::Scrubber;
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Variables of the environment by name.
pub type Variables = Arc<dyn Fn(&str) -> Option<SecretString> + Send + Sync>;

/// What a server is started or reached with.
#[derive(Clone)]
pub struct ServerSettings {
    /// What documents call it.
    pub alias: Alias,
    /// Where it is: a program that is no bare name is an absolute path here.
    pub reference: ServerReference,
    /// The directory that a program is started in.
    pub directory: PathBuf,
    /// What is believed of it.
    pub trust: Trust,
    /// Where `${NAME}`, `PATH` and `HOME` come from.
    pub variables: Variables,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Values with their variables put in, and what must not be shown of them.
#[derive(Default)]
pub(crate) struct Values {
    pub(crate) each: BTreeMap<String, SecretString>,
    pub(crate) scrubber: Scrubber,
}

impl Values {
    /// Puts the variables in.
    ///
    /// # Errors
    /// When one of them is not set.
    pub(crate) fn of(settings: &ServerSettings) -> Result<Self, Fault> {
        let table = match &settings.reference {
            ServerReference::Command { env, .. } => env,
            ServerReference::Address { headers, .. } => headers,
            ServerReference::Project => return Ok(Self::default()),
        };
        let mut values = Self::default();
        for (name, text) in table {
            let value = values.fill(settings, name, text)?;
            values.each.insert(name.clone(), value);
        }
        Ok(values)
    }

    fn fill(&mut self, settings: &ServerSettings, name: &str, text: &str) -> Result<SecretString, Fault> {
        let mut filled = String::new();
        let found = pieces(text).map_err(|at| {
            let message = format!("the `${{` at byte {at} of `{name}` names no variable");
            fault(&settings.alias, "mcp_settings", &message)
        })?;
        for piece in found {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Variable(variable) => {
                    let Some(value) = (settings.variables)(variable) else {
                        let message = format!("`{name}` needs the variable `{variable}`, which is not set");
                        let fault = fault(&settings.alias, "mcp_settings", &message);
                        return Err(fault.with_hint(format!("export {variable}=...")));
                    };
                    filled.push_str(value.expose_secret());
                    self.scrubber.add(&value);
                }
            }
        }
        Ok(SecretString::from(filled))
    }
}
