//! First-party text plugin
