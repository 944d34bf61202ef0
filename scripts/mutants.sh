#!/usr/bin/env bash
# Changes the pure modules of claimstore and claimstore-core in one place at a time, and names the changes that no test notices.
#
# usage: [ONLY=REGEX] [AGAIN=1] scripts/mutants.sh [argument of cargo-mutants ...]
#
# Needs cargo-mutants; 27.1 is what it was written with. Each change (a mutant) is built and meets the quick unit tests
# of these modules, each crate's own. What they let pass meets the slow ones too, and the integration tests of claimstore. Works in a copy of
# the tree. ONLY tries mutants whose name (file, place, change, function) fits; AGAIN=1 only what the run before has not
# caught: for after a test was written. Arguments go to both passes: `--in-place` works without a copy. Ends with 2 if a
# mutant survives. Which ones did is in target/mutants/mutants.out/missed.txt, with what was tried and said beside it.
set -euo pipefail
cd "$(dirname "$0")/.."
out=target/mutants
found=$out/mutants.out
mkdir -p "$out"
# A build takes longer than the tests: not optimised, and no debug information.
export CARGO_PROFILE_TEST_OPT_LEVEL=0 CARGO_PROFILE_TEST_DEBUG=0 CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=1
# The same inputs in every run, and no time spent on making them small.
export PROPTEST_RNG_SEED=1 PROPTEST_MAX_SHRINK_ITERS=0 PROPTEST_DISABLE_FAILURE_PERSISTENCE=1

# Decisions, live table, store time, lapses; journal scan and frames; recovery and merge plans, buckets; codec. And of two
# larger files, the arithmetic of back-offs and of lease terms.
files=()
for file in engine/{live,entry,spread,dense,places,balance,time,lapses,watching,settle} journal/{scan,frame} recovery/plan bucket/{plan,id} codec/checksum; do
  files+=(-f "crates/claimstore/src/$file.rs")
done
for file in decide codec/{cursor,numbers,raw,record,extra} policy/{rules,codec}; do
  files+=(-f "crates/claimstore-core/src/$file.rs")
done
in_whole='/(decide|live|entry|spread|time|lapses|watching|scan|frame|plan|id|cursor|numbers|raw|record|extra|checksum)\.rs'
chosen=(--re "${ONLY:-$in_whole|Backoff|orphan_wait_ms|Engine::(renew|detach)}")
chosen+=(--exclude-re 'impl std::fmt::(Debug|Display)')

# cargo-mutants ends with 2 for a survivor and with 3 for a test that did not end.
mutants() {
  cargo mutants -p claimstore -p claimstore-core -o "$out" --no-shuffle "${files[@]}" "${chosen[@]}" -C=--lib "$@"
}

again=()
[[ -z ${AGAIN:-} ]] || again=(--iterate)
PROPTEST_CASES=32 mutants "${again[@]}" --timeout 30 "$@" -- -- \
  engine::{live,dense,places,balance,time,lapses} journal:: recovery:: bucket::{plan,id} decide:: codec:: policy:: \
  --skip journal::tests::history --skip every_flipped_byte --skip every_shorter && exit || code=$?
((code == 2 || code == 3)) || exit "$code"
# A test that does not end has noticed.
cat "$found/timeout.txt" >> "$found/caught.txt"
mutants --iterate --timeout 900 --test-package=claimstore --test-package=claimstore-core "$@" -C=--test=it -- -- --skip=bucket::{run,tables,catalog,backend}::
