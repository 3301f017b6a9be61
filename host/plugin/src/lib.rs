//! Loads, polices and runs WebAssembly components
