#!/usr/bin/env bash
# What is too long for every change: the layers of .ci/run with larger numbers.
#
# usage: scripts/long-run.sh [--list] [LAYER ..]
#
# FACTOR=N multiplies all counts (1: about half an hour on 2 cores). What each layer said is kept in target/long-run/LAYER.txt, and one line
# for each in target/long-run/summary.txt, beside the commit. How far runs have been taken is in docs/reliability.md.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never RUST_BACKTRACE=0
factor="${FACTOR:-1}"
export CLAIMSTORE_RECOVERY_CASES=$((4000 * factor))
kept="${CARGO_TARGET_DIR:-target}/long-run"
mkdir -p "$kept"

# Layer, how many, in which variable, and what .ci/run calls it.
layers=(
    "composite 1000000 CLAIMSTORE_PAIRS composite"
    "feed 1000000 CLAIMSTORE_FEED_RECORDS feed"
    "model 10000 CLAIMSTORE_CASES model"
    "crash 150000 CLAIMSTORE_IMAGES crash"
    "faults - CLAIMSTORE_EVERY_K=1 faults"
    "kill 100 CLAIMSTORE_KILLS kill"
    "exec 200 CLAIMSTORE_EXEC_RUNS exec"
    "threads 200 CLAIMSTORE_HISTORIES threads"
    "damage - CLAIMSTORE_EVERY_BYTE=3 damage"
    "streams 20 CLAIMSTORE_STREAMS streams"
    "fingerprints 20 CLAIMSTORE_STREAMS fingerprints"
    "backups 60 CLAIMSTORE_BACKUPS backups"
    "recovery 40000 CLAIMSTORE_RECOVERY_IMAGES recovery"
    "invoices 200 INVOICE_KILLS invoices"
    "schedules 20000 CLAIMSTORE_SCHEDULES schedules"
    "real-kernel 6 CYCLES real-kernel"
    "planted - CONTROL=yes planted"
    "fuzz 60 FUZZ_SECONDS fuzz"
)

if [ "${1:-}" = --list ]; then
    printf '%s\n' "${layers[@]}" | while read -r name count variable _; do
        if [ "$count" = - ]; then echo "$name: $variable"; else echo "$name: $variable=$((count * factor))"; fi
    done
    exit
fi

commit=$(git rev-parse --short HEAD)
git diff --quiet HEAD || commit="$commit and changes"
failed=0
wanted=" $* "
for layer in "${layers[@]}"; do
    read -r name count variable called <<< "$layer"
    if [ $# -gt 0 ] && [[ "$wanted" != *" $name "* ]]; then continue; fi
    setting=$variable
    if [ "$count" != - ]; then setting="$variable=$((count * factor))"; fi
    began=$SECONDS ended=passed
    env "$setting" .ci/run "$called" > "$kept/$name.txt" 2>&1 || { ended=FAILED failed=1; }
    printf '%s | %s | %s | %s | %d s\n' "$name" "$setting" "$commit" "$ended" "$((SECONDS - began))" | tee -a "$kept/summary.txt"
    grep -hE '^\.*(crash images|io errors|kill|threads|crashes|model|damage|streams|fingerprint key|backups|imports|recovery|schedules|composite keys|feed|exec|failing recoveries|[0-9]+ kills|[a-z_]+: stat::)' \
        "$kept/$name.txt" | sed 's/^/    /' | tee -a "$kept/summary.txt" || true
done
exit "$failed"
