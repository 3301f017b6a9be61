//! First-party csv plugin
