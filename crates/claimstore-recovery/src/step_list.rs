//! [`StepList`]: the steps of a piece of work and how far each has come, as bytes of a claim's progress.
//!
//! `cls1`, one byte of flags (1: undoing), one byte with the number of steps, then for each: one byte with the
//! length of its name, the name, one byte for the stage (0 ahead, 1 begun, 2 done), and for a step that is
//! done the length of its output (4 bytes, little endian) and the output.

use std::fmt;

const MAGIC: &[u8; 4] = b"cls1";

/// The steps of a piece of work and how far each has come, as [`Steps`](crate::steps::Steps) saves them. A resolver
/// can decode it from [`Orphan::progress`](crate::Orphan::progress).
#[derive(Clone, PartialEq, Eq)]
pub struct StepList {
    pub(crate) undoing: bool,
    steps: Vec<(String, Stage)>,
}

/// How far a step has come.
#[derive(Clone, PartialEq, Eq)]
pub enum Stage {
    /// Not begun.
    Ahead,
    /// Begun; it is unknown whether it was done.
    Begun,
    /// Done, with this output.
    Done(Vec<u8>),
}

impl StepList {
    /// `None` unless there are 1 to 255 steps with different names of 1 to 255 bytes.
    pub(crate) fn new(names: &[&str]) -> Option<StepList> {
        let in_bounds = (1..=255).contains(&names.len())
            && names.iter().all(|name| (1..=255).contains(&name.len()))
            && names
                .iter()
                .enumerate()
                .all(|(at, name)| !names.iter().skip(at + 1).any(|other| other == name));
        let steps = || names.iter().map(|name| ((*name).to_owned(), Stage::Ahead)).collect();
        in_bounds.then(|| StepList { undoing: false, steps: steps() })
    }

    /// Decodes saved progress; `None` for progress of another kind.
    pub fn decode(bytes: &[u8]) -> Option<StepList> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (&[flags, count], mut rest) = rest.split_first_chunk::<2>()?;
        let mut steps = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let (&name_len, after) = rest.split_first()?;
            let (name, after) = after.split_at_checked(usize::from(name_len))?;
            let (&stage, after) = after.split_first()?;
            let (stage, after) = match stage {
                0 => (Stage::Ahead, after),
                1 => (Stage::Begun, after),
                2 => {
                    let (len, after) = after.split_first_chunk::<4>()?;
                    let (output, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize)?;
                    (Stage::Done(output.to_vec()), after)
                }
                _ => return None,
            };
            steps.push((std::str::from_utf8(name).ok()?.to_owned(), stage));
            rest = after;
        }
        (rest.is_empty() && flags <= 1).then_some(StepList { undoing: flags == 1, steps })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(u8::from(self.undoing));
        out.push(self.steps.len() as u8);
        for (name, stage) in &self.steps {
            out.push(name.len() as u8);
            out.extend_from_slice(name.as_bytes());
            match stage {
                Stage::Ahead => out.push(0),
                Stage::Begun => out.push(1),
                Stage::Done(output) => {
                    out.push(2);
                    out.extend_from_slice(&(output.len() as u32).to_le_bytes());
                    out.extend_from_slice(output);
                }
            }
        }
        out
    }

    /// Whether the work is being undone.
    pub fn is_undoing(&self) -> bool {
        self.undoing
    }

    /// Names and stages, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Stage)> {
        self.steps.iter().map(|(name, stage)| (name.as_str(), stage))
    }

    /// The step that was begun but is not known to be done: ask the remote side about it.
    pub fn in_doubt(&self) -> Option<&str> {
        self.iter().find(|(_, stage)| **stage == Stage::Begun).map(|(name, _)| name)
    }

    /// Whether `other` has the same steps in the same order.
    pub(crate) fn is_same(&self, other: &StepList) -> bool {
        self.steps.iter().map(|(name, _)| name).eq(other.steps.iter().map(|(name, _)| name))
    }

    /// The stage of the step at `at`, if that is its name.
    pub(crate) fn stage(&self, at: usize, name: &str) -> Option<&Stage> {
        self.steps.get(at).filter(|(of, _)| of == name).map(|(_, stage)| stage)
    }

    /// Sets the stage of a step; returns the previous one.
    pub(crate) fn set(&mut self, at: usize, stage: Stage) -> Option<Stage> {
        self.steps.get_mut(at).map(|step| std::mem::replace(&mut step.1, stage))
    }
}

/// With names and stages, without outputs.
impl fmt::Debug for StepList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepList").field("undoing", &self.undoing).field("steps", &self.steps).finish()
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Ahead => "Ahead",
            Stage::Begun => "Begun",
            Stage::Done(_) => "Done",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Stage, StepList};

    fn list() -> StepList {
        let mut list = StepList::new(&["a", "billing/charge", "c"]).unwrap();
        list.set(0, Stage::Done(b"first".to_vec()));
        list.set(1, Stage::Begun);
        list
    }

    #[test]
    fn lists_round_trip_and_cut_or_long_ones_are_refused() {
        let mut list = list();
        for undoing in [false, true] {
            list.undoing = undoing;
            let bytes = list.encode();
            assert_eq!(StepList::decode(&bytes), Some(list.clone()));
            for cut in 0..bytes.len() {
                assert_eq!(StepList::decode(&bytes[..cut]), None, "{cut}");
            }
            assert_eq!(StepList::decode(&[&bytes[..], b"x"].concat()), None);
        }
        assert_eq!(list.in_doubt(), Some("billing/charge"));
    }

    /// No changed byte makes it panic or ask for memory that is not there.
    #[test]
    fn changed_bytes_give_a_list_or_nothing() {
        let bytes = list().encode();
        let (mut lists, mut refused) = (0, 0);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                if StepList::decode(&changed).is_some() { lists += 1 } else { refused += 1 }
            }
        }
        assert!(lists > 0 && refused > lists / 4, "{lists} read, {refused} refused");
    }

    #[test]
    fn names_must_be_there_and_different() {
        assert!(StepList::new(&[]).is_none());
        assert!(StepList::new(&["a", ""]).is_none());
        assert!(StepList::new(&["a", "b", "a"]).is_none());
        assert!(StepList::new(&["a"; 256]).is_none());
        assert!(StepList::new(&[&"n".repeat(256)]).is_none());
    }
}
