#!/usr/bin/env bash
# Stores on real file systems that fill up, go away, turn read-only or cannot write: what the simulated disk stands
# for, once with the kernel itself.
#
# usage: [CYCLES=N] scripts/real-kernel.sh
#
# Needs root for everything but `ulimit -f`, and says SKIPPED for each part that cannot run here. Mounts live in a
# namespace of their own and are gone when the script ends; images lie in memory, on tmpfs. XFS needs xfsprogs, the
# shutdown of a file system python3. Prints a line for each part and ends with 1 if something acknowledged was lost,
# if an error was not honest, or if a child did not come to an end.
set -euo pipefail
cd "$(dirname "$0")/.."
cycles=${CYCLES:-6}
program=${CARGO_TARGET_DIR:-$PWD/target}/debug/real_kernel
# How long one part may take before it counts as hanging.
patience=$((120 + 20 * cycles))

skipped() {
    printf 'SKIPPED: %s: %s\n' "$1" "$2"
}

part() {
    local name=$1
    shift
    printf '%s: ' "$name"
    timeout -s KILL "$patience" "$program" "$@"
}

limited_files() {
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    # Once as shells have it: the process dies at the limit. Once with the signal ignored: writes fail with EFBIG.
    for signal in ":" "trap '' XFSZ"; do
        part "ulimit -f ($signal)" cycles "$dir/$((${#signal}))" --cycles "$cycles" \
            --under "$signal"$'\n''ulimit -f $((2500 + 100 * CYCLE))'
    done
}

if [ "${1-}" != inside ]; then
    # The profile of the tests, whose files are there already after `cargo test`.
    cargo build --quiet --profile test -p claimstore-sim --bins
    limited_files
    if [ "$(id -u)" -ne 0 ]; then
        skipped "full disks, read-only, shutdown, failing syncs" "mounting needs root"
    elif ! unshare --mount --pid --fork --mount-proc true 2> /dev/null; then
        skipped "full disks, read-only, shutdown, failing syncs" "no namespace for the mounts"
    else
        # Whatever happens, no mount and no child outlives this.
        unshare --mount --propagation private --pid --fork --kill-child --mount-proc "$0" inside
    fi
    exit
fi

work=$(mktemp -d)
trap 'cd / && umount -R "$work" 2> /dev/null; rm -rf "$work"' EXIT
mount -t tmpfs -o size=2g tmpfs "$work"
mkdir "$work/disk" "$work/small" "$work/thin"
disk=$work/disk

mount -t tmpfs -o size=12m tmpfs "$work/small"
part "full tmpfs" full "$work/small"
umount "$work/small"

# A sparse image with a file system of its own; answers false if that cannot be had here.
make_image() {
    local kind=$1 image=$2 size=$3
    command -v "mkfs.$kind" > /dev/null || { skipped "$kind" "mkfs.$kind is not installed"; return 1; }
    rm -f "$image"
    truncate -s "$size" "$image"
    case $kind in
        ext4) mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$image" ;;
        xfs) mkfs.xfs -q "$image" ;;
    esac
    if ! mount -o loop "$image" "$disk" 2> /dev/null; then
        skipped "$kind" "no loop device, or the kernel does not know $kind"
        return 1
    fi
}

# FS_IOC_SHUTDOWN: 0 writes everything first, 1 writes the log, 2 writes nothing.
shut_down='python3 -c "
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack(\"I\", int(sys.argv[2])))
"'

for kind in ext4 xfs; do
    image=$work/$kind.img
    again="umount '$disk' && mount -o loop '$image' '$disk'"

    make_image $kind "$image" 320m || continue
    part "kill -9 and read-only remount, $kind" cycles "$disk/store" --cycles "$cycles" --lines 3000 \
        --fault 'kill -9 $CHILD' --relief "mount -o remount,ro '$disk'" --mend "mount -o remount,rw '$disk'"
    if command -v python3 > /dev/null; then
        part "shutdown, $kind" cycles "$disk/shut" --cycles $((3 * cycles)) --lines 3000 \
            --fault "$shut_down '$disk' \$((CYCLE % 3))" --mend "$again"
    else
        skipped "shutdown, $kind" "python3 is not installed"
    fi
    if [ $kind = ext4 ]; then
        part "abort: read-only under a running store, ext4" cycles "$disk/abort" --cycles "$cycles" --lines 3000 \
            --fault "mount -o remount,abort '$disk'" --mend "$again"
    fi
    umount "$disk"

    # Syncs fail: the image lies on a tmpfs that has less room than the image says. Writes go to the device page by
    # page: a loop device says that all is well when only the first part of a larger one found room, and against
    # a disk that lies there is no remedy (L6). Stores then answer Corrupt.
    mount -t tmpfs -o size=1g tmpfs "$work/thin"
    image=$work/thin/image
    room="size=\$((\$(df --output=used -k '$work/thin' | tail -n 1) + 1200))k"
    whole="echo 4 > /sys/block/\$(basename \$(findmnt -no SOURCE '$disk'))/queue/max_sectors_kb"
    make_image $kind "$image" 320m && sh -ec "$whole"
    part "failed syncs on a thin image, $kind" cycles "$disk/store" --cycles "$cycles" \
        --under "sync -f '$disk'; mount -o remount,$room '$work/thin'" \
        --relief "mount -o remount,size=1g '$work/thin'" \
        --mend "umount '$disk' && mount -o loop '$image' '$disk' && $whole"
    umount "$disk"
    # Until the loop device has let go of the image.
    for _ in {1..100}; do
        umount "$work/thin" 2> /dev/null && break
        sleep 0.1
    done
done

if make_image ext4 "$work/full.img" 24m; then
    part "full ext4" full "$disk"
fi
