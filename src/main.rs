//! The `herald` binary: parses the command line, runs a command, returns its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    herald::cli::main()
}
