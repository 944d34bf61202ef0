//! Evaluates together what the parts of a store say at open. Pure.

use crate::engine::{LAST_LIFE, SEQ_BITS};
use crate::error::{Error, ErrorKind};

/// The claims of the catalogue, the journal and the tables about themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    pub(crate) catalogue_generation: u64,
    pub(crate) catalogue_life: u64,
    pub(crate) checkpoint_seq: u64,
    pub(crate) catalogue_mark_ms: u64,
    /// The highest catalogue generation any frame was written under.
    pub(crate) frame_generation: u64,
    /// The highest sequence number in the journal.
    pub(crate) frame_seq: u64,
    /// The latest store time in the journal.
    pub(crate) frame_mark_ms: u64,
    /// The highest sequence number, and latest time, among the claim rows of the tables.
    pub(crate) row_seq: u64,
    pub(crate) row_mark_ms: u64,
}

/// The life and store time to continue from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) life: u64,
    pub(crate) mark_ms: u64,
}

/// Weighs the evidence. A frame written under a later catalogue proves the catalogue stale.
pub(crate) fn weigh(evidence: &Evidence) -> Result<Outcome, Error> {
    if evidence.frame_generation > evidence.catalogue_generation {
        return Err(Error::corrupt("the catalogue is older than the journal"));
    }
    let seen_life = evidence.frame_seq.max(evidence.row_seq).max(evidence.checkpoint_seq) >> SEQ_BITS;
    let life = evidence.catalogue_life.max(seen_life) + 1;
    if life > LAST_LIFE {
        return Err(Error::new(ErrorKind::Full, "the store has been opened as often as it can be"));
    }
    let mark_ms = evidence.catalogue_mark_ms.max(evidence.frame_mark_ms).max(evidence.row_mark_ms);
    Ok(Outcome { life, mark_ms })
}

#[cfg(test)]
mod tests {
    use super::{Evidence, Outcome, weigh};
    use crate::engine::{LAST_LIFE, SEQ_BITS};
    use crate::error::ErrorKind;

    #[test]
    fn p5_the_next_life_is_above_every_number_ever_seen() {
        let life = |evidence: &Evidence| weigh(evidence).unwrap().life;
        assert_eq!(life(&Evidence { catalogue_life: 7, ..Evidence::default() }), 8);
        assert_eq!(
            life(&Evidence { catalogue_life: 7, frame_seq: (9 << SEQ_BITS) + 5, ..Evidence::default() }),
            10
        );
        assert_eq!(life(&Evidence { row_seq: 3 << SEQ_BITS, ..Evidence::default() }), 4);
        assert_eq!(life(&Evidence { checkpoint_seq: 5 << SEQ_BITS, ..Evidence::default() }), 6);
    }

    #[test]
    fn p10_time_goes_on_from_the_latest_mark() {
        let evidence =
            Evidence { catalogue_mark_ms: 5, frame_mark_ms: 9, row_mark_ms: 7, ..Evidence::default() };
        assert_eq!(weigh(&evidence).unwrap(), Outcome { life: 1, mark_ms: 9 });
    }

    #[test]
    fn p13_a_stale_catalogue_is_noticed() {
        let evidence = Evidence { catalogue_generation: 4, frame_generation: 5, ..Evidence::default() };
        assert_eq!(weigh(&evidence).unwrap_err().kind(), ErrorKind::Corrupt);
        let current = Evidence { catalogue_generation: 5, ..evidence };
        assert!(weigh(&current).is_ok());
    }

    #[test]
    fn lives_that_run_out_are_a_typed_error() {
        let weighed = |catalogue_life| weigh(&Evidence { catalogue_life, ..Evidence::default() });
        assert_eq!(weighed(LAST_LIFE - 1).unwrap().life, LAST_LIFE);
        assert_eq!(weighed(LAST_LIFE).unwrap_err().kind(), ErrorKind::Full);
    }
}
