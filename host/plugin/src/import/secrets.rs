//! Secrets by name: whether there is one, a stand-in for it, and, where that is granted, its value.
//!
//! It must not keep a value: it is looked up when it is needed, in a type that cannot print itself.

use super::{caught, guarded, refuse};
use crate::bindings::cofferdam::host::{secrets, secrets_reveal};
use crate::bindings::cofferdam::types::common::{ErrorKind, PluginError};
use crate::grant::Denial;
use crate::instance::{Call, Guest};
use cofferdam_core::event::Body;
use cofferdam_core::policy::{Grants, SecretGrant};
use cofferdam_egress::StandIn;
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::BTreeSet;

type Answer<T> = wasmtime::Result<Result<T, PluginError>>;

/// What the code of an event begins with that says a value was handed out.
const REVEALED: &str = "secret_revealed";

impl secrets::Host for Guest {
    fn exists(&mut self, name: String) -> wasmtime::Result<bool> {
        let begun = self.call.begin(|| name.clone());
        let answer = caught("secrets.exists", || {
            let call = &self.call;
            Ok(call.rights.granted.secrets.iter().any(|secret| secret.name == name) && value(call, &name).is_some())
        });
        self.call.end(begun, ("secrets", "exists"), &answer, |there| if *there { "yes" } else { "no" }.to_owned());
        answer.map(|answer: Result<bool, PluginError>| answer.unwrap_or_default())
    }

    fn placeholder(&mut self, name: String) -> Answer<String> {
        let begun = self.call.begin(|| name.clone());
        let answer = caught("secrets.placeholder", || {
            let call = &mut self.call;
            permit(call, &name, Wanted::Name)?;
            if let Some(known) = call.stand_ins.iter().find(|known| known.secret == name) {
                return Ok(known.text.clone());
            }
            let text = format!("cofferdam-secret-{}", uuid::Uuid::new_v4().simple());
            call.stand_ins.push(StandIn { secret: name, text: text.clone() });
            Ok(text)
        });
        self.call.end(begun, ("secrets", "placeholder"), &answer, |_| String::new());
        answer
    }
}

impl secrets_reveal::Host for Guest {
    async fn reveal(&mut self, name: String) -> Answer<Vec<u8>> {
        let begun = self.call.begin(|| name.clone());
        let answer = guarded("secrets-reveal.reveal", self.call.deadline, async {
            let call = &mut self.call;
            permit(call, &name, Wanted::Value)?;
            let Some(value) = value(call, &name) else {
                return Err(refuse(ErrorKind::AuthRequired, format!("the secret `{name}` has no value")));
            };
            let Some(ctx) = &call.ctx else { return Err(refuse(ErrorKind::Denied, "secrets are not available here")) };
            let message = format!("the plugin `{}` reads the value of the secret `{name}`", call.plugin.alias);
            // On record before it is out.
            let told = ctx.events.record(Body::Warning { code: REVEALED.to_owned(), message }).await;
            told.map_err(|_| refuse(ErrorKind::Cancelled, "the call was cancelled"))?;
            Ok(value.expose_secret().as_bytes().to_vec())
        })
        .await;
        self.call.end(begun, ("secrets-reveal", "reveal"), &answer, |_| String::new());
        answer
    }
}

/// What a plugin wants of a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Name,
    Value,
}

fn permit(call: &mut Call, name: &str, wanted: Wanted) -> Result<(), PluginError> {
    let granted = call.rights.granted.secrets.iter().find(|secret| secret.name == name);
    if granted.is_some_and(|secret| secret.reveal || wanted == Wanted::Name) {
        return Ok(());
    }
    let (what, reveal) = match wanted {
        Wanted::Name => ("secrets", false),
        Wanted::Value => ("secrets-reveal", true),
    };
    let request = format!("{what} {}", cofferdam_core::text::clean_to(name, 100));
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    let denial = if is_name {
        let secrets = BTreeSet::from([SecretGrant { name: name.to_owned(), reveal }]);
        Denial::new(&call.plugin.alias, &call.rights, request, &Grants { secrets, ..Grants::default() })
    } else {
        Denial::for_good(request)
    };
    call.deny(denial);
    Err(refuse(ErrorKind::Denied, "no grant allows this secret"))
}

/// None while a plugin describes itself, and for what is pure: both have no network.
fn value(call: &Call, name: &str) -> Option<SecretString> {
    call.plugin.services.network.as_ref()?.secrets.get(name)
}
