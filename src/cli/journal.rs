//! `rhumb journal`: whether a journal is whole, what it holds, and its decisions in words.

mod dump;
mod stat;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Subcommand;
use rhumb::config::Config;
use rhumb::journal::inspect::{self, Files, Verified};
use rhumb::journal::{self, Salvaged};

/// Output that is gathered before it is written.
const OUTPUT_BYTES: usize = 64 << 10;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Another journal's directory than that of the configuration
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check every frame and tell all damage; exits 74 if there is any
    Verify {
        /// Recover what is whole into this new directory; exits 0 once it is there
        #[arg(long, value_name = "NEWDIR")]
        salvage: Option<PathBuf>,
        /// Where the journal lost its end: how far it went, as the refusal to start says
        #[arg(long, value_name = "SEQUENCE", requires = "salvage")]
        through: Option<u64>,
    },
    /// Count what it holds
    Stat {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print its decisions, a line each
    Dump(dump::Args),
}

/// Why a command did not end well.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The files cannot be read, or a salvaged journal cannot be written.
    #[error("{0}")]
    Files(#[from] journal::Error),
    /// What was printed is not everything.
    #[error(
        "the journal is damaged in {damages} places, and {lost_frames} of its frames are lost: restore it from a backup, or \
         stop the engine and let `rhumb journal verify --salvage NEWDIR` recover what is whole"
    )]
    Damaged { damages: u64, lost_frames: u64 },
    /// Standard output.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

/// Runs one of the commands. Whoever reads its output may stop reading.
pub(super) fn run(config: &Config, args: Args) -> Result<(), Error> {
    let directory = args.dir.unwrap_or_else(|| config.data_dir.join("journal"));
    let files = Files::of(&directory)?;
    let mut out = BufWriter::with_capacity(OUTPUT_BYTES, io::stdout().lock());
    let ran = match args.command {
        Command::Verify { salvage: None, .. } => verify(&files, &mut out),
        Command::Verify { salvage: Some(to), through } => salvage(&files, &to, through, &mut out),
        Command::Stat { json } => stat::run(&files, json, &mut out),
        Command::Dump(args) => dump::run(&files, &args, &mut out),
    };
    // What was said comes before an error, and whoever stopped reading knows why.
    let flushed = out.flush().map_err(Error::Output);
    match ran.and(flushed) {
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        ended => ended,
    }
}

fn verify(files: &Files, out: &mut impl Write) -> Result<(), Error> {
    let mut told = Ok(());
    let verified = inspect::verify(files, &mut |finding| {
        if told.is_ok() {
            told = writeln!(out, "{finding}");
        }
    })?;
    told?;
    let Verified { segments, frames, fixes, damages, lost_frames, end, .. } = verified;
    for (name, reason) in verified.unusable_snapshots {
        writeln!(out, "snapshot {name} is of no use: {reason}")?;
    }
    if end.torn_bytes > 0 {
        writeln!(
            out,
            "segment {} ends at byte {}: the {} bytes behind it are being written, or torn; a start cuts them, and nothing \
             of them was acknowledged",
            end.segment, end.offset, end.torn_bytes
        )?;
    }
    if damages > 0 {
        writeln!(out, "whole: {frames} frames with {fixes} fixes in {segments} segments")?;
        return Err(Error::Damaged { damages, lost_frames });
    }
    writeln!(out, "ok: {frames} frames with {fixes} fixes in {segments} segments, up to frame {}", end.last)?;
    Ok(())
}

fn salvage(files: &Files, to: &std::path::Path, through: Option<u64>, out: &mut impl Write) -> Result<(), Error> {
    let mut told = Ok(());
    let salvaged = journal::salvage(files, to, through, &mut |finding| {
        if told.is_ok() {
            told = writeln!(out, "{finding}");
        }
    })?;
    told?;
    let Salvaged {
        segments, frames, fixes, snapshots, unusable_snapshots, damages, lost_frames, torn_bytes, last, ..
    } = salvaged;
    let to = to.display();
    writeln!(out, "{damages} damaged places; {lost_frames} frames are lost, a torn end of {torn_bytes} bytes was cut")?;
    if lost_frames > 0 {
        let fixes = salvaged.lost_fixes_estimated();
        writeln!(
            out,
            "these frames held some {fixes} fixes, if as many as others do, and counted duplicates and refusals:"
        )?;
        writeln!(out, "the counters begin again without them. A fix that the embedded store has is still there")?;
    }
    writeln!(out, "{to} holds {frames} frames with {fixes} fixes in {segments} segments, up to frame {last}")?;
    if snapshots > 0 {
        writeln!(out, "and {snapshots} snapshots")?;
    }
    if unusable_snapshots > 0 {
        writeln!(out, "{unusable_snapshots} snapshots are not whole and were left behind")?;
    }
    if salvaged.is_new_id {
        writeln!(
            out,
            "no segment told the journal's id, so it is a new journal: move the directory `store` away as well"
        )?;
    }
    writeln!(out, "put it in the place of the damaged journal, and keep that until all is well")?;
    Ok(())
}
