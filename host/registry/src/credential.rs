//! A user's name and password for one registry. It must not print the password, nor know where it comes from.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cofferdam_egress::{EgressError, HeaderValue, secret_header};
use secrecy::{ExposeSecret as _, SecretString};

/// Who one is at a registry. Its debug form hides the password.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user's name.
    pub username: String,
    /// The password, or a token in its place.
    pub password: SecretString,
}

impl Credentials {
    /// The value of `authorization` (RFC 7617).
    pub(crate) fn basic(&self) -> Result<HeaderValue, EgressError> {
        secret_header("the registry's password", "Basic {}", &self.pair())
    }

    /// Name and password as they are sent: whoever echoes them echoes this.
    pub(crate) fn pair(&self) -> SecretString {
        let pair = SecretString::from(format!("{}:{}", self.username, self.password.expose_secret()));
        SecretString::from(STANDARD.encode(pair.expose_secret()))
    }

    /// Reads the pair in base64 that docker keeps.
    pub(crate) fn of_pair(pair: &SecretString) -> Option<Self> {
        let bytes = STANDARD.decode(pair.expose_secret().trim()).ok()?;
        let text = SecretString::from(String::from_utf8(bytes).ok()?);
        let (username, password) = text.expose_secret().split_once(':')?;
        // docker ends some of them with a zero byte.
        let password = SecretString::from(password.trim_end_matches('\0'));
        Some(Self { username: username.to_owned(), password })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_what_docker_writes_and_hides_itself() {
        let kept = Credentials { username: "ann".into(), password: SecretString::from("can:ary") };
        assert_eq!(kept.pair().expose_secret(), "YW5uOmNhbjphcnk=");
        let read = Credentials::of_pair(&kept.pair()).unwrap();
        assert_eq!((read.username.as_str(), read.password.expose_secret()), ("ann", "can:ary"));
        assert!(!format!("{kept:?} {:?}", kept.basic().unwrap()).contains("ary"));
        assert!(Credentials::of_pair(&SecretString::from("!!")).is_none());
    }
}
