//! The values that rules add to requests, and how they become headers.
//!
//! Values stay in types that cannot print themselves. It must not know where values come from.

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use crate::EgressError;
use cofferdam_core::limits::EGRESS_SECRET_BYTES;

/// Looks secrets up by name. A closure is one.
pub trait Secrets: Send + Sync {
    /// The value, when there is one.
    fn get(&self, name: &str) -> Option<SecretString>;

    /// What stands in for secrets in what a guest writes.
    fn stand_ins(&self) -> &[StandIn] {
        &[]
    }
}

/// A random text that a guest writes where it wants a secret. It is swapped only where a rule says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandIn {
    /// The secret's name.
    pub secret: String,
    /// The text.
    pub text: String,
}

impl<F: Fn(&str) -> Option<SecretString> + Send + Sync> Secrets for F {
    fn get(&self, name: &str) -> Option<SecretString> {
        self(name)
    }
}

/// No secrets at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn get(&self, _name: &str) -> Option<SecretString> {
        None
    }
}

/// A header's value with the secret in place of `{}`, marked so that it is never printed.
///
/// # Errors
/// When the value is empty, longer than a header may be, or contains what no header may contain.
pub fn secret_header(name: &str, format: &str, secret: &SecretString) -> Result<HeaderValue, EgressError> {
    let refuse = |reason| EgressError::Secret { name: name.to_owned(), reason };
    let value = secret.expose_secret();
    if value.is_empty() {
        return Err(refuse("is empty"));
    }
    if value.len() > EGRESS_SECRET_BYTES {
        return Err(refuse("is too long for a header"));
    }
    let text = SecretString::from(format.replacen("{}", value, 1));
    let mut header = HeaderValue::from_str(text.expose_secret())
        .map_err(|_| refuse("contains characters that no header may contain"))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_header_does_not_print_itself() {
        let secret = SecretString::from("hunter2-canary");
        let header = secret_header("K", "Bearer {}", &secret).unwrap();
        assert_eq!(header.as_bytes(), b"Bearer hunter2-canary");
        assert!(!format!("{header:?}").contains("canary"));
    }

    #[test]
    fn a_value_that_would_forge_headers_is_refused_without_being_shown() {
        for value in ["", "a\r\nHost: evil", "a\0b", &"x".repeat(EGRESS_SECRET_BYTES + 1)] {
            let error = secret_header("K", "{}", &SecretString::from(value)).unwrap_err();
            assert!(error.to_string().starts_with("the secret `K` "), "{error}");
            assert!(!error.to_string().contains("evil"));
        }
    }
}
