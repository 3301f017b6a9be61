//! What a server calls its tools, in the grammar of ours.
//!
//! It must not know what else the server has: whether two names become one is for the list to find.

use cofferdam_core::digest::sha256_hex;
use cofferdam_core::id::LocalName;

/// Most bytes of a name.
const LONGEST: usize = 30;
/// Letters of the hash that stands for what was cut off.
const HASH: usize = 8;

/// The name in lower case, with `_` for other characters; one that is too long is cut and told apart by a hash.
pub(crate) fn local(remote: &str) -> LocalName {
    let mut name = String::new();
    for letter in remote.chars() {
        let letter = letter.to_ascii_lowercase();
        let kept = if letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-' { letter } else { '_' };
        // Two of them separate a server from its tool on the wire.
        if kept != '_' || !(name.is_empty() || name.ends_with('_')) {
            name.push(kept);
        }
    }
    if !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        name.insert(0, 't');
    }
    if name.len() > LONGEST {
        name.truncate(LONGEST - HASH - 1);
        let hash = sha256_hex(remote.as_bytes());
        name = format!("{}_{}", name.trim_end_matches('_'), hash.get(..HASH).unwrap_or_default());
    }
    LocalName::parse(&name).expect("only letters, digits, `-` and single `_` are left, behind a letter")
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn names_become_ours() {
        for (remote, ours) in [
            ("read_file", "read_file"),
            ("getIssue", "getissue"),
            ("repos/list.all", "repos_list_all"),
            ("a__b", "a_b"),
            ("_x", "x"),
            ("3d", "t3d"),
            ("-", "t-"),
            ("\u{e4}\u{e4}", "t"),
            ("", "t"),
            ("ends_", "ends_"),
        ] {
            assert_eq!(local(remote).as_str(), ours, "{remote}");
        }
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let (one, two) =
            (local(&"browser_take_screenshot_of_".repeat(3)), local(&"browser_take_screenshot_of_".repeat(4)));
        assert_ne!(one, two);
        assert_eq!(one.as_str().len(), 30);
        assert!(one.as_str().starts_with("browser_take_screensh_"), "{one}");
        assert_eq!(local(&"_".repeat(100_000)).as_str(), "t");
    }
}
