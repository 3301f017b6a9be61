//! The compile child as a program of its own, for tests and for embedders without a subcommand to spare.

use std::process::ExitCode;

fn main() -> ExitCode {
    cofferdam_plugin::compile_child::main()
}
