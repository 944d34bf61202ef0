//! How many crash images a second one core builds and reads, for a store of about 300 KB.
//!
//! `cargo run --release -p claimstore-sim --example image_rate`

use claimstore::io::{OpenMode, Storage};
use claimstore_sim::{Level, Rng, SimDisk, Variant};
use std::collections::HashSet;
use std::io;
use std::time::Instant;

const SEGMENT_BYTES: u64 = 64 * 1_024;
const IMAGES: u64 = 50_000;

fn main() -> io::Result<()> {
    let disk = recorded_store()?;
    let mut digests = HashSet::new();
    let mut bytes_read = 0;
    #[expect(clippy::disallowed_methods, reason = "a measurement needs the real clock")]
    let start = Instant::now();
    for seed in 0..IMAGES {
        let level = match seed % 3 {
            0 => Level::L1,
            1 => Level::L2,
            _ => Level::L3,
        };
        let events = seed as usize * disk.events() / IMAGES as usize;
        let image = disk.crash_at(events, Variant::new(level, seed));
        digests.insert(image.digest());
        bytes_read += read_everything(&image)?;
    }
    let millis = start.elapsed().as_millis() as u64;
    let rate = IMAGES * 1_000 / millis.max(1);
    println!("{IMAGES} images of {} KB in {millis} ms: {rate} a second", bytes_read / IMAGES / 1_000);
    println!("{} distinct, at {} events", digests.len(), disk.events());
    Ok(())
}

/// Commits of one to eight sectors into preallocated segments, and a run file now and then.
fn recorded_store() -> io::Result<SimDisk> {
    let disk = SimDisk::new();
    let mut rng = Rng::new(1);
    for number in 0..4u8 {
        let segment = disk.open(&format!("{number}.seg"), OpenMode::CreateNew)?;
        segment.allocate(SEGMENT_BYTES)?;
        segment.sync_data()?;
        disk.sync_dir("")?;
        let mut at = 0;
        while at + 4_096 <= SEGMENT_BYTES {
            let data = vec![rng.next_u64() as u8; 512 * (1 + rng.index(8))];
            segment.write_all_at(&data, at)?;
            segment.sync_data()?;
            at += data.len() as u64;
        }
        let run = disk.open(&format!("{number}.run"), OpenMode::CreateNew)?;
        for block in 0..8 {
            run.write_all_at(&[number + 1; 4_096], block * 4_096)?;
        }
        run.sync_data()?;
        disk.sync_dir("")?;
    }
    Ok(disk)
}

fn read_everything(disk: &SimDisk) -> io::Result<u64> {
    let mut total = 0;
    for name in disk.list("")? {
        let file = disk.open(&name, OpenMode::Existing)?;
        let mut bytes = vec![0; file.len()? as usize];
        file.read_exact_at(&mut bytes, 0)?;
        total += bytes.len() as u64;
    }
    Ok(total)
}
