//! States of records in options and tables.

use claimstore::RecordState;
use claimstore_admin::State;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser as _, ValueParser};

/// The states by their words.
pub(crate) fn state_parser() -> ValueParser {
    let values = State::ALL.map(|state| PossibleValue::new(state.name()).help(state.meaning()));
    let to_state = |name: String| State::named(&name).ok_or("this is no state");
    ValueParser::new(PossibleValuesParser::new(values).try_map(to_state))
}

/// The one word for a state of the store.
pub(crate) fn state_name(state: RecordState) -> &'static str {
    State::from(state).name()
}
