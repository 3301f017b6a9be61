//! Text in UTF-16, which Windows writes: known by its mark, read as any other.

/// The text, if bytes begin with the mark of UTF-16 in either order. What is no
/// character becomes the sign for that: the rest is still worth a look.
pub(crate) fn decode(bytes: &[u8]) -> Option<String> {
    let (unit, rest): (fn([u8; 2]) -> u16, _) = match bytes {
        [0xFF, 0xFE, 0, 0, ..] => return None,
        [0xFF, 0xFE, rest @ ..] => (u16::from_le_bytes, rest),
        [0xFE, 0xFF, rest @ ..] => (u16::from_be_bytes, rest),
        _ => return None,
    };
    let units = rest.chunks_exact(2).filter_map(|pair| <[u8; 2]>::try_from(pair).ok()).map(unit);
    Some(char::decode_utf16(units).map(|read| read.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_orders_are_read() {
        assert_eq!(decode(b"\xFF\xFEa\0\xFC\0").unwrap(), "a\u{fc}");
        assert_eq!(decode(b"\xFE\xFF\0a\0\xFC").unwrap(), "a\u{fc}");
    }

    #[test]
    fn other_bytes_are_left_alone() {
        assert_eq!(decode(b"a\0b\0"), None);
        assert_eq!(decode(b"\xFF\xFE\0\0a\0\0\0"), None);
        assert_eq!(decode(b""), None);
    }
}
