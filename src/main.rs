//! The `rhumb` program. It allocates with the system's allocator, which was measured against two others:
//! `benches/results/allocators.md`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
