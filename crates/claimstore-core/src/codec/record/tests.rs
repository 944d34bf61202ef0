use super::{Asked, Base, Cursor, Extra, Fingerprint, Record, Repeats, State};
use crate::tally::Tally;
use proptest::prelude::*;

pub(in crate::codec) fn any_record() -> impl Strategy<Value = Record> {
    let state = prop::sample::select(vec![
        State::InProgress,
        State::Completed,
        State::Failed,
        State::Retry,
        State::Parked,
        State::Erased,
    ]);
    let bytes = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Vec::into_boxed_slice);
    let asked = (any::<u64>(), any::<u8>(), any::<u32>(), any::<u64>())
        .prop_map(|(token, cause, times, at_ms)| Asked { token, cause, times, at_ms });
    let repeats = any::<(u32, u32)>().prop_map(|(replays, mismatches)| Repeats { replays, mismatches });
    let tally = any::<(u32, u32, u32, bool, bool)>().prop_map(
        |(failures, losses, interrupted, in_doubt, counted)| Tally {
            failures,
            losses,
            interrupted,
            in_doubt,
            counted,
        },
    );
    let ends = (prop::option::of(tally), prop::option::of(any::<u8>()), any::<u32>(), bytes());
    let recovery = (bytes(), prop::option::of(asked), any::<u32>(), repeats, ends);
    let unknown = prop::collection::vec((13u16.., bytes()), 0..3);
    let extra = (bytes(), prop::option::of(bytes()), [bytes(), bytes()], recovery, unknown).prop_map(
        |(origin, earlier_progress, [note, fields], (history, asked, granted, repeats, ends), unknown)| {
            let (tally, left, granted_losses, calls) = ends;
            Box::new(Extra {
                origin,
                earlier_progress,
                note,
                fields,
                history,
                asked,
                granted,
                repeats,
                tally,
                left,
                granted_losses,
                calls,
                unknown,
            })
        },
    );
    let numbers = (any::<u64>(), any::<u64>(), any::<u32>(), any::<[u64; 5]>());
    let fingerprint = prop::option::of(any::<(u8, [u8; 32])>());
    (state, numbers, fingerprint, bytes(), prop::option::of(extra)).prop_map(
        |(state, (seq, token, attempt, times), fingerprint, body, extra)| {
            if state == State::Erased {
                return Record::erased(seq);
            }
            Record {
                seq,
                token: token.min(seq),
                attempt,
                state,
                claimed_at_ms: times[0],
                settled_at_ms: if state == State::InProgress { 0 } else { times[1] },
                until_ms: times[2],
                ttl_ms: times[3],
                lease_ms: if state.expires() { 0 } else { times[4] },
                fingerprint: fingerprint.map(|(scheme, digest)| Box::new(Fingerprint { scheme, digest })),
                body,
                extra,
            }
        },
    )
}

proptest! {
    #[test]
    fn records_round_trip(record in any_record(), seq: u64, time_ms: u64, ttl_ms: u64) {
        let base = Base { seq, time_ms, ttl_ms };
        let mut bytes = Vec::new();
        record.encode(&base, &mut bytes);
        let mut cursor = Cursor::new(&bytes);
        prop_assert_eq!(Record::decode(&mut cursor, &base), Ok(record));
        prop_assert_eq!(cursor.remaining(), 0);
    }

    #[test]
    fn cut_records_are_refused_and_no_bytes_panic(record in any_record(), noise: Vec<u8>, cut: prop::sample::Index) {
        let mut bytes = Vec::new();
        record.encode(&Base::default(), &mut bytes);
        let short = &bytes[..cut.index(bytes.len())];
        prop_assert!(Record::decode(&mut Cursor::new(short), &Base::default()).is_err());
        let _ = Record::decode(&mut Cursor::new(&noise), &Base::default());
    }
}

#[test]
fn a_typical_completed_record_is_small() {
    let base = Base { seq: 1 << 40, time_ms: 1_800_000_000_000, ttl_ms: 604_800_000 };
    let record = Record {
        seq: base.seq + 900_000,
        token: base.seq + 899_000,
        attempt: 1,
        state: State::Completed,
        claimed_at_ms: base.time_ms + 60_000,
        settled_at_ms: base.time_ms + 60_100,
        until_ms: base.time_ms + 60_100 + 604_800_000,
        ttl_ms: 604_800_000,
        lease_ms: 0,
        fingerprint: None,
        body: Box::default(),
        extra: None,
    };
    let mut bytes = Vec::new();
    record.encode(&base, &mut bytes);
    assert!(bytes.len() <= 20, "{} bytes", bytes.len());
}

/// The example of docs/file-format.md.
#[test]
fn counts_of_claims_that_came_again_stand_under_their_tag() {
    const GOLDEN: &[u8] = b"\x22\x12\x02\x01\x0a\x14\x02\x00\x01\x08\x00\x02\x02\xfa\x02ok";
    let mut record = Record::erased(9);
    (record.state, record.token, record.attempt) = (State::Completed, 8, 1);
    (record.claimed_at_ms, record.settled_at_ms, record.until_ms, record.ttl_ms) = (5, 6, 16, 10);
    record.body = b"ok"[..].into();
    record.extra.get_or_insert_default().repeats = Repeats { replays: 2, mismatches: 250 };
    let mut bytes = Vec::new();
    record.encode(&Base::default(), &mut bytes);
    assert_eq!(bytes, GOLDEN, "{bytes:02x?}");
    let mut cursor = Cursor::new(GOLDEN);
    assert_eq!(Record::decode(&mut cursor, &Base::default()), Ok(record));
}

#[test]
fn every_byte_a_record_carries_counts_once() {
    // Lengths whose sums are all different.
    let bytes = |bit: u32| vec![0; 1 << bit].into_boxed_slice();
    let asked = Asked { token: u64::MAX, cause: u8::MAX, times: u32::MAX, at_ms: u64::MAX };
    assert!(asked.encode().len() <= Asked::BYTES);
    let (failures, losses, interrupted) = (u32::MAX, u32::MAX, u32::MAX);
    let tally = Tally { failures, losses, interrupted, in_doubt: true, counted: true };
    let extra = Extra {
        origin: bytes(7),
        earlier_progress: Some(bytes(8)),
        note: bytes(9),
        fields: bytes(10),
        history: bytes(11),
        asked: Some(asked),
        granted: 3,
        repeats: Repeats { replays: 1, mismatches: 2 },
        tally: Some(tally),
        left: Some(1),
        granted_losses: 4,
        calls: bytes(15),
        unknown: vec![(77, bytes(12)), (78, bytes(13))],
    };
    let record = Record { body: bytes(14), extra: Some(Box::new(extra)), ..Record::erased(1) };
    let carried = (7..=15).map(|bit| 1 << bit).sum::<usize>();
    assert_eq!(record.loose_bytes(), carried + Asked::BYTES + tally.encode().len());
    assert_eq!(Record::erased(1).loose_bytes(), 0);
}

#[test]
fn expiry_is_reached_at_its_millisecond_and_not_before() {
    let mut record = Record::erased(1);
    record.state = State::Completed;
    record.until_ms = 100;
    assert!(!record.is_expired(99));
    assert!(record.is_expired(100));
    // In other states the number means something else.
    for state in [State::InProgress, State::Retry, State::Parked, State::Erased] {
        record.state = state;
        assert!(!record.is_expired(100), "{state:?}");
    }
}
