//! P18: no key, payload or fingerprint in anything that is shown.

use crate::common::{Bed, DAY, HOUR, claimed, done_with, duplicate, in_progress};
use claimstore::{
    Claim, ClaimRequest, Error, Failure, Filter, Fingerprint, LeaseToken, Policy, Store, TimeOrdered,
};
use std::fmt::Debug;

const CANARY: &str = "canary-7f3a91";

/// Everything that was ever shown.
#[derive(Default)]
struct Shown(String);

impl Shown {
    fn debug(&mut self, value: &impl Debug) {
        use std::fmt::Write;
        write!(self.0, "{value:?}\n{value:#?}\n").unwrap();
    }

    fn error(&mut self, error: &impl std::error::Error) {
        use std::fmt::Write;
        self.debug(error);
        writeln!(self.0, "{error}").unwrap();
        let mut source = error.source();
        while let Some(inner) = source {
            write!(self.0, "{inner}\n{inner:?}\n").unwrap();
            source = inner.source();
        }
    }

    /// As text, in hexadecimal, as a list of numbers.
    #[track_caller]
    fn check(&self) {
        let hex = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        let list = CANARY.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
        for form in [CANARY, &hex, &hex.to_uppercase(), &list] {
            assert!(!self.0.contains(form), "{form}");
        }
        assert!(self.0.len() > 5_000, "something was shown");
    }
}

fn canary(part: &str) -> String {
    format!("{part}-{CANARY}")
}

#[test]
fn p18_keys_and_payloads_are_never_shown() {
    let bed = Bed::disk();
    let mut shown = Shown::default();
    let options = bed.options();
    shown.debug(&options);
    let store = bed.open();
    let ns = store.namespace_with(&canary("namespace"), Policy::daily()).unwrap();
    let mut digest = [0; 32];
    digest[..CANARY.len()].copy_from_slice(CANARY.as_bytes());
    let full = |key: &str| {
        ClaimRequest::new(canary(key))
            .ttl(DAY)
            .origin(canary("origin"))
            .fingerprint(Fingerprint::from(digest))
    };
    let request = full("key");
    shown.debug(&request);
    shown.debug(&Fingerprint::from(digest));
    shown.debug(&store);
    shown.debug(&ns);
    let mut lease = claimed(ns.claim_with(&request));
    lease.save_progress(canary("progress")).unwrap();
    shown.debug(&lease);
    shown.debug(&in_progress(ns.claim_with(&request)));
    shown.debug(&ns.get(canary("key")).unwrap());
    shown.error(&ns.claim_with(&full("key").fingerprint([9; 32])).unwrap_err());
    let refused = lease.complete(canary("response").repeat(100_000)).unwrap_err();
    shown.error(&refused);
    let token = refused.into_parts().1.unwrap().into_token();
    shown.debug(&token);
    let lease = store.resume(token).unwrap();
    let token = lease.detach(HOUR).unwrap();
    let lease = store.resume(token.clone()).unwrap();
    shown.error(&store.resume(token).unwrap_err());
    shown.debug(&Failure::terminal(canary("failure")));
    shown.debug(&Failure::park(canary("note")));
    lease.complete(canary("response")).unwrap();
    let receipt = duplicate(ns.claim_with(&request));
    shown.debug(&receipt);
    shown.debug(&Claim::Duplicate(receipt));
    claimed(ns.claim_with(&full("parked"))).fail(Failure::park(canary("note"))).unwrap();
    shown.error(&ns.claim_with(&full("parked")).unwrap_err());
    let once = ns.once(canary("once"), DAY, |lease| {
        shown.debug(lease);
        Ok::<_, Error>(canary("response").into_bytes())
    });
    drop(once.unwrap());
    let posted = ns.transact(&full("transact"), |tx| {
        let mut table = tx.table(&canary("table"))?;
        table.insert(canary("row"), canary("value"))?;
        shown.debug(tx);
        shown.debug(&table);
        shown.error(&tx.table(&canary("table")).unwrap_err());
        shown.debug(&table.range(..));
        Err(Error::caller(canary("business error")))
    });
    let error = posted.unwrap_err();
    shown.debug(&error);
    assert!(!error.to_string().contains(CANARY));
    ns.transact(&full("transact"), |tx| {
        tx.table(&canary("table"))?.insert(canary("row"), canary("value"))?;
        Ok(canary("response").into_bytes())
    })
    .map(drop)
    .unwrap();
    let table = store.table(&canary("table")).unwrap();
    shown.debug(&table);
    shown.debug(&table.range(..).unwrap());
    let filter = Filter::new().namespace(&canary("namespace")).prefix(canary("key"));
    shown.debug(&filter);
    let mut scan = store.scan(filter);
    shown.debug(&scan.next());
    shown.debug(&scan);
    shown.debug(&store.claim_async(&request));
    shown.debug(&store.claim_many_async(std::slice::from_ref(&request)));
    shown.debug(&store.claim_or_wait_async(&request, HOUR));
    shown.debug(&store.get_async(canary("key")));
    shown.debug(&store.namespace_async(&canary("namespace")));
    shown.debug(&claimed(ns.claim_with(&full("a"))).complete_async(canary("response")));
    shown.debug(&claimed(ns.claim_with(&full("b"))).detach_async(HOUR));
    shown.debug(
        &store.complete_many_async(vec![(claimed(ns.claim_with(&full("c"))), canary("r").into_bytes())]),
    );
    let other = Bed::memory().open();
    let foreign = vec![(claimed(other.claim_with(&full("d"))), canary("r").into_bytes())];
    shown.error(&store.complete_many(foreign).unwrap_err());
    let uuids = Policy::new().time_ordered_keys(TimeOrdered::UuidV7);
    shown.error(&store.namespace_with(&canary("namespace"), uuids.clone()).unwrap_err());
    shown
        .error(&store.namespace_with(&canary("u"), uuids).unwrap().claim_default(canary("key")).unwrap_err());
    shown.error(&LeaseToken::from_bytes(CANARY.as_bytes()).unwrap_err());
    shown.debug(&store.stats().unwrap());
    shown.debug(&store.verify().unwrap());
    shown.debug(&store.prune().unwrap());
    store.checkpoint().unwrap();
    shown.error(&Store::open(bed.path()).unwrap_err());
    done_with(store);
    done_with(other);
    shown.error(&ns.claim_with(&request).unwrap_err());
    check_file_names(bed.path());
    shown.check();
}

fn check_file_names(dir: &std::path::Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        assert!(!entry.file_name().to_string_lossy().contains("canary"));
        if entry.path().is_dir() {
            check_file_names(&entry.path());
        }
    }
}
