//! What a script can do.

use crate::Rng;

/// One step. Keys and held leases are named by number, modulo how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Claims a key; `ttl` chooses among three classes, `payload` a fingerprint (0: none).
    Claim {
        /// Which key.
        key: usize,
        /// Which ttl.
        ttl: usize,
        /// Which payload.
        payload: u8,
    },
    /// Claims several keys in one batch; a key may be named twice.
    ClaimMany {
        /// Which keys.
        keys: Vec<usize>,
        /// Whether each of them stands behind an item that is refused.
        refused: bool,
    },
    /// Imports records of several keys in one batch; a key may be named twice.
    Import {
        /// Which keys.
        keys: Vec<usize>,
        /// Where they stand: done, failed, to be retried (now or later), parked.
        state: usize,
        /// Which attempt it was, less one.
        attempt: u32,
        /// Which payload; 0: none.
        payload: u8,
        /// How long ago they were settled, in seconds.
        ago_s: u64,
    },
    /// Completes a held claim with a response of `len` bytes.
    Complete {
        /// Which lease.
        held: usize,
        /// How long a response.
        len: usize,
    },
    /// Completes all held claims in one batch.
    CompleteMany {
        /// Whether the response of the last one is too large: it is refused, and its lease comes back.
        too_large: bool,
    },
    /// Fails a held claim, to be retried after `after_s` seconds.
    Retry {
        /// Which lease.
        held: usize,
        /// How long to wait.
        after_s: u64,
    },
    /// Fails a held claim of which nobody knows whether it happened.
    Unknown {
        /// Which lease.
        held: usize,
    },
    /// Fails a held claim for good.
    Terminal {
        /// Which lease.
        held: usize,
    },
    /// Parks a held claim.
    Park {
        /// Which lease.
        held: usize,
    },
    /// Releases a held claim.
    Release {
        /// Which lease.
        held: usize,
    },
    /// Drops a lease.
    Abandon {
        /// Which lease.
        held: usize,
    },
    /// Renews a held claim: for longer than it has left, or for less.
    Renew {
        /// Which lease.
        held: usize,
        /// For how long.
        term_s: u64,
    },
    /// Saves progress under a held claim.
    Progress {
        /// Which lease.
        held: usize,
        /// How long.
        len: usize,
    },
    /// Saves a kilobyte of progress many times over: fills journal segments.
    Labour {
        /// Which lease.
        held: usize,
        /// How many times.
        times: usize,
    },
    /// Turns a lease into a token and resumes it.
    HandOver {
        /// Which lease.
        held: usize,
    },
    /// Detaches a held claim; the token is kept and resumed by [`Step::Resume`].
    Detach {
        /// Which lease.
        held: usize,
        /// For how long.
        term_s: u64,
    },
    /// Takes over a claim that nobody stands behind.
    TakeOver {
        /// Which of those.
        which: usize,
        /// For how long.
        term_s: u64,
    },
    /// Resumes a detached claim.
    Resume {
        /// Which token.
        token: usize,
    },
    /// Runs a `transact` that writes one row; `fail` rolls it back.
    Transact {
        /// Which key.
        key: usize,
        /// Whether the closure fails.
        fail: bool,
    },
    /// Completes a held claim together with one row.
    CompleteIn {
        /// Which lease.
        held: usize,
    },
    /// Forgets a key.
    Forget {
        /// Which key.
        key: usize,
    },
    /// Lets time pass.
    Advance {
        /// Which stretch of time; beyond the last: to the millisecond before the next end the model knows
        /// of, or from there to the end.
        stretch: usize,
    },
    /// Steps the wall clock ahead or back by two days, or back to the truth.
    StepWall {
        /// Which step.
        step: usize,
    },
    /// From now on the namespace of time-ordered keys remembers four times as long: what was pruned before
    /// must stay refused by its watermark.
    RaiseTtl,
    /// Checkpoints.
    Checkpoint,
    /// Prunes.
    Prune,
    /// Does one slice of upkeep.
    Upkeep,
    /// Compacts.
    Compact,
    /// Closes the store and opens it again.
    Reopen,
    /// Loses power and opens the store again; `reboot` restarts the clock too.
    Crash {
        /// What the disk keeps of unsynced writes.
        seed: u64,
        /// Whether boot time begins again.
        reboot: bool,
    },
    /// Compares a full scan with the model, and verifies.
    Audit,
}

/// A random step; weights favour what moves keys through their states.
pub fn random_step(rng: &mut Rng) -> Step {
    let mut pick = |bound: u64| rng.below(bound) as usize;
    match pick(100) {
        0..=22 => Step::Claim { key: pick(64), ttl: pick(3), payload: pick(6).saturating_sub(3) as u8 },
        24..=29 => {
            let count = 1 + pick(5);
            Step::ClaimMany { keys: (0..count).map(|_| pick(64)).collect(), refused: pick(3) == 0 }
        }
        30..=41 => Step::Complete { held: pick(64), len: [0, 3, 64, 700][pick(4)] },
        42..=43 => Step::CompleteMany { too_large: pick(3) == 0 },
        44..=46 => match pick(4) {
            0 => Step::Unknown { held: pick(64) },
            _ => Step::Retry { held: pick(64), after_s: [0, 0, 30, 4_000][pick(4)] },
        },
        47..=48 => Step::Terminal { held: pick(64) },
        49 => Step::Park { held: pick(64) },
        50..=53 => Step::Release { held: pick(64) },
        54..=56 => Step::Abandon { held: pick(64) },
        57..=58 => Step::Renew { held: pick(64), term_s: [600, 600, 1, 30][pick(4)] },
        59 => Step::Progress { held: pick(64), len: [1, 40, 300][pick(3)] },
        23 | 60 => Step::Labour { held: pick(64), times: [8, 16, 24, 90][pick(4)] },
        61 => match pick(2) {
            0 => Step::HandOver { held: pick(64) },
            _ => Step::TakeOver { which: pick(8), term_s: [60, 600, 1][pick(3)] },
        },
        62 => Step::Detach { held: pick(64), term_s: [3_600, 3_600, 30][pick(3)] },
        63..=64 => Step::Resume { token: pick(8) },
        65..=67 => Step::Transact { key: pick(64), fail: pick(4) == 0 },
        68 => Step::CompleteIn { held: pick(64) },
        69..=70 => Step::Forget { key: pick(64) },
        71 => Step::Import {
            keys: (0..=pick(5)).map(|_| pick(64)).collect(),
            state: pick(5),
            attempt: pick(3) as u32,
            payload: pick(6).saturating_sub(3) as u8,
            ago_s: [0, 0, 30, 7_200][pick(4)],
        },
        72..=80 => Step::Advance { stretch: pick(7) },
        81 => Step::StepWall { step: pick(3) },
        82..=86 => Step::Checkpoint,
        87..=88 => Step::Prune,
        89..=91 => Step::Upkeep,
        92 => Step::Compact,
        93..=94 => Step::Reopen,
        95..=97 => Step::Crash { seed: rng.next_u64(), reboot: rng.below(4) == 0 },
        98 => Step::Advance { stretch: usize::MAX },
        _ if pick(2) == 0 => Step::RaiseTtl,
        _ => Step::Audit,
    }
}

/// A script of `len` random steps.
pub fn random_steps(rng: &mut Rng, len: usize) -> Vec<Step> {
    (0..len).map(|_| random_step(rng)).collect()
}

#[cfg(test)]
mod tests {
    use super::{Step, random_steps};
    use crate::Rng;
    use std::collections::HashMap;
    use std::mem::discriminant;

    #[test]
    fn every_kind_of_step_is_drawn() {
        let steps = random_steps(&mut Rng::new(1), 20_000);
        let mut kinds: HashMap<_, (usize, &Step)> = HashMap::new();
        for step in &steps {
            kinds.entry(discriminant(step)).or_insert((0, step)).0 += 1;
        }
        assert_eq!(kinds.len(), 31, "{kinds:?}");
        assert!(kinds.values().all(|(times, _)| *times >= 50), "{kinds:?}");
        let short = |step: &&Step| matches!(step, Step::Renew { term_s: 1, .. });
        let refused = |step: &&Step| matches!(step, Step::CompleteMany { too_large: true });
        assert!(steps.iter().filter(short).count() >= 50 && steps.iter().filter(refused).count() >= 50);
    }
}
