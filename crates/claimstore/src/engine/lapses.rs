//! When the next lease lapses: this is how long an orphan watch may sleep.
//!
//! Two numbers replace an ordered table of all leases. Before the watch scans the live table it resets `noted_ms`;
//! every lease that starts or is renewed from then on lowers it. So the next lapse is the minimum of the scan's
//! result and `noted_ms`. Most leases start later and lapse later, and then cost one load.
//!
//! No wake-up is lost: the watch stores `asleep_until_ms` and then loads `noted_ms`; a lease lowers `noted_ms` and
//! then loads `asleep_until_ms`. Both sides store first and load afterwards, which acquire and release do not order,
//! so all four are sequentially consistent: at least one side sees the other's store.

use super::Engine;
use crate::codec::State;
use crate::sync::{AtomicBool, AtomicU64, Event, Ordering};
use std::time::Duration;

/// A boot time that is never reached.
const NEVER_MS: u64 = u64::MAX;
/// A sleep is at most and at least this long before the clock is read again: it may be moved by hand, or stand still.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

/// Shared by the watch and by every lease that starts: the times, and the event that wakes the watch.
#[derive(Debug)]
pub(crate) struct Lapses {
    /// Whether a watch exists. There is at most one.
    watched: AtomicBool,
    /// The earliest lapse among leases that started since the watch began its last scan. 0: there is no watch.
    noted_ms: AtomicU64,
    /// Until when the watch sleeps, or slept last. 0 while it scans.
    asleep_until_ms: AtomicU64,
    rung: AtomicBool,
    bell: Event,
}

impl Default for Lapses {
    fn default() -> Lapses {
        Lapses {
            watched: AtomicBool::new(false),
            noted_ms: AtomicU64::new(0),
            asleep_until_ms: AtomicU64::new(0),
            rung: AtomicBool::new(false),
            bell: Event::default(),
        }
    }
}

impl Lapses {
    /// `false`: a watch exists already.
    pub(crate) fn begin_watch(&self) -> bool {
        !self.watched.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn end_watch(&self) {
        self.noted_ms.store(0, Ordering::SeqCst);
        self.asleep_until_ms.store(0, Ordering::SeqCst);
        self.watched.store(false, Ordering::Release);
    }

    /// A lease runs until `until_ms` of boot time. May be called under a shard's lock: it wakes a thread, but calls
    /// no waker, and so no code of the caller's.
    pub(crate) fn note(&self, until_ms: u64) {
        if until_ms >= self.noted_ms.load(Ordering::SeqCst) {
            return;
        }
        // The store before the load below: see the module.
        self.noted_ms.fetch_min(until_ms, Ordering::SeqCst);
        if until_ms < self.asleep_until_ms.load(Ordering::SeqCst) {
            // Not a `ring`: the watch only shortens its sleep, to this lapse. Later leases lapse after that and find
            // nothing to do, so ordinary work wakes the watch about once in a lease's term.
            self.bell.signal_all();
        }
    }

    /// Ends the watch's sleep: a claim became an orphan, or there is another reason to scan.
    pub(crate) fn ring(&self) {
        if self.watched.load(Ordering::Acquire) && !self.rung.swap(true, Ordering::AcqRel) {
            self.bell.signal_all();
        }
    }

    /// Before a scan. Whatever happens from here on ends the next sleep, so nothing between scan and sleep is missed.
    fn begin_looking(&self) {
        self.rung.store(false, Ordering::SeqCst);
        self.asleep_until_ms.store(0, Ordering::SeqCst);
        self.noted_ms.store(NEVER_MS, Ordering::SeqCst);
    }

    /// Sleeps until `due_ms`, or an earlier lapse that was noted, or a ring.
    fn sleep(&self, due_ms: u64, boot_ms: impl Fn() -> u64, ended: impl Fn() -> bool) {
        loop {
            let until_ms = due_ms.min(self.noted_ms.load(Ordering::SeqCst));
            // The store before the second load, in `is_earlier`: see the module.
            self.asleep_until_ms.store(until_ms, Ordering::SeqCst);
            let is_earlier = || self.noted_ms.load(Ordering::SeqCst) < until_ms;
            let is_over = || self.rung.load(Ordering::SeqCst) || ended();
            let now_ms = boot_ms();
            if until_ms <= now_ms || is_over() {
                return;
            }
            let left = Duration::from_millis(until_ms - now_ms).clamp(SHORTEST_SLEEP, LONGEST_SLEEP);
            self.bell.wait_for(left, || is_over() || is_earlier());
        }
    }
}

impl Engine {
    /// Begins a scan: whatever happens after this call ends the next
    /// [`sleep_until_orphan`](Engine::sleep_until_orphan). Returns boot time.
    pub(crate) fn begin_looking(&self) -> u64 {
        self.lapses.begin_looking();
        self.time.boot_ms()
    }

    /// Sleeps until a lease lapses that had not lapsed at `looked_at_ms`, a claim is abandoned, `due_ms` is reached,
    /// the clock is moved by hand, or the store is closed or poisoned.
    pub(crate) fn sleep_until_orphan(&self, looked_at_ms: u64, due_ms: u64) {
        let due_ms = due_ms.min(self.earliest_lapse_ms(looked_at_ms));
        self.lapses.sleep(due_ms, || self.time.boot_ms(), || self.check_serving().is_err());
    }

    /// Boot time at which the next lease lapses, among those that had not lapsed at `after_ms`.
    fn earliest_lapse_ms(&self, after_ms: u64) -> u64 {
        let at = self.time.moment();
        let mut earliest_ms = NEVER_MS;
        self.live.each_shard(|shard| {
            for (_, _, entry) in shard.iter() {
                let record = &entry.record;
                // The lease of an undelivered answer is noted when it starts.
                if record.state != State::InProgress || entry.marks.abandoned || entry.marks.undelivered {
                    continue;
                }
                let lapses_ms = if record.until_ms == 0 && record.token >> super::SEQ_BITS < self.life {
                    continue;
                } else if record.until_ms == 0 {
                    entry.lease_until_ms
                } else {
                    // Detached: its term is in store time. Converted to boot time, also if it is in the past.
                    (at.boot_ms + record.until_ms.saturating_sub(at.store_ms))
                        .saturating_sub(at.store_ms.saturating_sub(record.until_ms))
                };
                if lapses_ms > after_ms {
                    earliest_ms = earliest_ms.min(lapses_ms);
                }
            }
        });
        earliest_ms
    }
}

#[cfg(test)]
mod tests {
    use super::{Lapses, NEVER_MS};
    use crate::io::{Clock, MemoryStorage, SystemClock};
    use crate::sync::{Arc, AtomicU64, JoinHandle, Ordering, spawn};
    use crate::{Claim, ClaimRequest, Lease, ManualClock, Options, Store};
    use std::sync::mpsc::{Receiver, channel};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn nobody_watches_and_nothing_is_noted() {
        let lapses = Lapses::default();
        lapses.note(5);
        lapses.ring();
        assert!(!lapses.rung.load(Ordering::SeqCst));
        assert_eq!(lapses.noted_ms.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn one_watch_at_a_time() {
        let lapses = Lapses::default();
        assert!(lapses.begin_watch());
        assert!(!lapses.begin_watch());
        lapses.end_watch();
        assert!(lapses.begin_watch());
    }

    const HOUR_MS: u64 = 3_600_000;
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A watch's surroundings: a clock that the test sets, and how often it was read.
    #[derive(Default)]
    struct Night {
        lapses: Lapses,
        clock_ms: AtomicU64,
        readings: AtomicU64,
    }

    impl Night {
        fn sleep(&self, due_ms: u64) {
            let read = || {
                self.readings.fetch_add(1, Ordering::SeqCst);
                self.clock_ms.load(Ordering::SeqCst)
            };
            self.lapses.sleep(due_ms, read, || false);
        }
    }

    /// A watch that sleeps on a thread of its own. Its terms are hours: it wakes up because it is told to, or not
    /// before the test has failed.
    struct Sleeper {
        night: Arc<Night>,
        over: Receiver<()>,
        thread: JoinHandle<()>,
    }

    fn falls_asleep(lapses: &Lapses, due_ms: u64, over: &Receiver<()>) {
        let asleep = || lapses.asleep_until_ms.load(Ordering::SeqCst) == due_ms;
        let mut looks = 0..PATIENCE.as_millis();
        assert!(looks.any(|_| asleep() || over.recv_timeout(Duration::from_millis(1)).is_ok()));
        assert!(asleep(), "it has ended");
    }

    impl Sleeper {
        fn until(due_ms: u64) -> Sleeper {
            let night = Arc::new(Night::default());
            assert!(night.lapses.begin_watch());
            night.lapses.begin_looking();
            let (tell, over) = channel();
            let of_thread = night.clone();
            let thread = spawn("sleeper", move || {
                of_thread.sleep(due_ms);
                tell.send(()).unwrap();
            });
            let sleeper = Sleeper { night, over, thread: thread.unwrap() };
            sleeper.sleeps_until(due_ms);
            sleeper
        }

        fn sleeps_until(&self, due_ms: u64) {
            falls_asleep(&self.night.lapses, due_ms, &self.over);
        }

        fn ends(self) {
            assert!(self.over.recv_timeout(PATIENCE).is_ok(), "a lost wake-up");
            self.thread.join().unwrap();
            let readings = self.night.readings.load(Ordering::SeqCst);
            assert!(readings < 20, "it slept little: {readings} readings of the clock");
        }
    }

    #[test]
    fn a_shorter_lease_shortens_the_sleep_and_a_longer_one_does_not() {
        let sleeper = Sleeper::until(5 * HOUR_MS);
        sleeper.night.lapses.note(7 * HOUR_MS);
        sleeper.night.lapses.note(4 * HOUR_MS);
        // It only sleeps to another time.
        sleeper.sleeps_until(4 * HOUR_MS);
        // The next one wakes it up for good, since by now it is due.
        sleeper.night.clock_ms.store(3 * HOUR_MS, Ordering::SeqCst);
        sleeper.night.lapses.note(3 * HOUR_MS);
        sleeper.ends();
    }

    #[test]
    fn a_ring_ends_a_sleep() {
        let sleeper = Sleeper::until(HOUR_MS);
        sleeper.night.lapses.ring();
        sleeper.ends();
    }

    #[test]
    fn a_sleep_is_as_long_as_what_is_left() {
        let lapses = Lapses::default();
        lapses.begin_looking();
        let started_ms = SystemClock.boot_ms();
        let readings = AtomicU64::new(0);
        let now_ms = || {
            readings.fetch_add(1, Ordering::SeqCst);
            SystemClock.boot_ms()
        };
        lapses.sleep(started_ms + 200, now_ms, || false);
        let slept_ms = SystemClock.boot_ms() - started_ms;
        assert!((200..20_000).contains(&slept_ms), "{slept_ms} ms");
        assert!(readings.load(Ordering::SeqCst) < 20, "it slept in small pieces");
    }

    #[test]
    fn a_ring_between_looking_and_sleeping_is_not_lost() {
        let lapses = Lapses::default();
        assert!(lapses.begin_watch());
        lapses.begin_looking();
        lapses.ring();
        lapses.sleep(NEVER_MS, || 0, || false);
    }

    fn claim(store: &Store, key: &str, lease: Duration) -> Lease {
        let request = ClaimRequest::new(key).lease(lease);
        let Ok(Claim::Claimed(claimed)) = store.claim_with(&request) else { panic!("{key} is not claimed") };
        claimed
    }

    fn hours(hours: u64) -> Duration {
        Duration::from_millis(hours * HOUR_MS)
    }

    #[test]
    fn the_earliest_lapse_is_that_of_a_lease_somebody_trusts() {
        let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let options = || Options::new().clock(clock.clone()).background(false).segment_bytes(8 << 20);
        let memory = Arc::new(MemoryStorage::new());
        let store = options().open_on(memory.clone()).unwrap();
        let earliest_ms = |store: &Store, after_ms| store.engine().earliest_lapse_ms(after_ms);
        let start_ms = store.engine().begin_looking();
        let at_ms = |hours: u64| start_ms + hours * HOUR_MS;
        assert_eq!(earliest_ms(&store, 0), NEVER_MS);

        let _nine = claim(&store, "nine", hours(9));
        let seven = claim(&store, "seven", hours(7));
        let _eight = claim(&store, "eight", hours(8));
        assert_eq!(earliest_ms(&store, 0), at_ms(7));
        assert_eq!(earliest_ms(&store, at_ms(7) - 1), at_ms(7));
        assert_eq!(earliest_ms(&store, at_ms(7)), at_ms(8), "that one is known");
        assert_eq!(earliest_ms(&store, at_ms(9)), NEVER_MS);
        // Renewed from now on, not from the claim on.
        clock.advance(hours(1));
        seven.renew(hours(4)).unwrap();
        assert_eq!(earliest_ms(&store, 0), at_ms(5));
        // Neither a result nor a lease that was dropped lapses.
        seven.complete("").unwrap();
        drop(claim(&store, "dropped", hours(2)));
        assert_eq!(earliest_ms(&store, 0), at_ms(8));

        // Detached claims end by store time, in any life; others end with their life.
        let token = claim(&store, "detached", hours(1)).detach(hours(3)).unwrap();
        assert_eq!(earliest_ms(&store, 0), at_ms(4));
        store.resume(token).unwrap().renew(hours(2)).unwrap();
        assert_eq!(earliest_ms(&store, 0), at_ms(3));
        drop(store);
        let store = options().open_on(memory).unwrap();
        assert_eq!(earliest_ms(&store, 0), at_ms(3));
        assert_eq!(earliest_ms(&store, at_ms(3)), NEVER_MS);
        clock.advance(hours(20));
        assert_eq!(earliest_ms(&store, 0), at_ms(3), "also when it is past");
    }

    /// `ended` is the last call before the sleep: nothing can happen closer to it.
    #[test]
    fn a_ring_behind_the_last_look_is_not_lost() {
        let lapses = Lapses::default();
        assert!(lapses.begin_watch());
        lapses.begin_looking();
        let started_ms = SystemClock.boot_ms();
        let ring = || {
            lapses.ring();
            false
        };
        lapses.sleep(NEVER_MS, || 0, ring);
        assert!(SystemClock.boot_ms() - started_ms < 20_000, "it fell asleep");
    }

    #[test]
    fn a_watch_sleeps_to_the_first_lapse_and_sees_the_clock_moved() {
        let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let options = Options::new().clock(clock.clone()).background(false).segment_bytes(8 << 20);
        let store = options.open_on(Arc::new(MemoryStorage::new())).unwrap();
        let engine = store.engine().clone();
        assert!(engine.lapses.begin_watch());
        let _seven = claim(&store, "seven", hours(7));
        let looked_at_ms = engine.begin_looking();
        let (tell, over) = channel();
        let of_thread = engine.clone();
        let thread = spawn("watch", move || {
            of_thread.sleep_until_orphan(looked_at_ms, NEVER_MS);
            tell.send(()).unwrap();
        });
        falls_asleep(&engine.lapses, looked_at_ms + 7 * HOUR_MS, &over);
        clock.advance(hours(7));
        assert!(over.recv_timeout(PATIENCE).is_ok(), "it sleeps on");
        thread.unwrap().join().unwrap();
    }
}
