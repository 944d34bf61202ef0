#!/usr/bin/env bash
# Plants each known bug in turn and runs the general layers until one of them catches it.
#
# usage: [CASES=N] scripts/planted.sh [bug ...]
#
# CASES sets how much the layers with seeds try at most. With bugs named, or with CONTROL=no, the control without a bug is left out.
# A bug that gets through all layers is hunted once more, with other seeds and twice the cases, before it counts as
# survived. Prints a table: which layer and test caught which bug, the seed and the cases it took, and the time.
# Ends with 1 if a bug survives, if a layer hangs and its watchdog does not say so, if a layer fails without a bug,
# or if a release build could hold one. Two bugs are hunted at a time, and a layer is ended when its first test has
# failed. What a failed layer said is kept in target/planted/said.
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-$PWD/target}"
export RUST_BACKTRACE=0 CARGO_TERM_COLOR=never PROPTEST_DISABLE_FAILURE_PERSISTENCE=1
# The same scripts in every run, and no time spent on making them small.
export PROPTEST_RNG_SEED="${PROPTEST_RNG_SEED:-1}" PROPTEST_MAX_SHRINK_ITERS=0
unset CLAIMSTORE_PLANTED CLAIMSTORE_SEED CLAIMSTORE_ROUNDS CLAIMSTORE_EVERY_K CLAIMSTORE_EVERY_BYTE CLAIMSTORE_OPS
at_once=2
images=20000
# How long a layer may take, in seconds, and how many times over the layers with seeds try.
limit=300
times=1
said=$target/planted/said
mkdir -p "$said"

# number: name: the layers most likely to see it. The others follow.
bugs=(
  "1:acknowledge before sync:crash"
  "2:Duplicate from an unsynced batch:lives"
  "3:check-then-act on the live table:small"
  "4:fold race:large"
  "5:lost wake-up of a follower:small"
  "6:token counter only in memory:model"
  "7:token reused after release:model"
  "8:torn tail not cut:crash"
  "9:mid-journal damage taken for a tail:damage"
  "10:no salt in a recycled segment:pure crash"
  "11:sync retried after an error:faults"
  "12:no cache drop before an unclean open:faults"
  "13:no directory sync at rotation:crash"
  "14:segment retired before the commit:crash"
  "15:replay not idempotent:model"
  "16:<= for < at expiry:model"
  "17:wall clock used for leases:model"
  "18:prune by creation instead of expiry:model"
  "19:namespace joined without length prefix:model"
  "20:filter that can hide a key:model"
  "21:run published after its keys left:large"
  "22:superseded lease allowed to complete:model"
  "23:batch shares a sector:crash"
  "24:refused settlement abandons the claim:small"
  "25:un-synced completion in a checkpoint:lives"
  "26:older version resurrected:model"
  "27:wall clock step ends every ttl:model"
  "28:replay over a newer transact record:model"
  "29:trailing bytes accepted:pure"
  "30:prune behind a look-up:model"
  "31:merge hides what it has not read:model"
  "32:import over a claim in progress:model"
  "33:list of a cached block that can hide a row:model"
  "40:claim of a running command renewed at its end:exec"
  "41:result of a command given up when the store is busy:exec"
  "42:run that a signal ended is no attempt:exec"
  "43:result waits for the end of the output:exec"
  "44:what is in the pipe at the end is dropped:storm"
  "45:width of a row not compared:command"
  "47:line end taken for half of it where the bytes in hand end:command"
  "48:completed before it is durable after a short write:command"
  "49:last line without its end:command"
  "50:child of fork() not noticed:fork"
  "51:read-only storage writes through:readonly"
  "52:no second lock:lost"
  "53:no look for LOCK:lost"
  "54:no look for the segment:lost"
  "55:quota of the file system told as Io:pure"
  "56:forget overrules a holder:decisions"
  "57:decision told before it is made:decisions"
  "58:decision about something else than was seen:decisions"
  "60:directories are not synced:real crash"
  "61:the parent of a new store is not synced:real crash"
  "62:short write not continued:real"
  "63:direct files are not synced:real crash"
  "64:future not asked again after it was parked:schedules"
  "65:bell silenced after the question:schedules"
  "66:interrupted call not made again:real"
  "67:reaper sleeps to the last due time:pace"
  "68:slow resolvers that came back stay counted:pace"
  "69:pages of recovery without a bound:pace"
  "70:rolled-back transact keeps its quota:model"
  "71:position done before its image is durable:streams"
  "72:renewal for less than is left does nothing:model"
  "73:claim taken over stays detached:model"
  "74:batch waited for is that of its last item:model crash"
  "75:forget overtaken by a checkpoint:midst"
  "76:single look-ups skip the filter:resources"
  "77:keys once waited for are kept:resources"
  "78:thread that spins:resources"
  "79:journal growth asks for no checkpoint:resources"
  "80:import forgets who decided:command pure"
  "81:import forgets attempts:command pure"
  "82:import remembers from now on:command pure"
  "83:loss counted as a failure:model"
  "84:end counted at a close and once more at the take-over:model"
  "85:counts lost in a checkpoint:model"
  "86:clean close taken for a death:model"
  "87:counts lost at a replay:model crash"
  "91:longer segment not synced before it is named:crash"
  "92:room for settlements that forgets how many:growth"
  "93:poisoned store forgets its file:faults"
  "94:settlement of any backend under the newest token:model"
  "96:crash behind an effect forgotten:handlers"
  "97:dead process goes on to its effects:handlers"
  "98:keep-alive renews past its ceiling:pure"
  "99:seal of a lease token not compared:pure model"
)
layers=(model midst pure real small large lives streams crash faults resources growth pace readonly decisions command exec storm lost fork schedules damage kill races handlers)

echo "planted: a release build must refuse them"
if RUSTFLAGS="--cfg planted" cargo check --quiet --release -p claimstore 2>"$said/release"; then
  echo "planted: a release build can hold a planted bug" >&2
  exit 1
fi
if ! grep -q "must not be a release build" "$said/release"; then
  cat "$said/release" >&2
  exit 1
fi

# Our own crates are built anew, with the bugs in; what they depend on is that of any other test build.
export RUSTC_WORKSPACE_WRAPPER=$PWD/scripts/rustc-planted
echo "planted: building"
packages=(-p claimstore-core -p claimstore -p claimstore-cli -p claimstore-testing -p claimstore-sim)
cargo test --quiet --no-run --message-format=json --lib --bins --tests "${packages[@]}" > "$said/built.json"
# The path of a test binary: its package, its kind of target and its name.
binary() {
  sed -n "/crates\/$1#.*\"kind\":\[\"$2\"\].*\"name\":\"$3\".*\"test\":true},\"features\"/s/.*\"executable\":\"\([^\"]*\)\".*/\1/p" \
    "$said/built.json"
}
core=$(binary claimstore-core lib claimstore_core)
pure=$(binary claimstore lib claimstore)
store=$(binary claimstore test it)
general=$(binary claimstore-sim test it)
fork=$(binary claimstore-sim test fork)
handlers=$(binary claimstore-testing test it)
command=$(binary claimstore-cli bin claimstore)
storm=$(binary claimstore-cli test it)
cargo test --quiet --no-run --message-format=json --manifest-path explored/Cargo.toml --target-dir "$target" -p claimstore-sim \
  > "$said/built.json"
explored=$(sed -n '/"name":"schedules".*"test":true},"features"/s/.*"executable":"\([^"]*\)".*/\1/p' "$said/built.json")
for built in "$core" "$pure" "$store" "$general" "$fork" "$handlers" "$command" "$storm" "$explored"; do [ -x "$built" ]; done

# How much a layer tries: CASES, or its own number, so many times over.
tries() {
  echo $((${CASES:-$1} * times))
}

# Runs one layer; answers how it ended. The tests know nothing of the bugs; only how much they try is chosen.
run() {
  local layer=$1
  case $layer in
    pure) (cd crates/claimstore-core && timeout "$limit" "$core") && (cd crates/claimstore && timeout "$limit" "$pure") ;;
    lost) (cd crates/claimstore && timeout "$limit" "$store" lost::) ;;
    fork) (cd crates/claimstore-sim && timeout "$limit" "$fork") ;;
    handlers) (cd crates/claimstore-testing && timeout "$limit" "$handlers") ;;
    exec) of_command CLAIMSTORE_CASES="$(tries 100)" -- exec:: ;;
    storm) (cd crates/claimstore-cli && CLAIMSTORE_EXEC_RUNS="$(tries 60)" timeout "$limit" "$storm" exec_storm::) ;;
    command) of_command CLAIMSTORE_FEED_RECORDS="$(tries 20000)" -- feed:: record:: batch:: transfer:: ;;
    schedules) CLAIMSTORE_SCHEDULES="$(tries 2000)" timeout "$limit" "$explored" ;;
    real) general CLAIMSTORE_PATIENCE=60 -- real_storage:: ;;
    readonly) general CLAIMSTORE_PATIENCE=60 -- read_only:: ;;
    decisions) general CLAIMSTORE_PATIENCE=60 -- decisions:: ;;
    model) general CLAIMSTORE_CASES="$(tries 2000)" -- state_machine:: ;;
    # Each history has a watchdog; one whose threads are not woken is given up.
    small) general CLAIMSTORE_PATIENCE=15 CLAIMSTORE_CASES="$(tries 300)" -- threads::small ;;
    large) general CLAIMSTORE_PATIENCE=30 CLAIMSTORE_HISTORIES="$(tries 20)" -- threads::large ;;
    lives) general CLAIMSTORE_PATIENCE=30 CLAIMSTORE_HISTORIES="$(tries 40)" -- threads::histories_with ;;
    crash) general CLAIMSTORE_IMAGES="$(tries "$images")" -- crash::no_crash ;;
    midst) general CLAIMSTORE_PATIENCE=30 CLAIMSTORE_MIDST="$(tries 300)" -- midst:: ;;
    streams) general CLAIMSTORE_PATIENCE=30 CLAIMSTORE_STREAM_HISTORIES="$(tries 80)" -- streams:: ;;
    pace) general CLAIMSTORE_PATIENCE=8 CLAIMSTORE_RECOVERY_PACES="$(tries 6)" -- recovery_pace:: ;;
    # Their watchdogs are to speak before the time of the layer is over.
    *) general CLAIMSTORE_PATIENCE=$((limit / 2)) -- "$layer::" ;;
  esac
}

# Runs tests of the command that filters name, under variables.
of_command() {
  local variables=()
  while [ "$1" != -- ]; do variables+=("$1"); shift; done
  shift
  (cd crates/claimstore-cli && exec env "${variables[@]}" timeout "$limit" "$command" "$@")
}

# Runs the general tests that a filter names, under variables.
general() {
  local variables=()
  while [ "$1" != -- ]; do variables+=("$1"); shift; done
  (cd crates/claimstore-sim && exec env "${variables[@]}" timeout "$limit" "$general" "$2" --nocapture)
}

# The test that failed, and what it said of seed and cases. Scripts come from `PROPTEST_RNG_SEED`.
witness() {
  local out=$1 layer=$2 test how cases seed
  test=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$out" | head -n 1)
  [ -n "$test" ] || test=$(sed -n 's/^\([a-z_:]*\)\(,.*\)\?: nothing came back.*/\1/p' "$out" | head -n 1)
  # It has a main of its own and no harness that names tests.
  [ "$layer" != fork ] || test=${test:-tests/fork.rs}
  case $layer in
    model | small)
      cases=$(sed -n 's/.*successes: \([0-9]*\)$/\1/p' "$out" | head -n 1)
      how="seed $PROPTEST_RNG_SEED, case $((${cases:-0} + 1))"
      ;;
    large | lives | midst | streams | pace)
      # Counted from the first seed, which is 1 unless another is set.
      seed=$(sed -n 's/.*CLAIMSTORE_SEED=\([0-9]*\).*/\1/p' "$out" | head -n 1)
      how=${seed:+seed $seed, history $((seed - ${CLAIMSTORE_SEED:-1} + 1))}
      ;;
    crash)
      cases=$(sed -n 's/^crash images: \([0-9]*\) distinct.*/\1/p' "$out" | head -n 1)
      how="$(grep -oE -- '--seed .*--variant [0-9]+' "$out" | head -n 1), within $cases images"
      ;;
    faults) how=$(grep -oE '^Point \{[^}]*\} \}' "$out" | head -n 1) ;;
    damage) how=$(grep -oE '(Flip|Cut|Remove|Swap) \{[^}]*\}' "$out" | head -n 1 | tr -d '\\') ;;
    *) how= ;;
  esac
  if grep -q 'nothing came back' "$out"; then how="$how; its watchdog spoke"; fi
  # Of directed tests, what they said.
  [ -n "$how" ] || how=$(grep -A1 'panicked at' "$out" | sed -n 2p | cut -c1-60 | tr -d '`|')
  echo "${test:-ENDED WITHOUT NAMING A TEST} | $how"
}

# Runs one layer until it is over or one of its tests has failed; answers how it ended.
until_a_failure() {
  local layer=$1 out=$2 ended=0 job
  : >"$out"
  run "$layer" >"$out" 2>&1 &
  job=$!
  while kill -0 "$job" 2>/dev/null; do
    if grep -q '^test .* \.\.\. FAILED$' "$out"; then
      # The process that was started, and what it waits for: the tests that go on.
      pkill -P "$job" 2>/dev/null || true
      kill "$job" 2>/dev/null || true
      wait "$job" 2>/dev/null || true
      return 101
    fi
    sleep 0.2
  done
  wait "$job" || ended=$?
  return "$ended"
}

# Hunts one bug; its row of the table goes to $said/$number.row. Runs in a shell of its own: the seeds it sets are its.
hunt() {
  local number=$1 name=$2 likely=$3 out=$said/$1.txt began=$SECONDS layer row='- | SURVIVED | -' ended chance
  for chance in first second; do
    if [ "$chance" = second ]; then
      # Not every schedule and every script meets every bug.
      times=2 limit=600
      export CLAIMSTORE_SEED=1000001 PROPTEST_RNG_SEED=$((PROPTEST_RNG_SEED + 1))
    fi
    for layer in $likely $(tr ' ' '\n' <<<"${layers[*]}" | grep -vwF "$(tr ' ' '\n' <<<"$likely")"); do
      ended=0
      CLAIMSTORE_PLANTED=$number until_a_failure "$layer" "$out" || ended=$?
      case $ended in
        0) continue ;;
        124) row="$layer | HUNG, and no watchdog said so | $(tail -n 1 "$out" | cut -c1-60)" ;;
        *) row="$layer | $(witness "$out" "$layer")" ;;
      esac
      break 2
    done
  done
  echo "$number | $name | $row | $((SECONDS - began)) s" | tee "$said/$number.row"
}

# Lets two jobs run at a time.
await_turn() {
  while [ "$(jobs -rp | wc -l)" -ge "$at_once" ]; do wait -n || true; done
}

without_a_bug() {
  # The build without these guards has been through all of them in full: here it is only whether a guard does harm.
  local layer=$1 ended=0 images=2000 limit=600 CASES=${CASES:-}
  case $layer in
    model) CASES=${CASES:-300} ;;
    small | midst) CASES=${CASES:-40} ;;
    large | pace) CASES=${CASES:-2} ;;
    lives | streams) CASES=${CASES:-8} ;;
  esac
  run "$layer" >"$said/$layer.txt" 2>&1 || ended=$?
  if [ "$ended" -ne 0 ]; then
    tail -n 40 "$said/$layer.txt" >&2
    echo "planted: $layer fails without a bug ($ended)" >&2
    touch "$said/failed"
  fi
}

rm -f "$said"/*.row "$said/failed"
if [ $# -eq 0 ] && [ "${CONTROL:-yes}" = yes ]; then
  echo "planted: without a bug no layer may fail (at $SECONDS s)"
  for layer in "${layers[@]}"; do
    await_turn
    without_a_bug "$layer" &
  done
  wait
  [ ! -e "$said/failed" ]
fi

echo "planted: hunting (at $SECONDS s)"
echo "bug | name | layer | test | seed and cases | time"
tried=0
for bug in "${bugs[@]}"; do
  IFS=: read -r number name likely <<<"$bug"
  if [ $# -gt 0 ] && ! grep -qw -- "$number" <<<"$*"; then continue; fi
  tried=$((tried + 1))
  await_turn
  hunt "$number" "$name" "$likely" &
done
wait
caught=$(cat "$said"/*.row | grep -vcE 'SURVIVED|HUNG|ENDED WITHOUT' || true)
echo "planted: $caught of $tried caught, in $SECONDS s"
[ "$caught" -eq "$tried" ]
