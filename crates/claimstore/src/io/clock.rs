//! Time, as three readings: wall clock, boot time, and which boot this is.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where the store reads time.
///
/// The store never trusts the wall clock alone: ttls run on a persisted mark that boot time carries
/// forward, leases run on boot time only.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Milliseconds since 1970-01-01 UTC by the wall clock. May step in either direction.
    fn wall_ms(&self) -> u64;
    /// Milliseconds since the machine started, suspended time included. Never goes back within one boot.
    fn boot_ms(&self) -> u64;
    /// Identifies the boot that [`boot_ms`](Clock::boot_ms) counts from; zero when it cannot be known.
    fn boot_id(&self) -> [u8; 16];
    /// Nanoseconds since some moment, for measuring how long something took; nothing is decided by it. By
    /// default [`boot_ms`](Clock::boot_ms) in nanoseconds, so that a clock moved by hand measures what it was
    /// moved.
    fn lap_ns(&self) -> u64 {
        self.boot_ms().saturating_mul(1_000_000)
    }
    /// Registers a call-back for a clock that is moved by hand: called after every move, so that sleepers
    /// look again. A clock that runs by itself ignores it.
    fn on_move(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        drop(wake);
    }
}

/// The machine's clocks: `CLOCK_REALTIME`, `CLOCK_BOOTTIME` and the kernel's boot id.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    fn wall_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    fn boot_ms(&self) -> u64 {
        #[cfg(target_os = "linux")]
        let id = rustix::time::ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        let id = rustix::time::ClockId::Monotonic;
        let now = rustix::time::clock_gettime(id);
        (now.tv_sec as u64) * 1_000 + (now.tv_nsec as u64) / 1_000_000
    }

    fn lap_ns(&self) -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        (now.tv_sec as u64) * 1_000_000_000 + now.tv_nsec as u64
    }

    fn boot_id(&self) -> [u8; 16] {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let mut id = [0u8; 16];
        let mut digits = text.chars().filter_map(|c| c.to_digit(16));
        for byte in &mut id {
            let (Some(high), Some(low)) = (digits.next(), digits.next()) else { return [0; 16] };
            *byte = (high * 16 + low) as u8;
        }
        id
    }
}

/// A clock that stands still until it is moved. Clones share one time.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// let clock = claimstore::ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
/// clock.advance(Duration::from_secs(60));
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock {
    hands: Arc<Mutex<Hands>>,
}

struct Hands {
    wall_ms: u64,
    boot_ms: u64,
    boot_id: [u8; 16],
    sleepers: Vec<Arc<dyn Fn() + Send + Sync>>,
}

impl Debug for Hands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hands")
            .field("wall_ms", &self.wall_ms)
            .field("boot_ms", &self.boot_ms)
            .finish_non_exhaustive()
    }
}

impl ManualClock {
    /// A clock whose wall reads `wall`, one second after its machine started.
    pub fn new(wall: SystemTime) -> ManualClock {
        let wall_ms = wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let hands = Hands { wall_ms, boot_ms: 1_000, boot_id: [1; 16], sleepers: Vec::new() };
        ManualClock { hands: Arc::new(Mutex::new(hands)) }
    }

    /// Lets time pass: wall clock and boot time go forward together.
    pub fn advance(&self, by: Duration) {
        self.change(|hands| {
            hands.wall_ms += by.as_millis() as u64;
            hands.boot_ms += by.as_millis() as u64;
        });
    }

    /// Steps the wall clock to `wall`, forward or back, without time passing: what an operator or a broken
    /// time server does.
    pub fn set_wall(&self, wall: SystemTime) {
        self.change(|hands| {
            hands.wall_ms = wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        });
    }

    /// Restarts the machine: boot time begins again and the boot id changes; the wall clock goes on.
    pub fn reboot(&self) {
        self.change(|hands| {
            hands.boot_ms = 1_000;
            for byte in &mut hands.boot_id {
                *byte = byte.wrapping_add(1);
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Hands)) {
        let sleepers = {
            let mut hands = self.hands.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut hands);
            hands.sleepers.clone()
        };
        for wake in sleepers {
            wake();
        }
    }

    fn read<T>(&self, read: impl FnOnce(&Hands) -> T) -> T {
        read(&self.hands.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Clock for ManualClock {
    fn wall_ms(&self) -> u64 {
        self.read(|hands| hands.wall_ms)
    }

    fn boot_ms(&self) -> u64 {
        self.read(|hands| hands.boot_ms)
    }

    fn boot_id(&self) -> [u8; 16] {
        self.read(|hands| hands.boot_id)
    }

    fn on_move(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner).sleepers.push(wake);
    }
}
