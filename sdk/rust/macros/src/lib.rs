//! Attribute macros of cofferdam-sdk
