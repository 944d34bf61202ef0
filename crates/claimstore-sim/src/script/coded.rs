//! Steps from bytes, for a fuzzer: a few bytes changed are a step changed, and any bytes are a script.

use super::steps::Step;

/// Most steps of one script.
const MOST_STEPS: usize = 64;

/// Reads a script: of each three bytes, the first chooses what to do, the others fill it in. What is left over at
/// the end, and what comes after 64 steps, is ignored.
pub fn decode_steps(bytes: &[u8]) -> Vec<Step> {
    bytes.as_chunks::<3>().0.iter().take(MOST_STEPS).map(|chunk| decode(*chunk)).collect()
}

fn decode([what, a, b]: [u8; 3]) -> Step {
    let (held, key) = (usize::from(a), usize::from(a));
    let b = usize::from(b);
    match what % 32 {
        0..=5 => Step::Claim { key, ttl: b % 3, payload: ((b >> 2) % 4).saturating_sub(1) as u8 },
        6 => {
            let keys = (0..=b % 5).map(|n| key + n * (b >> 3)).collect();
            Step::ClaimMany { keys, refused: b % 16 == 0 }
        }
        7..=8 => Step::Complete { held, len: [0, 3, 64, 700][b % 4] },
        9 => Step::CompleteMany { too_large: b % 4 == 1 },
        10 if b >= 192 => Step::Unknown { held },
        10 => Step::Retry { held, after_s: [0, 30, 4_000][b % 3] },
        11 => Step::Terminal { held },
        12 => Step::Park { held },
        13 => Step::Release { held },
        14 => Step::Abandon { held },
        15 => Step::Renew { held, term_s: [600, 30, 1][b % 3] },
        16 => Step::Progress { held, len: [1, 40, 300][b % 3] },
        17 => Step::Labour { held, times: [8, 16, 24, 90][b % 4] },
        18 if b >= 128 => Step::TakeOver { which: held, term_s: [60, 600, 1][b % 3] },
        18 => Step::HandOver { held },
        19 => Step::Detach { held, term_s: [3_600, 30][b % 2] },
        20 => Step::Resume { token: held },
        21 => Step::Transact { key, fail: b % 4 == 0 },
        22 => Step::CompleteIn { held },
        23 if b >= 192 => Step::Import {
            keys: vec![key, key + (b & 7)],
            state: b % 5,
            attempt: (b >> 2) as u32 % 3,
            payload: (b >> 4) as u8 % 3,
            ago_s: [0, 7_200][usize::from(a >> 7)],
        },
        23 => Step::Forget { key },
        24 => Step::Advance { stretch: usize::from(a % 9) },
        25 => Step::StepWall { step: usize::from(a % 3) },
        26 => Step::RaiseTtl,
        27 => Step::Checkpoint,
        28 => Step::Prune,
        29 => match a % 2 {
            0 => Step::Upkeep,
            _ => Step::Compact,
        },
        30 => Step::Reopen,
        _ => Step::Crash { seed: (u64::from(a) << 8) | b as u64, reboot: b % 4 == 3 },
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Runner, Step};
    use super::{MOST_STEPS, decode_steps};
    use std::collections::HashSet;
    use std::mem::discriminant;

    #[test]
    fn bytes_reach_every_kind_of_step_but_the_audit() {
        let bytes: Vec<u8> = (0..=255).flat_map(|n| [n, n >> 5, n]).collect();
        let kinds: HashSet<_> =
            bytes.chunks(150).flat_map(decode_steps).map(|step| discriminant(&step)).collect();
        assert_eq!(kinds.len(), 30);
        assert!(!kinds.contains(&discriminant(&Step::Audit)), "a run audits at its end");
    }

    #[test]
    fn any_bytes_are_a_script() {
        assert!(decode_steps(&[1, 2]).is_empty());
        assert_eq!(decode_steps(&[9; 3_000]).len(), MOST_STEPS);
        for seed in 0..20u8 {
            let bytes: Vec<u8> = (0..90u8).map(|n| n.wrapping_mul(seed * 2 + 1) ^ seed).collect();
            Runner::new(1).unwrap().run(&decode_steps(&bytes)).unwrap();
        }
    }
}
