//! Requests that are due at fixed instants.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::{Errno, read};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// Ticks of a timer of the kernel. Tokio's own timers have a resolution of a millisecond, and would send requests in bursts.
pub(crate) struct Pace {
    timer: AsyncFd<OwnedFd>,
    begin: Instant,
    interval: Duration,
    issued: u32,
}

impl Pace {
    /// As many ticks a second, from now on.
    #[expect(
        deprecated,
        reason = "the other constructor is unsafe, for descriptors that may be closed meanwhile; this one is owned"
    )]
    pub(crate) fn new(rate: u32) -> io::Result<Self> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        let interval = Duration::from_secs(1) / rate;
        let tick = Timespec::try_from(interval).map_err(io::Error::other)?;
        let ticks = Itimerspec {
            it_interval: tick,
            it_value: tick,
        };
        // ORDER: before the timer, so that every tick finds its request due.
        let begin = Instant::now();
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &ticks)?;
        Ok(Self {
            timer: AsyncFd::new(timer)?,
            begin,
            interval,
            issued: 0,
        })
    }

    /// Waits until something is due.
    pub(crate) async fn tick(&self) -> io::Result<()> {
        loop {
            let mut guard = self.timer.readable().await?;
            let mut count = [0; 8];
            match read(self.timer.get_ref(), &mut count) {
                Ok(_) => {
                    guard.clear_ready();
                    return Ok(());
                }
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The instant of the next request.
    pub(crate) fn next(&self) -> Instant {
        self.begin + self.interval * (self.issued + 1)
    }

    /// The instant of the next request, where it has come. What is late keeps the instant at which it was due.
    pub(crate) fn due(&mut self) -> Option<Instant> {
        let due = self.next();
        if due > Instant::now() {
            return None;
        }
        self.issued += 1;
        Some(due)
    }
}
