//! First-party fetch plugin
