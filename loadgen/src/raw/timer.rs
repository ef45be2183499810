//! A timer that an event loop can wait on to the microsecond; poll timeouts are whole milliseconds.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use rustix::time::{timerfd_create, timerfd_settime};

/// How early it may be asked for. Setting it takes a virtual machine microseconds, of the cores that the broker needs too.
const GRAIN_NS: u64 = 200_000;

/// A Linux timerfd. It fires by becoming readable, which an edge-triggered loop sees once per setting.
#[derive(Debug)]
pub(super) struct Timer {
    descriptor: OwnedFd,
    fires_ns: u64,
}

impl Timer {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&descriptor.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { descriptor, fires_ns: 0 })
    }

    /// Fires at `wake_ns` of a clock that now shows `now_ns`, or up to 0.2 ms later; earlier if it was set to.
    pub(super) fn set(&mut self, now_ns: u64, wake_ns: u64) -> io::Result<()> {
        let latest_ns = wake_ns.max(now_ns + GRAIN_NS);
        if self.fires_ns > now_ns && self.fires_ns <= latest_ns {
            return Ok(());
        }
        let pause = Duration::from_nanos(latest_ns - now_ns);
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let once = Timespec { tv_sec: pause.as_secs() as i64, tv_nsec: i64::from(pause.subsec_nanos()) };
        let setting = Itimerspec { it_interval: never, it_value: once };
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &setting)?;
        self.fires_ns = latest_ns;
        Ok(())
    }
}
