#!/bin/bash
# CPU seconds of the whole relay per million lines by what it does with them: one route; aggregation into 10,000 open
# windows (nothing but what they come to goes on); hashing over 100 members; pickles in, 500 points a frame.
#
#     cargo build --release && benches/kinds.sh [ROUNDS] [MILLION_LINES]
#
# Needs socat, python3 and two cores. BATON names the binary. The sink is another Baton, without routes.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-3} million=${2:-4}
baton=${BATON:-$PWD/target/release/baton}
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
in=29751 sink=29752 pickle=29753 page=29754

wait_for() { until eval "$1"; do sleep 0.02; done; }
listens() { ss -Hltn "sport = :$1" | grep -q .; }
cpu_of() { awk '{print ($14 + $15 + $16 + $17) / 100}' "/proc/$1/stat"; }
worker_of() { local pid; pid=$(cat "/proc/$1/task/$1/children"); echo "${pid// /}"; }
came() { exec 3<>"/dev/tcp/127.0.0.1/$page"; printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3; awk '/^baton_lines_in_total/ {n += $2} END {print n + 0}' <&3; }

config() { # PORT
    printf '[supervisor]\ncontrol = "unix:control-%s.sock"\n[state]\npath = "%s.db"\n[log]\nlevel = "error"\n' "$1" "$1"
    printf '[instrumentation]\ninterval = "0s"\n[listen]\nline = ["tcp://127.0.0.1:%s"]\n' "$1"
}
relay() { config $in; printf 'pickle = ["tcp://127.0.0.1:%s"]\nhttp = ["tcp://127.0.0.1:%s"]\n' $pickle $page; }
one="[[route]]
key = \"all\"
destinations = [\"127.0.0.1:$sink full=block\"]"
config $sink > "$folder/sink.toml"
{ relay; echo "$one"; } | tee "$folder/lines.toml" > "$folder/pickle.toml"
{ relay; printf '[[aggregation]]\nfunction = "sum"\nregex = "^servers\\\\.(h[0-9]+)\\\\.cpu([0-9])\\\\."\nformat = "sum.${1}.${2}"\ninterval = 3600\nwait = 7200\ndropRaw = true\n'; echo "$one"; } > "$folder/aggregation.toml"
{ relay; printf '[[route]]\nkey = "ring"\ntype = "carbon_ch"\ndestinations = [\n'
  for i in $(seq 100); do printf '"127.0.0.1:%s:m%s full=block queue=1MiB",\n' $sink "$i"; done; echo ']'; } > "$folder/hashing.toml"

# Ten neighbouring lines a host; 1,000 hosts, 100,000 names, 10,000 windows.
python3 - "$folder" "$million" "$(date +%s)" <<'PY'
import pickle, struct, sys
folder, million, now = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
names = ["servers.h%03d.cpu%d.user.%02d" % (i // 10 % 1000, i % 10, i // 10000 % 10) for i in range(100000)]
lines = "".join("%s 1 %d\n" % (name, now) for name in names)
half = int(million * 10 / 2)
with open(folder + "/lines", "w") as out:
    for _ in range(half): out.write(lines)
frames = b""
for at in range(0, len(names), 500):
    body = pickle.dumps([(name, (now, 1.5)) for name in names[at:at + 500]], protocol=2)
    frames += struct.pack("!I", len(body)) + body
with open(folder + "/frames", "wb") as out:
    for _ in range(half): out.write(frames)
PY

for ((r = 1; r <= rounds; r++)); do
    for kind in lines aggregation hashing pickle; do
        "$baton" run --config "$folder/sink.toml" 2>/dev/null & far=$!
        wait_for "listens $sink"
        "$baton" run --config "$folder/$kind.toml" 2>/dev/null & relay=$!
        wait_for "listens $in && listens $page"
        file=lines port=$in
        [[ $kind == pickle ]] && file=frames port=$pickle
        before=$(cpu_of "$(worker_of $relay)")
        senders=()
        for _ in 1 2; do
            socat -u -b262144 "OPEN:$folder/$file" "TCP:127.0.0.1:$port" & senders+=($!)
        done
        wait "${senders[@]}"
        wait_for "(( \$(came) >= $(awk -v m="$million" 'BEGIN {printf "%d", int(m * 10 / 2) * 2 * 100000}') ))"
        sleep 0.5
        cpu=$(cpu_of "$(worker_of $relay)")
        kill $relay; wait $relay || true
        kill $far; wait $far || true
        # The worker's descriptors may be closed a moment after the supervisor has ended.
        wait_for "! listens $in && ! listens $sink && ! listens $page && ! listens $pickle"
        rm -f "$folder"/*.db*
        awk -v c="$cpu" -v b="$before" -v m="$million" -v k="$kind" \
            'BEGIN {printf "%-12s %.3f s per million lines\n", k, (c - b) / m}' | tee -a "$folder/results"
    done
done
for kind in lines aggregation hashing pickle; do
    awk -v k="$kind" '$1 == k {print $2}' "$folder/results" | sort -n |
        awk -v k="$kind" '{a[NR] = $1} END {printf "median: %-12s %.3f s per million lines\n", k, a[int((NR + 1) / 2)]}'
done
