//! The states of records, and the words for them in answers, options and tables.

use claimstore::RecordState;
use serde::{Deserialize, Serialize};

/// The states of records, by the names that answers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Somebody holds the claim, or may.
    InProgress,
    /// Nobody holds the claim any more.
    Orphaned,
    /// Done.
    Completed,
    /// Failed for good.
    Failed,
    /// May be claimed again, now or later.
    Retry,
    /// Held for review.
    Parked,
}

impl From<State> for RecordState {
    fn from(state: State) -> RecordState {
        match state {
            State::InProgress => RecordState::InProgress,
            State::Orphaned => RecordState::Orphaned,
            State::Completed => RecordState::Completed,
            State::Failed => RecordState::Failed,
            State::Retry => RecordState::Retry,
            State::Parked => RecordState::Parked,
        }
    }
}

impl From<RecordState> for State {
    fn from(state: RecordState) -> State {
        match state {
            RecordState::Orphaned => State::Orphaned,
            RecordState::Completed => State::Completed,
            RecordState::Failed => State::Failed,
            RecordState::Retry => State::Retry,
            RecordState::Parked => State::Parked,
            // A state of a later version counts as not ended.
            _ => State::InProgress,
        }
    }
}

impl State {
    /// All of them: those that are not over first.
    pub const ALL: [State; 6] =
        [State::InProgress, State::Orphaned, State::Retry, State::Parked, State::Completed, State::Failed];

    /// The one word for the state, in answers, exports, options and tables alike.
    pub fn name(self) -> &'static str {
        self.words().0
    }

    /// What the word means.
    pub fn meaning(self) -> &'static str {
        self.words().1
    }

    /// The state of this name.
    pub fn named(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }

    /// The table of words.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            State::InProgress => ("in-progress", "somebody holds the claim, or may"),
            State::Orphaned => ("orphaned", "the holder of the claim is gone"),
            State::Retry => ("retry", "not done: the key may be claimed again, now or later"),
            State::Parked => ("parked", "held for review: claims are refused until somebody decides"),
            State::Completed => ("completed", "done"),
            State::Failed => ("failed", "failed for good"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_one_word() {
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
            assert_eq!(
                (State::named(state.name()), State::from(RecordState::from(state))),
                (Some(state), state)
            );
        }
        assert_eq!(State::named("done"), None);
    }
}
