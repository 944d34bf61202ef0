//! The one order of operations: the numbers they are given, and the batches they wait in.

use super::life::SEQ_BITS;
use crate::codec::{Base, Record, put_bytes};
use crate::journal::framed_bytes;
use std::collections::VecDeque;
use std::task::Waker;

/// Tags of operations in a batch.
pub(crate) const OP_RECORD: u8 = 1;
pub(crate) const OP_SPACE: u8 = 2;

/// The queue, and the numbers it hands out.
#[derive(Debug)]
pub(crate) struct Order {
    pub(super) next_seq: u64,
    pub(super) last_seq_of_life: u64,
    pub(super) next_batch: u64,
    pub(super) queue: VecDeque<Pending>,
    /// Framed bytes of everything queued.
    pub(super) queued_bytes: u64,
    /// Bytes the current segment and its prepared successor still take, as of the last batch written.
    pub(super) room: Room,
    pub(super) spare: Vec<Vec<u8>>,
}

/// Bytes that the journal can still take without a further segment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Room {
    pub(crate) current: u64,
    pub(crate) next: Option<u64>,
}

/// A batch that collects operations.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(super) number: u64,
    pub(super) payload: Vec<u8>,
    pub(super) base: Base,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) ops: u32,
    /// Callers that will block on this batch, and so can lead it on their own thread.
    pub(super) blocking: u32,
    pub(super) wakers: Vec<Waker>,
}

/// How the caller of an operation waits for its commit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Waits<'a> {
    /// This thread, in [`Commit::wait`](super::commit::Commit::wait).
    Here,
    /// A future that is being polled: its waker stays with the batch. The service thread leads if no caller does.
    Polled(&'a Waker),
    /// A future that will be polled later, or not at all.
    Elsewhere,
}

impl Order {
    pub(super) fn new(life: u64, last_batch: u64, room: Room) -> Order {
        Order {
            next_seq: (life << SEQ_BITS) + 1,
            last_seq_of_life: ((life + 1) << SEQ_BITS) - 1,
            next_batch: last_batch + 1,
            queue: VecDeque::new(),
            queued_bytes: 0,
            room,
            spare: Vec::new(),
        }
    }

    /// Assigns the next sequence number.
    pub(crate) fn take_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    /// The highest sequence number assigned so far.
    pub(crate) fn last_seq(&self) -> u64 {
        self.next_seq - 1
    }

    /// Queues a record's new version; returns the batch that will carry it.
    pub(crate) fn append_record(&mut self, key: &[u8], record: &Record, now_ms: u64, waits: Waits) -> u64 {
        self.append(record.seq, now_ms, waits, |base, out| {
            out.push(OP_RECORD);
            put_bytes(key, out);
            record.encode(base, out);
        })
    }

    /// Queues a namespace definition.
    pub(crate) fn append_space(&mut self, seq: u64, row: &[u8], now_ms: u64, waits: Waits) -> u64 {
        self.append(seq, now_ms, waits, |_, out| {
            out.push(OP_SPACE);
            put_bytes(row, out);
        })
    }

    fn append(
        &mut self,
        seq: u64,
        now_ms: u64,
        waits: Waits,
        encode: impl FnOnce(&Base, &mut Vec<u8>),
    ) -> u64 {
        if self.queue.is_empty() {
            self.open_batch(seq, now_ms);
        }
        let Some(open) = self.queue.back_mut() else { return 0 };
        let before = framed_bytes(open.payload.len());
        // The first operation fixes the base that all others of the batch are encoded against.
        if open.ops == 0 {
            open.first_seq = seq;
            open.base = Base { seq, time_ms: now_ms, ttl_ms: 0 };
            open.payload.extend_from_slice(&now_ms.to_le_bytes());
        }
        encode(&open.base, &mut open.payload);
        self.queued_bytes += (framed_bytes(open.payload.len()) - before) as u64;
        open.last_seq = seq;
        open.ops += 1;
        // Still under the order lock: the leader finds every waiter of the batch that it takes.
        match waits {
            Waits::Here => open.blocking += 1,
            Waits::Polled(waker) if open.wakers.last().is_none_or(|last| !last.will_wake(waker)) => {
                open.wakers.push(waker.clone());
            }
            Waits::Polled(_) | Waits::Elsewhere => {}
        }
        open.number
    }

    fn open_batch(&mut self, first_seq: u64, now_ms: u64) {
        let payload = self.spare.pop().unwrap_or_default();
        self.queued_bytes += framed_bytes(0) as u64;
        self.queue.push_back(Pending {
            number: self.next_batch,
            payload,
            base: Base { seq: first_seq, time_ms: now_ms, ttl_ms: 0 },
            first_seq,
            last_seq: first_seq,
            ops: 0,
            blocking: 0,
            wakers: Vec::new(),
        });
        self.next_batch += 1;
    }

    /// Opens a new batch if the next `bytes` would make the open one larger than `largest`: a batch is one frame, and
    /// is not split.
    pub(super) fn keep_together(&mut self, bytes: usize, largest: u64, now_ms: u64) {
        let overflows = self
            .queue
            .back()
            .is_some_and(|open| open.ops > 0 && framed_bytes(open.payload.len() + bytes) as u64 > largest);
        if overflows {
            self.open_batch(self.next_seq, now_ms);
        }
    }

    pub(super) fn fits(&self, bytes: u64, reserve: u64) -> bool {
        // On the safe side: the whole queue must fit into one of the two segments, though it might be spread over
        // both.
        let wanted = self.queued_bytes + bytes + reserve;
        wanted <= self.room.current || self.room.next.is_some_and(|next| wanted <= next)
    }

    /// Whether `bytes` more still have room, after `admit` found room for an estimate. They join the open batch, so
    /// only the growth of its padded frame counts.
    pub(crate) fn takes(&self, bytes: usize) -> bool {
        let open = self.queue.back().map_or(0, |open| open.payload.len());
        let grown = framed_bytes(open + bytes) - self.queue.back().map_or(0, |_| framed_bytes(open));
        self.fits(grown as u64, 0)
    }

    /// Leaves a waker with a queued batch. `false`: a leader has taken the batch already.
    pub(super) fn wake_with(&mut self, batch: u64, waker: &Waker) -> bool {
        let pending = self.queue.iter_mut().find(|pending| pending.number == batch);
        pending.map(|pending| pending.wakers.push(waker.clone())).is_some()
    }

    /// Counts a caller that will block on a batch, if it is still queued.
    pub(super) fn block_on(&mut self, batch: u64) {
        if let Some(pending) = self.queue.iter_mut().find(|pending| pending.number == batch) {
            pending.blocking += 1;
        }
    }
}
