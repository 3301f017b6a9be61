//! What the name of a file says about the values in it, and whether it is text.

/// How much an assigned value in a file is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileKind {
    /// Values stand without quotes: `.env`, `.ini`, YAML and the like.
    pub(crate) bare_values: bool,
    /// Tests, fixtures, examples, documentation: values are made up as a rule.
    pub(crate) made_up: bool,
    /// Made up only because it is prose: a value that nobody would type is real.
    pub(crate) prose: bool,
    /// Lists logins as `machine h login u password p`.
    pub(crate) logins: bool,
    /// Lock files and the like: nothing but checksums.
    pub(crate) generated: bool,
}

const BARE_ENDINGS: &[&str] = &[
    ".env",
    ".ini",
    ".cfg",
    ".conf",
    ".config",
    ".properties",
    ".yaml",
    ".yml",
    ".tfvars",
    ".npmrc",
    ".pypirc",
    ".netrc",
    ".envrc",
    ".sh",
    ".bash",
    ".zsh",
    ".profile",
    ".bashrc",
    ".bash_profile",
    ".zshrc",
    ".zshenv",
    ".dockerfile",
    ".containerfile",
];

const LOCK_FILES: &[&str] = &[
    "cargo.lock",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lock",
    "go.sum",
    "poetry.lock",
    "uv.lock",
    "pdm.lock",
    "pipfile.lock",
    "composer.lock",
    "gemfile.lock",
    "flake.lock",
    "deno.lock",
    "mix.lock",
    "pubspec.lock",
    "packages.lock.json",
    "gradle.lockfile",
];

const MADE_UP_PARTS: &[&str] = &[
    "test",
    "tests",
    "testing",
    "testdata",
    "spec",
    "specs",
    "__tests__",
    "fixture",
    "fixtures",
    "example",
    "examples",
    "sample",
    "samples",
    "mock",
    "mocks",
    "doc",
    "docs",
    "demo",
];

impl FileKind {
    /// Judges by the path alone.
    pub(crate) fn of(path: &str) -> Self {
        let lower = path.to_ascii_lowercase();
        let name = lower.rsplit(['/', '\\']).next().unwrap_or(&lower);
        let bare_values = BARE_ENDINGS.iter().any(|ending| name.ends_with(ending))
            || name.starts_with(".env.")
            || name.starts_with("dockerfile.")
            || matches!(name, "credentials" | "config" | "dockerfile" | "containerfile");
        let stem = name.split('.').next().unwrap_or(name);
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        let invented = lower.split(['/', '\\']).any(|part| MADE_UP_PARTS.contains(&part))
            || ends(&[".example", ".sample", ".template", ".dist"])
            || stem.starts_with("test_")
            || stem.ends_with("_test")
            || name.contains(".test.")
            || name.contains(".spec.")
            || name.contains("example");
        let generated = LOCK_FILES.contains(&name)
            || name.ends_with(".min.js")
            || name.ends_with(".min.css")
            || name.ends_with(".map")
            || name.ends_with(".svg");
        let written = ends(&[".md", ".rst", ".adoc"]);
        let logins = matches!(name, ".netrc" | "_netrc" | "netrc");
        Self { bare_values, made_up: invented || written, prose: written && !invented, logins, generated }
    }
}

/// Whether bytes are no text: a zero byte early on, as version control judges.
pub(crate) fn is_binary(bytes: &[u8]) -> bool {
    bytes.iter().take(8_000).any(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_settings_have_bare_values() {
        for path in [".env", "a/.env.production", "deploy/values.yaml", "x/.npmrc", "run.sh", "Dockerfile.prod"] {
            assert!(FileKind::of(path).bare_values, "{path}");
        }
        assert!(!FileKind::of("src/main.rs").bare_values);
    }

    #[test]
    fn tests_and_documentation_are_made_up() {
        for path in ["tests/a.rs", "docs/x.html", "README.md", "pkg/auth_test.go", ".env.example"] {
            assert!(FileKind::of(path).made_up, "{path}");
        }
        assert!(!FileKind::of("src/contest.rs").made_up);
    }

    #[test]
    fn lock_files_are_generated() {
        assert!(FileKind::of("a/Cargo.lock").generated);
        assert!(!FileKind::of("Cargo.toml").generated);
    }

    #[test]
    fn a_zero_byte_makes_a_binary() {
        assert!(is_binary(b"\x7fELF\0"));
        assert!(!is_binary("gr\u{fc}n".as_bytes()));
    }
}
