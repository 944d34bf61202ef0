#!/usr/bin/env bash
# Plants each known bug in turn and runs the general layers until one of them catches it.
#
# usage: scripts/planted.sh [bug ...]
#
# Prints a table: which test caught which bug, how (the seed, or the line that says what was wrong), and after
# how long. Ends with 1 if a bug survives, if a layer fails without a bug, or if a release build could hold one.
# A test that hangs counts as failed: `timeout` ends it, and the watchdogs of the tests name it.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/planted"
export RUST_BACKTRACE=0 PROPTEST_DISABLE_FAILURE_PERSISTENCE=1
unset CLAIMSTORE_PLANTED

# number: name, then the layers most likely to see it; the others follow.
bugs=(
  "1:acknowledge before sync:threads crash"
  "2:Duplicate from an unsynced batch:threads"
  "3:check-then-act on the live table:races threads"
  "4:fold race:races threads"
  "5:lost wake-up of a follower:races threads"
  "6:token counter only in memory:model"
  "7:token reused after release:model"
  "8:torn tail not cut:crash threads"
  "9:mid-journal damage taken for a tail:pure damage"
  "10:no salt in a recycled segment:pure crash"
  "11:sync retried after an error:faults threads"
  "12:no cache drop before an unclean open:faults"
  "13:no directory sync at rotation:crash threads"
  "14:segment retired before the commit:crash threads"
  "15:replay not idempotent:model"
  "16:<= for < at expiry:model"
  "17:wall clock used for leases:model"
  "18:prune by creation instead of expiry:model"
  "19:namespace joined without length prefix:model"
  "20:filter that can hide a key:model"
  "21:run published after its keys left:races threads"
  "22:superseded lease allowed to complete:model"
  "23:batch shares a sector:crash"
  "24:refused settlement abandons the claim:model threads"
  "25:un-synced completion in a checkpoint:threads crash"
  "26:older version resurrected:model"
  "27:wall clock step ends every ttl:model"
  "28:replay over a newer transact record:model"
  "29:trailing bytes accepted:pure damage"
  "30:prune behind a look-up:races model"
  "31:merge hides what it has not read:model threads"
)
layers=(model pure threads races crash faults damage kill)

echo "planted: a release build must refuse them"
if RUSTFLAGS="--cfg planted" cargo check --quiet --release -p claimstore 2>/dev/null; then
  echo "planted: a release build can hold a planted bug" >&2
  exit 1
fi

export RUSTFLAGS="--cfg planted"
# The path of the test binary of a package's target.
binary() {
  cargo test --quiet --no-run --message-format=json "$@" \
    | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1
}
pure=$(binary -p claimstore --lib)
general=$(binary -p claimstore-sim --test it)
[ -x "$pure" ] && [ -x "$general" ]
present=$("$general" --list --format terse | sed -n 's/^\([a-z_]*\)::.*/\1/p' | sort -u)

# Runs one layer; its output goes to $1. Answers how it ended.
run() {
  local out=$1 layer=$2
  case $layer in
    pure) (cd crates/claimstore && timeout 300 "$pure" >"$out" 2>&1) ;;
    model) (cd crates/claimstore-sim && CLAIMSTORE_CASES=1000 timeout 300 "$general" state_machine:: >"$out" 2>&1) ;;
    *) (cd crates/claimstore-sim && timeout 300 "$general" "$layer::" >"$out" 2>&1) ;;
  esac
}

has() {
  case $1 in
    pure) true ;;
    model) grep -qx state_machine <<<"$present" ;;
    *) grep -qx "$1" <<<"$present" ;;
  esac
}

# What a failed run says: the test, and its seed or its own words.
witness() {
  local test what
  test=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$1" | head -n 1)
  [ -n "$test" ] || test=$(sed -n "s/^thread '\([^']*::[^']*\)' .*/\1/p" "$1" | head -n 1)
  what=$(grep -oE 'CLAIMSTORE_SEED=[0-9]+|[Ss]eed:? ?[0-9]+|round [0-9]+|successes: [0-9]+' "$1" | head -n 1 || true)
  [ -n "$what" ] || what=$(grep -A1 -E 'panicked at' "$1" | sed -n 2p | cut -c1-60)
  echo "${test:-no test finished} | ${what:-timed out}"
}

out=$(mktemp)
trap 'rm -f "$out"' EXIT
if [ $# -eq 0 ]; then
  for layer in "${layers[@]}"; do
    if has "$layer" && ! run "$out" "$layer"; then
      tail -n 40 "$out" >&2
      echo "planted: $layer fails without a bug" >&2
      exit 1
    fi
  done
fi

caught=0 tried=0
echo "bug | name | caught by | seed, cases or words | seconds"
for bug in "${bugs[@]}"; do
  IFS=: read -r number name likely <<<"$bug"
  if [ $# -gt 0 ] && ! grep -qw "$number" <<<"$*"; then continue; fi
  tried=$((tried + 1))
  began=$SECONDS by=survived
  for layer in $likely "${layers[@]}"; do
    has "$layer" || continue
    if ! CLAIMSTORE_PLANTED=$number run "$out" "$layer"; then
      by=$(witness "$out")
      caught=$((caught + 1))
      break
    fi
  done
  echo "$number | $name | $by | $((SECONDS - began))"
done
echo "planted: $caught of $tried caught"
[ "$caught" -eq "$tried" ]
