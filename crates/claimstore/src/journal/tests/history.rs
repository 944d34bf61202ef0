//! Random lives of a journal, with power cuts and failing syncs, against a list of what was written.

use super::disk::{Dice, TestDisk};
use super::*;

/// The journal and what is known about it.
struct Life {
    disk: Arc<TestDisk>,
    dice: Dice,
    writer: Writer,
    start: Start,
    lives: Vec<Start>,
    spare: Vec<u64>,
    salt: u64,
    /// Batches in order; the first `durable` of them are.
    written: Vec<Seen>,
    durable: usize,
}

impl Life {
    fn new(seed: u64) -> Life {
        let (disk, dice) = (TestDisk::new(), Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1));
        let writer = Writer::start(prepared(&disk, 1, 11), 0);
        let (lives, spare, written) = (vec![start()], Vec::new(), Vec::new());
        Life { disk, dice, writer, start: start(), lives, spare, salt: 100, written, durable: 0 }
    }

    fn step(&mut self) {
        match self.dice.roll(20) {
            0..=8 => self.append(),
            9..=11 => self.sync(),
            12..=14 => self.prepare(),
            15 => self.retire(),
            16 => self.close_and_open(),
            17 => {
                self.disk = self.disk.cut_power(&mut self.dice);
                self.open_after_crash();
            }
            18 => {
                // The crash inside the recovery: the first one reaches any point the second leaves behind.
                self.disk = self.disk.cut_power(&mut self.dice);
                let lost = self.disk.copy();
                drop(reopen(&lost, self.start, None).unwrap());
                self.disk = lost.cut_power(&mut self.dice);
                self.open_after_crash();
            }
            _ => self.fail_a_sync(),
        }
    }

    fn next_batch(&self) -> u64 {
        self.written.len() as u64 + 1
    }

    fn append(&mut self) {
        let batch = self.next_batch();
        let bytes = payload(batch, self.dice.roll(1700));
        match self.writer.append(&head(batch), &bytes) {
            Ok(()) => self.written.push((FrameKind::Data, batch, bytes)),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::StorageFull),
        }
        self.note_segment();
    }

    fn note_segment(&mut self) {
        let current = self.writer.current();
        if self.lives.last() != Some(&current) {
            self.lives.push(current);
            self.durable = self.durable.max(current.batch as usize);
        }
    }

    fn sync(&mut self) {
        self.writer.sync().unwrap();
        self.durable = self.written.len();
    }

    fn prepare(&mut self) {
        if !self.writer.has_next() {
            self.salt += 1;
            let (number, fill) = (self.writer.next_number(), self.dice.roll(2) == 0);
            let bytes = 4096 + 512 * self.dice.roll(8) as u64;
            let next = prepare(&storage(&self.disk), STORE, number, bytes, self.salt, self.spare.pop(), fill)
                .unwrap();
            self.writer.install_next(next);
        }
    }

    fn retire(&mut self) {
        self.sync();
        let current = self.writer.current();
        self.spare.extend(self.start.segment..current.segment);
        self.start = current;
        self.lives = vec![current];
    }

    fn close_and_open(&mut self) {
        self.prepare();
        let batch = self.next_batch();
        self.writer.seal(&head(batch)).unwrap();
        self.note_segment();
        self.written.push((FrameKind::Seal, batch, Vec::new()));
        self.durable = self.written.len();
        self.check(Some(batch));
    }

    fn open_after_crash(&mut self) {
        self.check(None);
    }

    /// In the same process: the cache still shows what the disk may not have.
    fn fail_a_sync(&mut self) {
        self.disk.fail_syncs(1);
        assert!(self.writer.sync().is_err());
        self.disk.fail_syncs(0);
        self.open_after_crash();
        if self.dice.roll(2) == 0 {
            self.disk = self.disk.cut_power(&mut self.dice);
            self.open_after_crash();
        }
    }

    fn check(&mut self, seal: Option<u64>) {
        let (recovered, mut seen) = reopen(&self.disk, self.start, seal).unwrap();
        seen.retain(|(kind, ..)| *kind != FrameKind::Link);
        let from = self.start.batch as usize;
        let reached = from + seen.len();
        assert!(reached >= self.durable, "lost {} durable batches", self.durable - reached);
        assert_eq!(seen, self.written[from..reached]);
        self.written.truncate(reached);
        self.durable = reached;
        self.lives = recovered.segments.iter().map(|live| live.start).collect();
        assert_eq!(self.lives.last(), Some(&recovered.writer.current()));
        self.spare = recovered.spare;
        self.writer = recovered.writer;
    }
}

fn histories(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let ran = std::panic::catch_unwind(|| {
            let mut life = Life::new(seed);
            (0..120).for_each(|_| life.step());
        });
        assert!(ran.is_ok(), "replay with histories({seed}..{})", seed + 1);
    }
}

#[test]
fn every_history_shows_a_prefix_with_everything_durable() {
    histories(1..3_000);
}
