//! What may happen to a store, in any order.

use super::model::KEYS;
use proptest::prelude::*;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Claim {
        key: usize,
    },
    Drop {
        lease: usize,
    },
    Complete {
        lease: usize,
    },
    FailRetry {
        lease: usize,
    },
    Renew {
        lease: usize,
    },
    Save {
        lease: usize,
    },
    Advance {
        ms: u64,
    },
    /// A recovery whose resolver gives these answers to the three keys.
    Recover {
        answers: [Said; 3],
    },
    /// A recovery that stops between the take-over and the answer, as a dead process or a blocked call does.
    TakeOver {
        key: usize,
    },
    /// Keeps what the listing shows.
    List,
    /// Takes over, or else parks, what was listed some time ago.
    Late {
        key: usize,
        take_over: bool,
    },
    Requeue {
        key: usize,
    },
    Checkpoint,
    Restart {
        crash: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Happened,
    DidNotHappen,
    Unknown,
    Failed,
    Panics,
}

pub(super) fn any_step() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS.len();
    let lease = || 0..4usize;
    let said = prop::sample::select(vec![
        Said::Happened,
        Said::DidNotHappen,
        Said::DidNotHappen,
        Said::Unknown,
        Said::Unknown,
        Said::Failed,
        Said::Panics,
    ]);
    prop_oneof![
        6 => key().prop_map(|key| Step::Claim { key }),
        3 => lease().prop_map(|lease| Step::Drop { lease }),
        1 => lease().prop_map(|lease| Step::Complete { lease }),
        1 => lease().prop_map(|lease| Step::FailRetry { lease }),
        4 => lease().prop_map(|lease| Step::Renew { lease }),
        1 => lease().prop_map(|lease| Step::Save { lease }),
        4 => prop::sample::select(vec![1, 700, 1_000, 4_999, 5_000, 9_999, 10_000, 30_000])
            .prop_map(|ms| Step::Advance { ms }),
        5 => prop::array::uniform3(said).prop_map(|answers| Step::Recover { answers }),
        2 => key().prop_map(|key| Step::TakeOver { key }),
        3 => Just(Step::List),
        4 => (key(), any::<bool>()).prop_map(|(key, take_over)| Step::Late { key, take_over }),
        1 => key().prop_map(|key| Step::Requeue { key }),
        1 => Just(Step::Checkpoint),
        2 => any::<bool>().prop_map(|crash| Step::Restart { crash }),
    ]
}
