#!/bin/bash
# Into the spool and out of it: how many 40-byte lines a second, and the CPU they cost.
#
#     cargo build --release && benches/spool.sh [MILLION_LINES]
#
# A destination is down while the lines come in (default: 180 million, a minute at 3 million a second), then it is there
# and takes all of them. Prints lines a second and CPU seconds (user + system, of the worker) per million lines of both.
# Needs socat, two cores, and about 50 bytes of disk a line. BATON names the binary, SOURCES the number of connections, TMPDIR the disk.
set -euo pipefail
cd "$(dirname "$0")/.."
million=${1:-180} sources=${SOURCES:-4}
baton=${BATON:-$PWD/target/release/baton}
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
in=29741 sink=29742 http=29743

cat > "$folder/baton.toml" <<END
[supervisor]
control = "unix:control.sock"
[listen]
line = ["tcp://127.0.0.1:$in"]
http = ["tcp://127.0.0.1:$http"]
[state]
max_size = "1TiB"
[log]
level = "warn"
[instrumentation]
interval = "0s"
[[route]]
key = "all"
destinations = ["127.0.0.1:$sink id=d spool_max=1TiB reconnect=1s"]
END
# Each connection sends one file of a million lines again and again.
seq -f 'servers.web01.cpu0.%07.0f 1 1790000000' 1000000 > "$folder/lines"
repeat=$((million / sources))
total=$((repeat * sources * 1000000))

wait_for() { until eval "$1"; do sleep 0.05; done; }
listens() { ss -Hltn "sport = :$1" | grep -q .; }
cpu_of() { awk '{print ($14 + $15) / 100}' "/proc/$1/stat"; }
number() { # a field of the destination
    "$baton" status --json --control "$folder/control.sock" |
        grep -o "\"$1\": *[0-9]*" | head -1 | grep -o '[0-9]*$'
}
now() { date +%s.%N; }
report() { # WHAT SECONDS CPU
    awk -v n="$total" -v s="$2" -v c="$3" -v w="$1" \
        'BEGIN {printf "%-10s %5.2f million lines/s, %.3f s of CPU per million lines (%.0f s)\n", w, n / s / 1e6, c * 1e6 / n, s}'
}

"$baton" run --config "$folder/baton.toml" & supervisor=$!
wait_for "listens $in"
worker=$(cat "/proc/$supervisor/task/$supervisor/children")
worker=${worker// /}

began=$(now) cpu=$(cpu_of "$worker") senders=()
for ((i = 0; i < sources; i++)); do
    (for ((r = 0; r < repeat; r++)); do cat "$folder/lines"; done) | socat -u -b262144 - "TCP:127.0.0.1:$in" & senders+=($!)
done
wait "${senders[@]}"
wait_for "(( \$(number given) == $total ))"
report "in:" "$(awk -v a="$began" -v b="$(now)" 'BEGIN {print b - a}')" "$(awk -v a="$cpu" -v b="$(cpu_of "$worker")" 'BEGIN {print b - a}')"
grep -h VmHWM "/proc/$worker/status" | awk '{printf "memory     %.0f MiB at most\n", $2 / 1024}'
ls -l "$folder/baton.db" | awk -v n="$total" '{printf "file       %.1f bytes a line\n", $5 / n}'

sleep 2
began=$(now) cpu=$(cpu_of "$worker")
socat -u -b262144 "TCP-LISTEN:$sink,fork,reuseaddr" "OPEN:/dev/null" & sink_pid=$!
wait_for "(( \$(number acknowledged) == $total ))"
report "out:" "$(awk -v a="$began" -v b="$(now)" 'BEGIN {print b - a}')" "$(awk -v a="$cpu" -v b="$(cpu_of "$worker")" 'BEGIN {print b - a}')"
kill $supervisor $sink_pid
wait $supervisor || true
