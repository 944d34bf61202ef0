//! Store time: the clock that ttls run on.
//!
//! Invariant: store time never goes back, in this life or from one life to the next. It is the last persisted mark,
//! advanced by boot time and slewed towards the wall clock at a bounded rate. A wall clock that differs by more than
//! the allowed step is not followed at all: if it were ahead, keys would expire too early.

use crate::io::Clock;
use crate::options::Limits;
use crate::planted;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};

/// Store time, and the clock readings it was computed from. This is what gets persisted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) store_ms: u64,
    pub(crate) wall_ms: u64,
    pub(crate) boot_ms: u64,
    pub(crate) boot_id: [u8; 16],
}

/// The clock readings with which one operation is decided and recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Store time: ttls run on it.
    pub(crate) store_ms: u64,
    /// Boot time: leases run on it.
    pub(crate) boot_ms: u64,
}

#[derive(Debug)]
pub(crate) struct StoreClock {
    clock: Arc<dyn Clock>,
    /// Store time minus boot time, wrapping. Changed only under `slewing`.
    offset_ms: AtomicU64,
    /// Boot time of the next correction.
    next_slew_ms: AtomicU64,
    /// Boot time of the last correction.
    slewing: Mutex<u64>,
    /// The highest store time ever returned.
    high_ms: AtomicU64,
    step_ms: u64,
}

/// A correction is at most this fraction (one tenth) of the time since the last one.
const SLEW_DIVISOR: u64 = 10;
/// The least time between two corrections.
const SLEW_EVERY_MS: u64 = 1_000;

impl StoreClock {
    /// Store time for a new store: the wall clock's.
    pub(crate) fn begin(clock: Arc<dyn Clock>, limits: &Limits) -> StoreClock {
        let store_ms = clock.wall_ms();
        StoreClock::at(clock, store_ms, limits)
    }

    /// Store time for a store that was closed, or crashed, at `last` or later. `trust_wall` is the operator's
    /// word that the wall clock is right.
    pub(crate) fn resume(
        clock: Arc<dyn Clock>,
        last: &Mark,
        trust_wall: bool,
        limits: &Limits,
    ) -> StoreClock {
        let (wall_ms, boot_ms, boot_id) = (clock.wall_ms(), clock.boot_ms(), clock.boot_id());
        // `last.boot_ms` may be ahead of the clock: recovery advances the catalogue's reading by store time, which
        // may have been slewed forward. Then the gap counts as 0.
        let same_boot = boot_id == last.boot_id && boot_id != [0; 16];
        let by_boot_time = last.store_ms + if same_boot { boot_ms.saturating_sub(last.boot_ms) } else { 0 };
        let ahead_ms = wall_ms.saturating_sub(by_boot_time);
        let follow = trust_wall || (!same_boot && ahead_ms <= limits.closed_gap_ms);
        let store_ms = if follow { by_boot_time.max(wall_ms) } else { by_boot_time };
        StoreClock::at(clock, store_ms, limits)
    }

    fn at(clock: Arc<dyn Clock>, store_ms: u64, limits: &Limits) -> StoreClock {
        let boot_ms = clock.boot_ms();
        StoreClock {
            offset_ms: AtomicU64::new(store_ms.wrapping_sub(boot_ms)),
            next_slew_ms: AtomicU64::new(boot_ms + SLEW_EVERY_MS),
            slewing: Mutex::new(boot_ms),
            high_ms: AtomicU64::new(store_ms),
            step_ms: limits.clock_step_ms,
            clock,
        }
    }

    /// Store time now.
    pub(crate) fn now_ms(&self) -> u64 {
        self.moment().store_ms
    }

    /// For measuring how long something takes.
    pub(crate) fn lap_ns(&self) -> u64 {
        self.clock.lap_ns()
    }

    /// Store time and boot time now, of one reading.
    pub(crate) fn moment(&self) -> Moment {
        let boot_ms = self.clock.boot_ms();
        if boot_ms >= self.next_slew_ms.load(Ordering::Acquire) {
            self.slew(boot_ms);
        }
        let mut store_ms = boot_ms.wrapping_add(self.offset_ms.load(Ordering::Acquire));
        if planted::active(27) {
            store_ms = store_ms.max(self.clock.wall_ms());
        }
        // After a slew backwards the reading may be below one that was returned already. Then time stands still until
        // it has caught up.
        let high_ms = self.high_ms.load(Ordering::Acquire);
        if store_ms > high_ms {
            self.high_ms.fetch_max(store_ms, Ordering::AcqRel);
        }
        let mut boot_ms = boot_ms;
        if planted::active(17) {
            boot_ms = self.clock.wall_ms();
        }
        Moment { store_ms: store_ms.max(high_ms), boot_ms }
    }

    /// Slews store time towards the wall clock, at most once in [`SLEW_EVERY_MS`].
    fn slew(&self, boot_ms: u64) {
        // A try-lock: the thread that holds it makes the same correction. And a child of `fork()` must not wait for a
        // thread that it does not have.
        let Some(mut last_ms) = self.slewing.try_lock() else { return };
        let passed_ms = boot_ms.saturating_sub(*last_ms);
        if passed_ms < SLEW_EVERY_MS {
            return;
        }
        *last_ms = boot_ms;
        let store_ms = boot_ms.wrapping_add(self.offset_ms.load(Ordering::Acquire));
        let drawn_ms = self.draw_to_wall(store_ms, passed_ms);
        self.offset_ms.store(drawn_ms.wrapping_sub(boot_ms), Ordering::Release);
        self.next_slew_ms.store(boot_ms + SLEW_EVERY_MS, Ordering::Release);
    }

    fn draw_to_wall(&self, store_ms: u64, passed_ms: u64) -> u64 {
        let wall_ms = self.clock.wall_ms();
        let off_ms = wall_ms.abs_diff(store_ms);
        if off_ms > self.step_ms {
            return store_ms;
        }
        let correction_ms = off_ms.min(passed_ms / SLEW_DIVISOR);
        if wall_ms > store_ms { store_ms + correction_ms } else { store_ms - correction_ms }
    }

    /// The raw wall clock.
    pub(crate) fn wall_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    /// Boot time: leases run on it.
    pub(crate) fn boot_ms(&self) -> u64 {
        if planted::active(17) {
            return self.clock.wall_ms();
        }
        self.clock.boot_ms()
    }

    /// The mark to persist: not earlier than any store time returned before.
    pub(crate) fn mark(&self) -> Mark {
        let store_ms = self.now_ms();
        Mark {
            store_ms,
            wall_ms: self.clock.wall_ms(),
            boot_ms: self.clock.boot_ms(),
            boot_id: self.clock.boot_id(),
        }
    }

    /// Has `wake` called when a clock that is moved by hand moves.
    pub(crate) fn on_move(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        self.clock.on_move(wake);
    }

    /// How far the wall clock is ahead of store time; negative if it is behind.
    pub(crate) fn offset_ms(&self) -> i64 {
        self.clock.wall_ms().wrapping_sub(self.now_ms()) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::{Mark, StoreClock};
    use crate::io::{Clock, ManualClock};
    use crate::options::Limits;
    use crate::sync::{Arc, AtomicU64, Ordering};
    use std::time::{Duration, UNIX_EPOCH};

    const START_S: u64 = 1_800_000_000;
    const DAY: Duration = Duration::from_secs(86_400);

    fn clocks() -> (ManualClock, StoreClock) {
        let manual = ManualClock::new(UNIX_EPOCH + Duration::from_secs(START_S));
        let store = StoreClock::begin(Arc::new(manual.clone()), &Limits::default());
        (manual, store)
    }

    fn reopened(manual: &ManualClock, mark: &Mark, trust: bool) -> u64 {
        StoreClock::resume(Arc::new(manual.clone()), mark, trust, &Limits::default()).now_ms()
    }

    #[test]
    fn p9_a_wall_clock_step_does_not_move_store_time() {
        let (manual, store) = clocks();
        let before = store.now_ms();
        manual.set_wall(UNIX_EPOCH + Duration::from_secs(START_S) + 400 * DAY);
        assert_eq!(store.now_ms(), before);
        manual.advance(Duration::from_secs(10));
        assert_eq!(store.now_ms(), before + 10_000, "a step beyond the limit is not even approached");
        manual.set_wall(UNIX_EPOCH);
        manual.advance(Duration::from_secs(10));
        assert_eq!(store.now_ms(), before + 20_000);
    }

    #[test]
    fn p9_a_small_difference_is_approached_slowly() {
        let (manual, store) = clocks();
        manual.set_wall(UNIX_EPOCH + Duration::from_secs(START_S + 60));
        manual.advance(Duration::from_secs(100));
        assert_eq!(store.now_ms(), (START_S + 110) * 1_000);
    }

    #[test]
    fn p10_store_time_never_goes_back_across_restarts() {
        let (manual, store) = clocks();
        manual.advance(DAY);
        let mark = store.mark();
        manual.reboot();
        manual.set_wall(UNIX_EPOCH + Duration::from_secs(START_S));
        assert_eq!(
            reopened(&manual, &mark, false),
            mark.store_ms,
            "a wall clock behind the mark is not followed"
        );
        assert_eq!(reopened(&manual, &mark, true), mark.store_ms, "not even on command");
    }

    #[test]
    fn p10_a_closed_store_follows_the_wall_within_the_bound_only() {
        let (manual, store) = clocks();
        let mark = store.mark();
        manual.reboot();
        manual.set_wall(UNIX_EPOCH + Duration::from_secs(START_S) + 30 * DAY);
        assert_eq!(reopened(&manual, &mark, false), mark.store_ms + 30 * 86_400_000);
        manual.set_wall(UNIX_EPOCH + Duration::from_secs(START_S) + 300 * DAY);
        assert_eq!(reopened(&manual, &mark, false), mark.store_ms);
        assert_eq!(reopened(&manual, &mark, true), mark.store_ms + 300 * 86_400_000);
    }

    #[test]
    fn p10_within_one_boot_the_gap_is_measured_not_believed() {
        let (manual, store) = clocks();
        let mark = store.mark();
        manual.advance(Duration::from_secs(5));
        manual.set_wall(UNIX_EPOCH + Duration::from_secs(START_S) + 30 * DAY);
        assert_eq!(reopened(&manual, &mark, false), mark.store_ms + 5_000);
        assert_eq!(manual.boot_ms(), 6_000);
    }

    /// What store time shows after each of `steps`, in milliseconds since its beginning.
    fn shown(manual: &ManualClock, store: &StoreClock, steps: &[u64]) -> Vec<u64> {
        let after = |&step| {
            manual.advance(Duration::from_millis(step));
            store.now_ms() - START_S * 1_000
        };
        steps.iter().map(after).collect()
    }

    #[test]
    fn p9_a_wall_clock_behind_slows_time_down_and_never_turns_it_back() {
        let (manual, store) = clocks();
        manual.set_wall(UNIX_EPOCH + Duration::from_secs(START_S - 60));
        // After one second a tenth of it has been taken off: time stands still until boot time has caught up.
        assert_eq!(shown(&manual, &store, &[999, 1, 50, 49, 1, 1]), [999, 999, 999, 999, 1_000, 1_001]);
        assert_eq!(shown(&manual, &store, &[98_899]), [90_000], "a tenth of what has passed since");
    }

    #[test]
    fn p9_corrections_are_a_second_apart_and_count_from_the_last() {
        let (manual, store) = clocks();
        manual.set_wall(UNIX_EPOCH + Duration::from_secs(START_S + 60));
        assert_eq!(
            shown(&manual, &store, &[999, 1, 999, 1, 1_500, 999, 1]),
            [999, 1_100, 2_099, 2_200, 3_850, 4_849, 4_950]
        );
    }

    /// A machine that starts with the test; its wall clock is an hour ahead of what the store took it for at first.
    #[derive(Debug, Default)]
    struct Started(AtomicU64);

    impl Clock for Started {
        fn wall_ms(&self) -> u64 {
            let boot_ms = self.boot_ms();
            if boot_ms == 0 { START_S * 1_000 } else { (START_S + 3_600) * 1_000 + boot_ms }
        }

        fn boot_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        fn boot_id(&self) -> [u8; 16] {
            [3; 16]
        }
    }

    #[test]
    fn p9_a_machine_that_has_just_started_has_its_first_correction_after_a_second() {
        let started = Arc::new(Started::default());
        let store = StoreClock::begin(started.clone(), &Limits::default());
        let shown = [0, 999, 1_000].map(|boot_ms| {
            started.0.store(boot_ms, Ordering::Relaxed);
            store.now_ms() - START_S * 1_000
        });
        assert_eq!(shown, [0, 999, 1_100]);
    }

    #[test]
    fn p9_the_wall_clock_is_reached_and_not_passed() {
        for off_ms in [-30, 0, 30] {
            let (manual, store) = clocks();
            manual.set_wall(UNIX_EPOCH + Duration::from_millis((START_S * 1_000).strict_add_signed(off_ms)));
            assert_eq!(store.offset_ms(), off_ms);
            manual.advance(Duration::from_secs(1));
            assert_eq!((store.now_ms(), store.offset_ms()), (manual.wall_ms(), 0));
            assert_eq!(store.wall_ms(), manual.wall_ms());
        }
    }

    #[test]
    fn p9_a_wall_clock_is_followed_up_to_the_allowed_step() {
        let step_ms = Limits::default().clock_step_ms;
        let drawn = |off_ms| {
            let (manual, store) = clocks();
            manual.set_wall(UNIX_EPOCH + Duration::from_millis((START_S * 1_000).strict_add_signed(off_ms)));
            shown(&manual, &store, &[10_000])[0]
        };
        let step_ms = step_ms as i64;
        assert_eq!([drawn(step_ms), drawn(step_ms + 1)], [11_000, 10_000]);
        assert_eq!([drawn(-step_ms), drawn(-step_ms - 1)], [9_000, 10_000]);
    }

    #[test]
    fn p10_the_bound_of_a_closed_store_is_in_it() {
        let gap_ms = Limits::default().closed_gap_ms;
        let (manual, store) = clocks();
        let mark = store.mark();
        manual.reboot();
        manual.advance(Duration::from_millis(gap_ms));
        assert_eq!(reopened(&manual, &mark, false), mark.store_ms + gap_ms);
        manual.advance(Duration::from_millis(1));
        assert_eq!(reopened(&manual, &mark, false), mark.store_ms);
    }

    #[test]
    fn p10_a_boot_nobody_can_name_is_not_the_same_boot() {
        let (manual, store) = clocks();
        (0..255).for_each(|_| manual.reboot());
        let mark = store.mark();
        assert_eq!(mark.boot_id, [0; 16], "unknown");
        // Boot time cannot be compared, so the wall clock says how long the store was closed.
        manual.set_wall(UNIX_EPOCH + Duration::from_secs(START_S) + DAY);
        manual.advance(Duration::from_secs(5));
        assert_eq!(reopened(&manual, &mark, false), mark.store_ms + 86_405_000);
    }

    #[test]
    fn a_mark_holds_all_readings_of_one_moment() {
        let (manual, store) = clocks();
        manual.set_wall(UNIX_EPOCH + Duration::from_secs(START_S + 500_000));
        manual.advance(Duration::from_millis(1_234));
        let (store_ms, wall_ms) = (START_S * 1_000 + 1_234, (START_S + 500_000) * 1_000 + 1_234);
        assert_eq!(store.mark(), Mark { store_ms, wall_ms, boot_ms: 2_234, boot_id: [1; 16] });
        let moment = store.moment();
        assert_eq!((moment.store_ms, moment.boot_ms, store.boot_ms()), (store_ms, 2_234, 2_234));
        assert_eq!(store.lap_ns(), 2_234_000_000, "a clock moved by hand measures what it was moved");
    }

    #[test]
    fn whoever_sleeps_by_the_clock_hears_of_its_moves() {
        let (manual, store) = clocks();
        let moves = Arc::new(AtomicU64::new(0));
        let counted = moves.clone();
        store.on_move(Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        manual.advance(DAY);
        assert_eq!(moves.load(Ordering::Relaxed), 1);
    }
}
