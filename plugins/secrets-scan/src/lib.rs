//! First-party secrets-scan plugin
