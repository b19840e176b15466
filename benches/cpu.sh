#!/bin/bash
# CPU seconds per million 40-byte lines: Baton (one route, validation on) against socat copying the same bytes to the
# same sink, in turn, over loopback. Prints each round and the medians' ratio.
#
#     cargo build --release && benches/cpu.sh [ROUNDS] [MILLION_LINES]
#
# Needs socat and two cores. BATON names the binary, SOURCES the number of connections.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5} million=${2:-10} sources=${SOURCES:-4}
baton=${BATON:-$PWD/target/release/baton}
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
in=29731 sink=29732

cat > "$folder/baton.toml" <<END
[supervisor]
control = "unix:control.sock"
[listen]
line = ["tcp://127.0.0.1:$in"]
[log]
level = "warn"
[instrumentation]
interval = "0s"
[[route]]
key = "all"
destinations = ["127.0.0.1:$sink full=block"] # the sink is slower: what it can't take must not go to the disk here
END
seq -f 'servers.web01.cpu0.%07.0f 1 1790000000' $((million * 1000000 / sources)) > "$folder/lines"
bytes=$(($(stat -c %s "$folder/lines") * sources))

# The sink counts bytes and throws them away.
wait_for() { until eval "$1"; do sleep 0.02; done; }
listens() { ss -Hltn "sport = :$1" | grep -q .; }
# user + system time of a process and its children, in seconds
cpu_of() { awk '{print ($14 + $15 + $16 + $17) / 100}' "/proc/$1/stat"; }

round() { # NAME PID... after the load: waits until the sink has all
    local senders=() i
    for ((i = 0; i < sources; i++)); do
        socat -u -b262144 "OPEN:$folder/lines" "TCP:127.0.0.1:$in" & senders+=($!)
    done
    wait "${senders[@]}"
    wait_for "(( \$(stat -c %s '$folder/sink') >= $bytes ))"
}

for ((r = 1; r <= rounds; r++)); do
    for what in socat baton; do
        : > "$folder/sink"
        socat -u -b262144 "TCP-LISTEN:$sink,fork,reuseaddr" "OPEN:$folder/sink,append" & sink_pid=$!
        wait_for "listens $sink"
        if [[ $what == socat ]]; then
            socat -b262144 "TCP-LISTEN:$in,fork,reuseaddr" "TCP:127.0.0.1:$sink" & relay=$!
            wait_for "listens $in"
            round
            sleep 0.3 # its children end with their connections, and are then counted
            cpu=$(cpu_of $relay)
        else
            "$baton" run --config "$folder/baton.toml" & relay=$!
            wait_for "listens $in"
            worker=$(cat "/proc/$relay/task/$relay/children")
            round
            cpu=$(cpu_of "${worker// /}")
        fi
        kill $relay $sink_pid
        wait $relay $sink_pid 2>/dev/null || true
        awk -v c="$cpu" -v m="$million" -v w="$what" 'BEGIN {printf "%-6s %.3f s per million lines\n", w, c / m}' |
            tee -a "$folder/results"
    done
done
median() { awk -v w="$1" '$1 == w {print $2}' "$folder/results" | sort -n | awk '{a[NR] = $1} END {print a[int((NR + 1) / 2)]}'; }
awk -v b="$(median baton)" -v s="$(median socat)" \
    'BEGIN {printf "median: baton %.3f s, socat %.3f s per million lines: %.1f times\n", b, s, b / s}'
