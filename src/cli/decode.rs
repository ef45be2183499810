//! `rhumb decode`: what a payload becomes, before anybody judges it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;

use rhumb::codec::Codec;
use rhumb::fix::{Element, Reason};
use rhumb::limits::PAYLOAD_FIXES_MAX;
use rhumb::wire::{self, Decoded, native};

/// Longest payload that is read: no MQTT packet is longer.
const PAYLOAD_BYTES_MAX: usize = 256 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What the payload is read as: native, owntracks, osmand, traccar, flespi, teltonika, compact
    #[arg(long, value_name = "NAME", value_parser = payload_codec)]
    codec: Codec,
    /// Take each line for a payload, where the codec is of text; empty lines are passed over
    #[arg(long)]
    lines: bool,
    /// Where the payload is [default: standard input]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Why a command did not end well.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A binary payload has no lines.
    #[error("a {0} batch is binary, and its bytes may look like the end of a line: decode it without --lines")]
    Binary(Codec),
    /// The file cannot be opened or read.
    #[error("{name}: {reason}")]
    Input { name: String, reason: io::Error },
    /// The input goes on where no payload does.
    #[error(
        "{name}: a payload of more than {PAYLOAD_BYTES_MAX} bytes cannot reach the engine; with --lines each line is one"
    )]
    TooLong { name: String },
    /// Standard output.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

fn payload_codec(name: &str) -> Result<Codec, String> {
    match name.parse::<Codec>() {
        Ok(Codec::Recording) => Err("a recording has rows and no payloads: `rhumb replay` reads it".to_owned()),
        Ok(codec) => Ok(codec),
        Err(unknown) => Err(unknown.to_string()),
    }
}

/// Prints a line of JSON for each element: the fix in native form, or why there is none; and one for messages that were
/// skipped. Whoever reads the output may stop reading.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    if args.lines && args.codec == Codec::Compact {
        return Err(Error::Binary(args.codec));
    }
    let name = args.file.as_ref().map_or_else(|| "standard input".to_owned(), |file| file.display().to_string());
    let input: Box<dyn Read> = match &args.file {
        Some(file) => Box::new(File::open(file).map_err(|reason| Error::Input { name: name.clone(), reason })?),
        None => Box::new(io::stdin()),
    };
    let mut payloads = Payloads { name, input: BufReader::new(input), by_line: args.lines, payload: Vec::new() };
    let mut printer = Printer::new(BufWriter::new(io::stdout().lock()));
    let printed = payloads.print(args.codec, &mut printer);
    // What was said comes before an error.
    let flushed = printer.out.flush().map_err(Error::Output);
    match printed.and(flushed) {
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        ended => ended,
    }
}

/// The payloads of an input.
struct Payloads<R> {
    name: String,
    input: BufReader<R>,
    by_line: bool,
    payload: Vec<u8>,
}

impl<R: Read> Payloads<R> {
    fn print(&mut self, codec: Codec, printer: &mut Printer<impl Write>) -> Result<(), Error> {
        if !self.by_line {
            self.read(|input, payload| input.read_to_end(payload))?;
            return Ok(printer.print(codec, &self.payload)?);
        }
        while self.read(|input, payload| input.read_until(b'\n', payload))? > 0 {
            let line = self.payload.trim_ascii_end();
            if !line.is_empty() {
                printer.print(codec, line)?;
            }
        }
        Ok(())
    }

    /// Reads the next payload, and says how many bytes of the input it took.
    fn read(
        &mut self,
        read: impl FnOnce(&mut io::Take<&mut BufReader<R>>, &mut Vec<u8>) -> io::Result<usize>,
    ) -> Result<usize, Error> {
        self.payload.clear();
        // A byte beyond, to tell a longer one.
        let mut bounded = (&mut self.input).take(PAYLOAD_BYTES_MAX as u64 + 1);
        let taken =
            read(&mut bounded, &mut self.payload).map_err(|reason| Error::Input { name: self.name.clone(), reason })?;
        if taken > PAYLOAD_BYTES_MAX { Err(Error::TooLong { name: self.name.clone() }) } else { Ok(taken) }
    }
}

/// Elements to lines.
struct Printer<W> {
    out: W,
    elements: Vec<Element>,
    line: Vec<u8>,
}

impl<W: Write> Printer<W> {
    fn new(out: W) -> Self {
        Self { out, elements: Vec::new(), line: Vec::new() }
    }

    fn print(&mut self, codec: Codec, payload: &[u8]) -> io::Result<()> {
        self.elements.clear();
        let Decoded { skipped, is_over } = wire::decode(codec, payload, PAYLOAD_FIXES_MAX, &mut self.elements);
        if is_over {
            self.elements.push(Err(Reason::TooLarge));
        }
        for element in &self.elements {
            self.line.clear();
            match element {
                Ok(report) => native::encode_report(report, &mut self.line),
                Err(reason) => write!(self.line, r#"{{"rejected":"{reason}"}}"#)?,
            }
            self.line.push(b'\n');
            self.out.write_all(&self.line)?;
        }
        if skipped > 0 {
            writeln!(self.out, r#"{{"skipped":{skipped}}}"#)?;
        }
        Ok(())
    }
}
