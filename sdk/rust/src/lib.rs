//! Write Cofferdam plugins in Rust
