//! Random bytes for a store under test.

use crate::rng::Rng;
use claimstore::io::Entropy;
use std::io;
use std::sync::{Mutex, PoisonError};

/// An [`Entropy`] that gives the same bytes for the same seed and order of calls.
#[derive(Debug)]
pub struct SeededEntropy {
    rng: Mutex<Rng>,
}

impl SeededEntropy {
    /// Entropy whose whole future is `seed`.
    pub fn new(seed: u64) -> SeededEntropy {
        SeededEntropy { rng: Mutex::new(Rng::new(seed)) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buf: &mut [u8]) -> io::Result<()> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fill(buf);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_bytes() {
        let drawn = |seed| {
            let mut bytes = [0u8; 21];
            SeededEntropy::new(seed).fill(&mut bytes).expect("never fails");
            bytes
        };
        assert_eq!(drawn(5), drawn(5));
        assert_ne!(drawn(5), drawn(6));
    }
}
