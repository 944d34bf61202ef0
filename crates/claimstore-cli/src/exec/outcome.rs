//! What a command left behind, as it is recorded and replayed.

/// Begins the bytes of an outcome; the digit is the version of their layout.
const MAGIC: &[u8; 4] = b"clx1";

/// Exit code and output of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) code: u8,
    pub(super) stdout: Stream,
    pub(super) stderr: Stream,
}

/// The beginning of what was written, and how much it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) kept: Vec<u8>,
    pub(super) bytes: u64,
}

impl Outcome {
    /// Magic, exit code, then for each stream: bytes written and bytes kept (u64, little endian), the bytes kept.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(self.code);
        for stream in [&self.stdout, &self.stderr] {
            out.extend_from_slice(&stream.bytes.to_le_bytes());
            out.extend_from_slice(&(stream.kept.len() as u64).to_le_bytes());
            out.extend_from_slice(&stream.kept);
        }
        out
    }

    /// Reads what [`encode`](Outcome::encode) wrote; nothing for anything else. An empty response, as an operator
    /// gives it, is a success that wrote nothing.
    pub(super) fn decode(bytes: &[u8]) -> Option<Outcome> {
        if bytes.is_empty() {
            return Some(Outcome { code: 0, stdout: Stream::default(), stderr: Stream::default() });
        }
        let (code, rest) = bytes.strip_prefix(MAGIC)?.split_first()?;
        let (stdout, rest) = Stream::decode(rest)?;
        let (stderr, rest) = Stream::decode(rest)?;
        rest.is_empty().then_some(Outcome { code: *code, stdout, stderr })
    }

    /// Output beyond the bound is not recorded, and that is said whenever it matters.
    pub(super) fn what_is_cut(&self) -> Vec<String> {
        let streams = [("standard output", &self.stdout), ("standard error", &self.stderr)];
        let cut = streams.into_iter().filter(|(_, stream)| stream.bytes > stream.kept.len() as u64);
        cut.map(|(name, stream)| {
            format!("of {} bytes of {name}, the first {} are recorded", stream.bytes, stream.kept.len())
        })
        .collect()
    }
}

impl Stream {
    fn decode(bytes: &[u8]) -> Option<(Stream, &[u8])> {
        let (written, rest) = bytes.split_first_chunk::<8>()?;
        let (kept, rest) = rest.split_first_chunk::<8>()?;
        let kept = usize::try_from(u64::from_le_bytes(*kept)).ok()?;
        let (kept, rest) = rest.split_at_checked(kept)?;
        Some((Stream { kept: kept.into(), bytes: u64::from_le_bytes(*written) }, rest))
    }

    /// Takes note of bytes that were written; keeps those up to `limit`.
    pub(super) fn note(&mut self, bytes: &[u8], limit: usize) {
        self.bytes += bytes.len() as u64;
        let room = limit.saturating_sub(self.kept.len()).min(bytes.len());
        self.kept.extend_from_slice(bytes.get(..room).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome() -> Outcome {
        let mut stdout = Stream::default();
        stdout.note(b"hello ", 8);
        stdout.note(b"world", 8);
        Outcome { code: 3, stdout, stderr: Stream { kept: b"oh".into(), bytes: 2 } }
    }

    #[test]
    fn an_outcome_round_trips_and_cut_or_longer_bytes_are_none() {
        let bytes = outcome().encode();
        assert_eq!(Outcome::decode(&bytes), Some(outcome()));
        for cut in 1..bytes.len() {
            assert_eq!(Outcome::decode(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(Outcome::decode(&[&bytes[..], b"x"].concat()), None);
        assert_eq!(Outcome::decode(b"receipt 17"), None);
        assert_eq!(Outcome::decode(b"").unwrap().code, 0);
    }

    #[test]
    fn output_is_kept_up_to_the_bound_and_counted_beyond_it() {
        let Outcome { stdout, .. } = outcome();
        assert_eq!((stdout.kept.as_slice(), stdout.bytes), (&b"hello wo"[..], 11));
    }

    /// Stores in the field hold these bytes.
    #[test]
    fn the_layout_stays() {
        let hex = claimstore_admin::hex(&outcome().encode());
        assert_eq!(
            hex,
            "636c7831030b00000000000000080000000000000068656c6c6f20776f02000000000000000200000000000000 6f68"
                .replace(' ', "")
        );
    }
}
