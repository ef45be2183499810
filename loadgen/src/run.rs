//! A run from its first connection to its report: threads, the common start, progress, measurements.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::acked_log::{AckedLines, AckedLog};
use crate::device::Device;
use crate::plan::{Mode, Plan};
use crate::process::{self, Usage, Watch};
use crate::report::{Deliveries, Measured, Report};
use crate::subscriber::Subscribers;
use crate::tally::{Progress, Tally};
use crate::worker::{Event, Link};
use crate::{faithful, raw, trace};

/// Events that wait for the main thread; each worker has but a handful in its life.
const EVENTS_MAX: usize = 1_024;

/// A worker is told to start, and later that it may close.
const START_WORDS_MAX: usize = 2;

/// Files that the generator needs besides its connections.
const OTHER_FILES: u64 = 32;
const SECOND: Duration = Duration::from_secs(1);

struct Thread {
    start: SyncSender<()>,
    progress: Arc<Progress>,
    handle: JoinHandle<anyhow::Result<()>>,
}

/// Runs `plan` and reports; `progress` shows a line a second even where standard error is no terminal.
pub fn run(plan: &Plan, progress: bool) -> anyhow::Result<Report> {
    let files = u64::from(plan.devices) + u64::from(plan.subscribers) + OTHER_FILES;
    if let Some(files_max) = process::open_files_max()
        && files > files_max
    {
        bail!("{} devices need {files} open files, {files_max} are allowed: raise `ulimit -n`", plan.devices);
    }
    let trace = plan.trace.as_deref().map(trace::read).transpose()?;
    let log = plan
        .acked_log
        .as_deref()
        .map(|path| AckedLog::create(path).with_context(|| format!("--acked-log: cannot write {}", path.display())));
    let log = log.transpose()?;
    let mut watches = [
        plan.pid
            .map(|pid| Watch::begin(pid).with_context(|| format!("--pid: cannot measure process {pid}")))
            .transpose()?,
        Watch::begin(std::process::id()).ok(),
    ];
    let subscribers = (plan.subscribers > 0).then(|| Subscribers::start(plan)).transpose()?;
    let (events, reports) = sync_channel(EVENTS_MAX);
    let threads = spawn(plan, Device::fleet(plan, trace.as_ref()), log.as_ref(), &events)?;
    drop(events);

    let connected = wait_until_ready(threads.len(), &reports)?;
    if connected == 0 {
        // Whoever is ready tells why it could not connect once it is told to start.
        start(&threads)?;
        let tally = collect(threads.len(), &reports, |_| {})?;
        let reasons: Vec<String> = tally.errors.iter().map(|(reason, times)| format!("{times} × {reason}")).collect();
        bail!("no device could connect to {}: {}", plan.address, reasons.join(", "));
    }
    for watch in watches.iter_mut().flatten() {
        watch.restart()?;
    }
    let started = Instant::now();
    start(&threads)?;
    let line = ProgressLine::new(progress);
    let mut tally = collect(threads.len(), &reports, |elapsed| {
        watches.iter_mut().flatten().for_each(Watch::sample);
        line.show(elapsed, &threads);
    })?;
    line.end();
    let deliveries = subscribers.map(|subscribers| {
        let received = subscribers.finish();
        if let Some(failure) = received.failure {
            tally.error(&failure, 1);
        }
        Deliveries::new(received.messages, received.last_at.saturating_duration_since(started))
    });
    hold(plan.hold, &mut watches);
    let [process, generator] = watches.map(|watch| watch.and_then(|watch| end(watch, &tally)));
    for thread in threads {
        // The second word on this channel is the permission to close.
        let _gone = thread.start.send(());
        drop(thread.start);
        thread.handle.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
    }
    Ok(Report::new(plan, tally, Measured { connected, deliveries, process, generator }))
}

/// Keeps the connections, silent, for a while.
#[expect(clippy::disallowed_methods, reason = "it is the passing of time that is asked for")]
fn hold(length: Duration, watches: &mut [Option<Watch>; 2]) {
    let end = Instant::now() + length;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::sleep(left.min(SECOND));
        watches.iter_mut().flatten().for_each(Watch::sample);
    }
}

fn end(watch: Watch, tally: &Tally) -> Option<Usage> {
    watch.end(tally.counts.sent)
}

fn spawn(
    plan: &Plan,
    devices: Vec<Device>,
    log: Option<&AckedLog>,
    events: &SyncSender<Event>,
) -> anyhow::Result<Vec<Thread>> {
    let count = plan.threads as usize;
    let mut shares: Vec<Vec<Device>> = (0..count).map(|_| Vec::new()).collect();
    for (number, device) in devices.into_iter().enumerate() {
        shares[number % count].push(device);
    }
    let threads = shares.into_iter().enumerate().map(|(index, share)| {
        let (start, started) = sync_channel(START_WORDS_MAX);
        let progress = Arc::new(Progress::default());
        let link = Link {
            events: events.clone(),
            start: started,
            progress: Arc::clone(&progress),
            acked: AckedLines::new(log.cloned()),
        };
        let plan = plan.clone();
        let work = move || match plan.mode {
            Mode::Raw => raw::run(&plan, share, link),
            Mode::Faithful => faithful::run(&plan, share, link),
        };
        let handle = std::thread::Builder::new().name(format!("devices-{index}")).spawn(work)?;
        Ok(Thread { start, progress, handle })
    });
    threads.collect()
}

fn wait_until_ready(threads: usize, reports: &Receiver<Event>) -> anyhow::Result<usize> {
    let mut connected = 0;
    for _ in 0..threads {
        match reports.recv() {
            Ok(Event::Ready { open }) => connected += open,
            Ok(Event::Ended(_)) | Err(_) => bail!("a worker ended before the run started"),
        }
    }
    Ok(connected)
}

fn start(threads: &[Thread]) -> anyhow::Result<()> {
    for thread in threads {
        thread.start.send(()).context("a worker ended before the run started")?;
    }
    Ok(())
}

/// Adds up the workers' sums; `each_second` is called until they are all there.
fn collect(threads: usize, reports: &Receiver<Event>, mut each_second: impl FnMut(Duration)) -> anyhow::Result<Tally> {
    let begun = Instant::now();
    let mut seconds = 1;
    let mut total = Tally::default();
    let mut ended = 0;
    while ended < threads {
        let next = (begun + SECOND * seconds).saturating_duration_since(Instant::now());
        match reports.recv_timeout(next) {
            Ok(Event::Ended(tally)) => {
                total.merge(&tally);
                ended += 1;
            }
            Ok(Event::Ready { .. }) => {}
            Err(RecvTimeoutError::Timeout) => {
                each_second(begun.elapsed());
                seconds += 1;
            }
            Err(RecvTimeoutError::Disconnected) => bail!("a worker ended without its report"),
        }
    }
    Ok(total)
}

/// The line on standard error that tells how the run is going.
struct ProgressLine {
    shown: bool,
    terminal: bool,
    sent_before: AtomicU64,
}

impl ProgressLine {
    fn new(wanted: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        Self { shown: wanted || terminal, terminal, sent_before: AtomicU64::new(0) }
    }

    fn show(&self, elapsed: Duration, threads: &[Thread]) {
        if !self.shown {
            return;
        }
        let sum = |count: fn(&Progress) -> &AtomicU64| -> u64 {
            threads.iter().map(|thread| count(&thread.progress).load(Ordering::Relaxed)).sum()
        };
        let (sent, acked) = (sum(|progress| &progress.sent), sum(|progress| &progress.acked));
        let rate = sent - self.sent_before.swap(sent, Ordering::Relaxed).min(sent);
        let (begin, end) = if self.terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        let (open, lost) = (sum(|progress| &progress.open), sum(|progress| &progress.lost));
        let seconds = elapsed.as_secs();
        // A closed standard error is no reason to stop.
        let _written = write!(
            io::stderr(),
            "{begin}{seconds:4} s  {rate}/s  sent {sent}  acked {acked}  open {open}  lost {lost}{end}"
        );
    }

    fn end(&self) {
        if self.shown && self.terminal {
            let _written = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
