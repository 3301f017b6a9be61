//! Addresses of mail.

use crate::find::{Pattern, Place};

static MAIL: Pattern =
    Pattern::new(r"[A-Za-z0-9][A-Za-z0-9._%+'-]*@(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,24}");

pub(crate) fn find(text: &str) -> Vec<Place> {
    MAIL.places_in(text, is_part, |row| row.contains(&b'@'))
}

fn is_part(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._%+'-@".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_ends_where_it_ends() {
        let text = "<a.b+c@sub.example.co.uk>, x@y.example.";
        let found: Vec<&str> = find(text).into_iter().map(|(from, to)| text.get(from..to).unwrap()).collect();
        assert_eq!(found, ["a.b+c@sub.example.co.uk", "x@y.example"]);
        assert_eq!(find("user@localhost and @name"), []);
    }
}
