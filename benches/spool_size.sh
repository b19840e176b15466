#!/bin/bash
# That a large spool costs no more than a small one: start-up, `baton spool list` and `purge` with 10 MiB and with 1 GiB.
#
#     cargo build --release && benches/spool_size.sh
#
# Needs socat. BATON names the binary, TMPDIR the disk.
set -euo pipefail
cd "$(dirname "$0")/.."
baton=${BATON:-$PWD/target/release/baton}
in=29751 sink=29752
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
seq -f 'servers.web01.cpu0.%07.0f 1 1790000000' 262144 > "$folder/lines" # 10 MiB
cat > "$folder/baton.toml" <<END
[supervisor]
control = "unix:control.sock"
[listen]
line = ["tcp://127.0.0.1:$in"]
[log]
level = "error"
[instrumentation]
interval = "0s"
[[route]]
key = "all"
destinations = ["127.0.0.1:$sink id=d"]
END
wait_for() { until eval "$1"; do sleep 0.002; done; }
listens() { ss -Hltn "sport = :$1" | grep -q .; }
number() {
    "$baton" status --json --control "$folder/control.sock" | grep -o "\"$1\": *[0-9]*" | head -1 | grep -o '[0-9]*$'
}
ms() { # COMMAND...: how long it takes
    local began=$EPOCHREALTIME
    "$@" > /dev/null
    awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN {printf "%.0f ms", (b - a) * 1000}'
}
start() {
    "$baton" run --config "$folder/baton.toml" & pid=$!
    wait_for "listens $in"
    wait_for "\"$baton\" status --control \"$folder/control.sock\" 2>/dev/null | grep -q 'generation 1'"
}
for times in 1 100; do
    start
    (for ((i = 0; i < times; i++)); do cat "$folder/lines"; done) | socat -u -b262144 - "TCP:127.0.0.1:$in"
    wait_for "(( \$(number given) == $((262144 * times)) ))"
    kill $pid && wait $pid || true
    began=$(ms start) # its worker serves
    pid=$(pgrep -f "run --config $folder/baton.toml" | head -1)
    wait_for "(( \$(number spooled) == $((262144 * times)) ))"
    echo "$((10 * times)) MiB: start $began," \
        "list $(ms "$baton" spool list --config "$folder/baton.toml")," \
        "purge $(ms "$baton" spool purge d --yes --config "$folder/baton.toml")"
    kill "$pid"
    wait_for "! kill -0 $pid 2>/dev/null"
    rm -f "$folder"/baton.db*
done
