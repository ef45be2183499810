//! `loadgen`: options in, load out, a report at the end.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use loadgen::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let plan = match cli.plan() {
        Ok(plan) => plan,
        Err(error) => return fail(&error, 2),
    };
    match loadgen::run::run(&plan, cli.progress) {
        Ok(report) => {
            let text =
                if cli.json { serde_json::to_string(&report).map(|json| json + "\n") } else { Ok(report.to_string()) };
            let printed = text.map_err(io::Error::other).and_then(|text| io::stdout().write_all(text.as_bytes()));
            match printed {
                Ok(()) if report.complete() => ExitCode::SUCCESS,
                Ok(()) => ExitCode::from(1),
                Err(error) => fail(&error.into(), 1),
            }
        }
        Err(error) => fail(&error, 1),
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    // Nothing is left to be done if standard error is closed too.
    let _written = writeln!(io::stderr(), "loadgen: {error:#}");
    ExitCode::from(code)
}
