//! Which positions of a stream are done: a watermark and a window of 1,024 above it. Pure.

use crate::codec::{Cursor, Malformed};
use std::ops::RangeInclusive;

/// How far above the lowest position that is not done a position may be.
pub(crate) const WINDOW: u64 = 1_024;

const WORDS: usize = (WINDOW / 64) as usize;
const VERSION: u8 = 1;

/// Everything below `next` is done; for `next` and above, `ahead` has the bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Positions {
    next: u64,
    /// Bit i stands for `next + i`. Bit 0 is never set: `next` would be higher.
    ahead: [u64; WORDS],
}

impl Positions {
    /// The lowest position that is not done.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn is_done(&self, position: u64) -> bool {
        position.checked_sub(self.next).is_none_or(|distance| self.bit(distance))
    }

    /// Whether there is room to remember that `position` is done.
    pub(crate) fn reaches(&self, position: u64) -> bool {
        position.checked_sub(self.next).is_none_or(|distance| distance < WINDOW)
    }

    /// Marks a position within reach as done.
    pub(crate) fn complete(&mut self, position: u64) {
        let Some(distance) = position.checked_sub(self.next) else { return };
        if let Some(word) = self.ahead.get_mut((distance / 64) as usize) {
            *word |= 1 << (distance % 64);
        }
        self.settle();
    }

    /// Marks everything below `next` as done.
    pub(crate) fn skip_to(&mut self, next: u64) {
        let Some(distance) = next.checked_sub(self.next) else { return };
        self.shift(distance);
        self.settle();
    }

    /// Positions that are not done though one above them is, as ranges, lowest first.
    pub(crate) fn gaps(&self) -> Vec<RangeInclusive<u64>> {
        let mut gaps: Vec<RangeInclusive<u64>> = Vec::new();
        let mut open: Option<u64> = None;
        for distance in 0..WINDOW {
            match (self.bit(distance), open) {
                (false, None) => open = Some(distance),
                (true, Some(from)) => {
                    gaps.push(self.next + from..=self.next + distance - 1);
                    open = None;
                }
                (false, Some(_)) | (true, None) => {}
            }
        }
        gaps
    }

    /// One byte 1 (the version), `next` (8), then the words of `ahead` (8 each) up to the last that is not 0.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let words = self.ahead.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.next.to_le_bytes());
        self.ahead.iter().take(words).for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Positions, Malformed> {
        let mut cursor = Cursor::new(bytes);
        if cursor.u8("positions version")? != VERSION {
            return Err(Malformed("positions version"));
        }
        let mut positions = Positions { next: cursor.u64("positions watermark")?, ahead: [0; WORDS] };
        for word in &mut positions.ahead {
            if cursor.remaining() > 0 {
                *word = cursor.u64("positions window")?;
            }
        }
        cursor.finish("positions end")?;
        let beyond = positions.next > u64::MAX - WINDOW && positions.ahead != [0; WORDS];
        if positions.bit(0) || beyond { Err(Malformed("positions window")) } else { Ok(positions) }
    }

    fn bit(&self, distance: u64) -> bool {
        let word = self.ahead.get((distance / 64) as usize).copied().unwrap_or(0);
        word >> (distance % 64) & 1 == 1
    }

    /// Moves the watermark over what is done.
    fn settle(&mut self) {
        let done = (0..WINDOW).find(|distance| !self.bit(*distance)).unwrap_or(WINDOW);
        self.shift(done);
    }

    fn shift(&mut self, distance: u64) {
        let (words, bits) = ((distance / 64) as usize, distance % 64);
        let before = self.ahead;
        let word = |place: usize| before.get(place).copied().unwrap_or(0);
        for (place, to) in self.ahead.iter_mut().enumerate() {
            let from = place.saturating_add(words);
            let carried = if bits == 0 { 0 } else { word(from.saturating_add(1)) << (64 - bits) };
            *to = word(from) >> bits | carried;
        }
        self.next = self.next.saturating_add(distance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_watermark_moves_over_what_is_done() {
        let mut positions = Positions::default();
        for (position, next) in [(1, 0), (2, 0), (0, 3), (0, 3), (1_026, 3), (4, 3), (3, 5)] {
            positions.complete(position);
            assert_eq!(positions.next(), next, "{position}");
        }
        assert_eq!(positions.gaps(), [5..=1_025]);
        assert!(positions.reaches(1_028) && !positions.reaches(1_029));
        positions.skip_to(1_026);
        assert_eq!((positions.next(), positions.gaps()), (1_027, vec![]));
        positions.skip_to(u64::MAX - 1);
        assert_eq!(positions.next(), u64::MAX - 1);
        positions.skip_to(7);
        assert_eq!(positions.next(), u64::MAX - 1);
    }

    #[test]
    fn other_bytes_are_refused() {
        let refused = |bytes: &[u8]| assert!(Positions::decode(bytes).is_err(), "{bytes:?}");
        refused(&[]);
        refused(&[2, 0, 0, 0, 0, 0, 0, 0, 0]);
        refused(&[1, 0, 0, 0, 0, 0, 0, 0]);
        refused(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        refused(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        refused(&[vec![1], vec![0xff; 8], vec![2], vec![0; 7]].concat());
        refused(&[vec![1], vec![0; 8 + 128 + 8]].concat());
    }

    proptest! {
        /// Against a set of numbers.
        #[test]
        fn positions_are_a_set(start in 0..100_u64, steps in prop::collection::vec((any::<bool>(), 0..1_200_u64), 0..200)) {
            let mut positions = Positions::default();
            positions.skip_to(start);
            let mut done: BTreeSet<u64> = (0..start).collect();
            for (skip, distance) in steps {
                let position = if distance < 1_100 { positions.next() + distance % 70 } else { positions.next() + distance };
                if skip && distance % 9 == 0 {
                    positions.skip_to(position);
                    done.extend(0..position);
                } else if positions.reaches(position) {
                    positions.complete(position);
                    done.insert(position);
                }
                let next = (0..=u64::MAX).find(|position| !done.contains(position)).unwrap();
                prop_assert_eq!(positions.next(), next);
                let last = done.last().copied().unwrap_or(0);
                for position in next.saturating_sub(2)..=last + 2 {
                    prop_assert_eq!(positions.is_done(position), done.contains(&position), "{}", position);
                }
                let gaps: Vec<u64> = positions.gaps().into_iter().flatten().collect();
                let expected: Vec<u64> = (next..last).filter(|position| !done.contains(position)).collect();
                prop_assert_eq!(gaps, expected);
                prop_assert_eq!(Positions::decode(&positions.encode()), Ok(positions));
            }
        }
    }
}
