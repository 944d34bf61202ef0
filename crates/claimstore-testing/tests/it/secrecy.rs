//! P18: what is shown of a run and its verdict in `Debug` has no key. The verdict's table has them: it is for the author of the
//! handler, whose keys they are.

use claimstore::Error;
use claimstore_testing::{Run, crash_points};
use std::sync::atomic::{AtomicU32, Ordering};

#[test]
fn debug_texts_show_no_key() {
    let shown = AtomicU32::new(0);
    let verdict = crash_points(|run: &Run| -> Result<(), Error> {
        run.effects().run("canary-7f3a91", "pay", || ());
        assert!(!format!("{run:?} {:?}", run.effects()).contains("canary"));
        shown.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    let verdict = verdict.unwrap();
    assert!(shown.into_inner() > 0);
    let text = format!("{verdict:?} {:?}", verdict.findings());
    assert!(!text.contains("canary") && text.contains("Twice"), "{text}");
    assert!(verdict.to_string().contains("canary-7f3a91"));
}
