//! Tokens whose issuer gave them a form of their own: a prefix and a body of a
//! known alphabet and length. One table; a new issuer is one line of it.
//!
//! Forms as their issuers document them, where they do; lengths are those in use
//! in 2025, and open upwards where an issuer says that they may grow.

use std::sync::LazyLock;

use crate::entropy;
use crate::finding::{Confidence, Hit, mask_token};
use crate::sample;

/// Which bytes a token's body consists of.
#[derive(Clone, Copy)]
enum Body {
    Letters,
    Word,
    Dashed,
    Dotted,
    Base32,
    Base64,
    Capitals,
    Hex,
    LowerHex,
    Path,
}

impl Body {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Letters => byte.is_ascii_alphanumeric(),
            Self::Word => byte.is_ascii_alphanumeric() || byte == b'_',
            Self::Dashed => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'),
            Self::Base32 => matches!(byte, b'A'..=b'Z' | b'2'..=b'7'),
            Self::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='),
            Self::Capitals => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Hex => byte.is_ascii_hexdigit(),
            Self::LowerHex => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            Self::Path => byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-'),
        }
    }

    /// Less random than this, and it was written by hand.
    fn least_bits(self) -> f64 {
        match self {
            Self::Hex | Self::LowerHex => 2.5,
            _ => 3.0,
        }
    }
}

struct Rule {
    kind: &'static str,
    prefix: &'static str,
    body: Body,
    least: usize,
    most: usize,
    confidence: Confidence,
}

const ANY: usize = 2_000;

const fn sure(kind: &'static str, prefix: &'static str, body: Body, least: usize, most: usize) -> Rule {
    Rule { kind, prefix, body, least, most, confidence: Confidence::High }
}

const fn likely(kind: &'static str, prefix: &'static str, body: Body, least: usize, most: usize) -> Rule {
    Rule { kind, prefix, body, least, most, confidence: Confidence::Medium }
}

// Longer prefixes first where one begins with another.
#[rustfmt::skip]
static RULES: &[Rule] = &[
    sure("aws-access-key-id", "AKIA", Body::Base32, 16, 16),
    sure("aws-access-key-id", "ASIA", Body::Base32, 16, 16),
    sure("github-token", "github_pat_", Body::Word, 60, ANY),
    sure("github-token", "ghp_", Body::Letters, 36, 255),
    sure("github-token", "gho_", Body::Letters, 36, 255),
    sure("github-token", "ghu_", Body::Letters, 36, 255),
    sure("github-token", "ghs_", Body::Dotted, 36, ANY),
    sure("github-token", "ghr_", Body::Letters, 36, 255),
    sure("gitlab-token", "glpat-", Body::Dotted, 20, 300),
    sure("gitlab-token", "gldt-", Body::Dashed, 20, 300),
    sure("gitlab-token", "glrt-", Body::Dotted, 20, 300),
    sure("gitlab-token", "glptt-", Body::Dashed, 40, 300),
    sure("slack-token", "xoxb-", Body::Dashed, 20, 255),
    sure("slack-token", "xoxp-", Body::Dashed, 20, 255),
    sure("slack-token", "xoxa-", Body::Dashed, 20, 255),
    sure("slack-token", "xoxr-", Body::Dashed, 20, 255),
    sure("slack-token", "xoxs-", Body::Dashed, 20, 255),
    sure("slack-token", "xoxe.xox", Body::Dotted, 20, 400),
    sure("slack-token", "xapp-", Body::Dashed, 40, 255),
    sure("slack-webhook", "https://hooks.slack.com/services/", Body::Path, 40, 120),
    sure("discord-webhook", "https://discord.com/api/webhooks/", Body::Path, 80, 160),
    sure("stripe-key", "sk_live_", Body::Letters, 16, 255),
    sure("stripe-key", "rk_live_", Body::Letters, 16, 255),
    likely("stripe-test-key", "sk_test_", Body::Letters, 16, 255),
    likely("stripe-test-key", "rk_test_", Body::Letters, 16, 255),
    likely("webhook-secret", "whsec_", Body::Base64, 24, 255),
    sure("google-api-key", "AIza", Body::Dashed, 35, 35),
    sure("google-oauth-secret", "GOCSPX-", Body::Dashed, 28, 28),
    sure("google-oauth-token", "ya29.", Body::Dashed, 40, ANY),
    sure("anthropic-key", "sk-ant-", Body::Dashed, 32, 255),
    sure("openai-key", "sk-proj-", Body::Dashed, 40, 255),
    sure("openai-key", "sk-svcacct-", Body::Dashed, 40, 255),
    sure("openai-key", "sk-admin-", Body::Dashed, 40, 255),
    sure("openrouter-key", "sk-or-v1-", Body::Hex, 64, 64),
    likely("openai-key", "sk-", Body::Letters, 48, 51),
    sure("npm-token", "npm_", Body::Letters, 36, 36),
    sure("pypi-token", "pypi-", Body::Dashed, 80, 500),
    sure("crates-io-token", "cio", Body::Letters, 32, 32),
    sure("hugging-face-token", "hf_", Body::Letters, 34, 40),
    sure("docker-token", "dckr_pat_", Body::Dashed, 27, 27),
    sure("digitalocean-token", "dop_v1_", Body::Hex, 64, 64),
    sure("digitalocean-token", "doo_v1_", Body::Hex, 64, 64),
    sure("sendgrid-key", "SG.", Body::Dotted, 66, 66),
    sure("shopify-token", "shpat_", Body::Hex, 32, 32),
    sure("shopify-token", "shpss_", Body::Hex, 32, 32),
    sure("vault-token", "hvs.", Body::Dashed, 24, 300),
    sure("databricks-token", "dapi", Body::Hex, 32, 34),
    sure("grafana-token", "glsa_", Body::Word, 41, 41),
    sure("linear-key", "lin_api_", Body::Letters, 40, 40),
    sure("new-relic-key", "NRAK-", Body::Capitals, 27, 27),
    sure("groq-key", "gsk_", Body::Letters, 52, 52),
    sure("atlassian-token", "ATATT3", Body::Dashed, 150, 300),
    likely("twilio-api-key", "SK", Body::LowerHex, 32, 32),
    likely("twilio-account", "AC", Body::LowerHex, 32, 32),
    sure("age-secret-key", "AGE-SECRET-KEY-1", Body::Capitals, 58, 58),
    sure("azure-storage-key", "AccountKey=", Body::Base64, 88, 88),
];

/// The rules by the first byte of their prefix: most bytes of a file begin none.
static BY_FIRST_BYTE: LazyLock<Vec<Vec<&'static Rule>>> = LazyLock::new(|| {
    let mut table: Vec<Vec<&Rule>> = vec![Vec::new(); 256];
    for rule in RULES {
        let first = rule.prefix.as_bytes().first().copied().unwrap_or_default();
        if let Some(rules) = table.get_mut(usize::from(first)) {
            rules.push(rule);
        }
    }
    table
});

/// Adds the tokens of a line.
pub(crate) fn find(line: &[u8], hits: &mut Vec<Hit>) {
    let table = &*BY_FIRST_BYTE;
    let mut before = b' ';
    let mut skip_until = 0;
    for (start, byte) in line.iter().copied().enumerate() {
        let at_boundary = !before.is_ascii_alphanumeric() && before != b'_';
        before = byte;
        if !at_boundary || start < skip_until {
            continue;
        }
        let Some(rules) = table.get(usize::from(byte)) else {
            continue;
        };
        let Some(rest) = line.get(start..) else {
            continue;
        };
        if let Some(hit) = rules.iter().find_map(|rule| matched(rule, rest, start)) {
            skip_until = start + hit.length;
            hits.push(hit);
        }
    }
}

fn matched(rule: &Rule, rest: &[u8], start: usize) -> Option<Hit> {
    let body = rest.strip_prefix(rule.prefix.as_bytes())?;
    let length = body.iter().take_while(|byte| rule.body.has(**byte)).count();
    // The end of a sentence is no part of a token.
    let trimmed = body.get(..length)?;
    let kept = trimmed.iter().rposition(|byte| !matches!(byte, b'.' | b'-')).map_or(0, |at| at + 1);
    let body = body.get(..kept)?;
    let fits = (rule.least..=rule.most).contains(&body.len());
    if !fits || entropy::bits(body) < rule.body.least_bits() || sample::is_made_up(body) {
        return None;
    }
    let length = rule.prefix.len() + body.len();
    let secret = rest.get(..length)?;
    Some(Hit { kind: rule.kind, confidence: rule.confidence, start, length, masked: mask_token(secret) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random enough for every rule, and of every alphabet: made at run time so
    /// that no file of this repository holds anything that looks like a secret.
    fn body(alphabet: Body, length: usize) -> String {
        let mut state: u32 = 0x9E37_79B9;
        let mut text = String::new();
        while text.len() < length {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let byte = (state >> 24) as u8;
            let simple = byte.is_ascii_alphanumeric();
            if simple && alphabet.has(byte) {
                text.push(char::from(byte));
            }
        }
        text
    }

    fn found(line: &str) -> Vec<&'static str> {
        let mut hits = Vec::new();
        find(line.as_bytes(), &mut hits);
        hits.iter().map(|hit| hit.kind).collect()
    }

    #[test]
    fn every_rule_finds_its_own_form() {
        for rule in RULES {
            let token = format!("{}{}", rule.prefix, body(rule.body, rule.least));
            let line = format!("key = \"{token}\";");
            assert_eq!(found(&line), [rule.kind], "{}", rule.prefix);
        }
    }

    #[test]
    fn a_token_of_the_wrong_length_is_none() {
        for rule in RULES.iter().filter(|rule| rule.least == rule.most) {
            for length in [rule.least - 1, rule.most + 1] {
                let line = format!("\"{}{}\"", rule.prefix, body(rule.body, length));
                assert_eq!(found(&line), Vec::<&str>::new(), "{} {length}", rule.prefix);
            }
        }
    }

    #[test]
    fn a_prefix_within_a_word_is_none() {
        let token = format!("{}{}", "ghp_", body(Body::Letters, 36));
        assert_eq!(found(&format!("x{token}")), Vec::<&str>::new());
        assert_eq!(found(&format!("/{token}")), ["github-token"]);
    }

    #[test]
    fn examples_of_documentation_are_none() {
        for line in [
            format!("{}{}", "AKIA", "IOSFODNN7EXAMPLE"),
            format!("{}{}", "ghp_", "x".repeat(36)),
            format!("{}{}", "sk_live_", "your0key0goes0here1"),
            format!("{}{}", "npm_", "abcdefghijklmnopqrstuvwxyz0123456789"),
        ] {
            assert_eq!(found(&line), Vec::<&str>::new(), "{line}");
        }
    }

    #[test]
    fn what_is_shown_is_four_characters() {
        let token = format!("{}{}", "sk_live_", body(Body::Letters, 24));
        let mut hits = Vec::new();
        find(token.as_bytes(), &mut hits);
        assert_eq!(hits[0].masked, "sk_l\u{2026} (32 characters)");
    }
}
