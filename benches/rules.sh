#!/bin/bash
# CPU seconds of the whole relay per million lines, with 1,000 rules and with one (a prefix), in turn: the rules are a blocklist that
# blocks other hosts, before one route that takes all. (A thousand routes have a thousand destinations, and what those cost
# isn't matching: `cargo bench --bench table` has that without the sending.) Names that come again (100,000), and once.
# *residual* are expressions without a literal that a name must hold. *met* are 1,000 routes, a prefix, a text and an expression a
# host, so that each line matches three of them and the first takes it, against one route with a prefix that all lines have; twelve hosts send, so
# that twelve destinations are sent to, and *twelve* is a table of those twelve prefixes alone.
#
#     cargo build --release && benches/rules.sh [ROUNDS] [MILLION_LINES]
#
# With 10 million lines and fewer, names that come once are dear at first: a memo is tried in vain with 131,072 of them a thread. KINDS
# and NAMES choose a part: KINDS="sub mixed" NAMES=once. Needs socat and two cores. BATON names the binary. The sink is another Baton, without routes.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-3} million=${2:-2}
baton=${BATON:-$PWD/target/release/baton}
read -ra kinds <<< "${KINDS:-prefix sub regex mixed residual met}"
read -ra both <<< "${NAMES:-again once}"
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
in=29741 sink=29742 page=29743

wait_for() { until eval "$1"; do sleep 0.02; done; }
listens() { ss -Hltn "sport = :$1" | grep -q .; }
cpu_of() { awk '{print ($14 + $15 + $16 + $17) / 100}' "/proc/$1/stat"; }
worker_of() { local pid; pid=$(cat "/proc/$1/task/$1/children"); echo "${pid// /}"; }

head_of() { # IN
    printf '[supervisor]\ncontrol = "unix:control-%s.sock"\n[state]\npath = "%s.db"\n[log]\nlevel = "error"\n' "$1" "$1"
    printf '[instrumentation]\ninterval = "0s"\n[listen]\nline = ["tcp://127.0.0.1:%s"]\n' "$1"
}
rules() { # KIND: of a thousand hosts, g000 to g999
    awk -v kind="$1" 'BEGIN {
        printf "blocklist = ["
        if (kind == "one") print "\"prefix servers.g000.\""
        for (i = 0; kind != "one" && kind != "met" && i < 1000; i++) {
            host = sprintf("g%03d", i)
            what = kind == "mixed" ? substr("prefixsub   regex ", i % 3 * 6 + 1, 6) : kind
            sub(/ +$/, "", what)
            if (what == "prefix") printf "\"prefix servers.%s.\",\n", host
            if (what == "sub") printf "\"sub .%s.\",\n", host
            if (what == "residual") printf "\"regex [a-z][0-9]+[k-z]%d[^.]+%d[^.]+%d\",\n", i / 100, i / 10 % 10, i % 10
            if (what == "regex") printf "\"regex ^servers\\\\.%s\\\\.[^.]+\\\\.(user|system)\",\n", host
        }
        print "]"
    }'
}
route="[[route]]
key = \"all\"
destinations = [\"127.0.0.1:$sink full=block\"]"
routes() { # END STEP: three of each host from h000 on, or with a step of three the prefixes alone
    awk -v sink="$sink" -v end="$1" -v step="$2" 'BEGIN {
        for (i = 0; i < end; i += step) {
            host = sprintf("h%03d", int(i / 3))
            pattern = "prefix = \"servers." host ".\""
            if (i % 3 == 1) pattern = "sub = \"." host ".\""
            if (i % 3 == 2) pattern = "regex = \047^servers\\." host "\\.[^.]+\\.(user|system)\047"
            printf "[[route]]\nkey = \"r%d\"\n%s\ndestinations = [\"127.0.0.1:%s id=d%d full=block queue=1MiB\"]\n", i, pattern, sink, i
        }
    }'
}
for kind in one "${kinds[@]}"; do
    if [[ $kind == met ]]; then
        { echo "first_only = true"; head_of $in; routes 999 1; echo "$route"; } > "$folder/$kind.toml"
    else
        { rules "$kind"; head_of $in; echo "$route"; } > "$folder/$kind.toml"
    fi
done
{ head_of $in; echo "${route/key/prefix = \"servers.\"$'\n'key}"; } > "$folder/one-met.toml"
{ echo "first_only = true"; head_of $in; routes 36 3; echo "$route"; } > "$folder/twelve-met.toml"
{ head_of $sink; printf 'http = ["tcp://127.0.0.1:%s"]\n' $page; } > "$folder/sink.toml"

# Ten neighbouring lines a host, as its agent sends them; NEIGHBOURS=1 is a stream in which each line is of another host.
neighbours=${NEIGHBOURS:-10}
lines=$((million * 1000000 / 2))
lines_of() { # NAMES HOSTS
    awk -v n="$lines" -v names="$1" -v hosts="$2" -v run="$neighbours" 'BEGIN { for (i = 0; i < n; i++) {
        nth = int(i / run / hosts) * run + i % run # of this host
        last = names == "once" ? sprintf("%07d", i) : sprintf("%02d", int(nth / 10) % 10)
        printf "servers.h%03d.cpu%d.user.%s 1 1790000000\n", int(i / run) % hosts, nth % 10, last } }'
}

came() { exec 3<>"/dev/tcp/127.0.0.1/$page"; printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3; awk '/^baton_lines_in_total/ {n += $2} END {print n + 0}' <&3; }

with=("${kinds[@]}")
[[ " ${kinds[*]} " != *" met "* ]] || with+=(one-met twelve-met)
hosts_of() { [[ $1 == *met ]] && echo 12 || echo 1000; }
for names in "${both[@]}"; do
    for hosts in 12 1000; do
        [[ $hosts == 1000 || " ${with[*]} " == *" met "* ]] || continue
        lines_of "$names" $hosts > "$folder/$names-$hosts"
        # No name of the one connection comes on the other.
        [[ $names == again ]] || sed 's/user/system/' "$folder/$names-$hosts" > "$folder/other-$hosts"
    done
done

for ((r = 1; r <= rounds; r++)); do
    for kind in one "${with[@]}"; do
        hosts=$(hosts_of "$kind")
        for names in "${both[@]}"; do
            "$baton" run --config "$folder/sink.toml" 2>/dev/null & far=$!
            wait_for "listens $page && listens $sink"
            "$baton" run --config "$folder/$kind.toml" 2>"$folder/log" & relay=$!
            wait_for "listens $in"
            before=$(cpu_of "$(worker_of $relay)") # what the table took to be built
            senders=()
            other=$([[ $names == again ]] && echo again || echo other)
            for what in "$names-$hosts" "$other-$hosts"; do
                socat -u -b262144 "OPEN:$folder/$what" "TCP:127.0.0.1:$in" & senders+=($!)
            done
            wait "${senders[@]}"
            wait_for "(( \$(came) >= lines * 2 ))"
            cpu=$(cpu_of "$(worker_of $relay)")
            kill $relay $far
            wait $relay $far 2>/dev/null || true
            wait_for "! listens $in && ! listens $page" # workers outlive them by a moment
            rm -f "$folder"/*.db*
            awk -v c="$cpu" -v b="$before" -v m="$million" -v k="$kind" -v n="$names" \
                'BEGIN {printf "%-8s %-6s %.3f s per million lines\n", k, n, (c - b) / m}' | tee -a "$folder/results"
        done
    done
done
median() { awk -v k="$1" -v n="$2" '$1 == k && $2 == n {print $3}' "$folder/results" | sort -n | awk '{a[NR] = $1} END {print a[int((NR + 1) / 2)]}'; }
for names in "${both[@]}"; do
    for kind in "${kinds[@]}"; do
        base=$(median "$([[ $kind == met ]] && echo one-met || echo one)" "$names")
        awk -v v="$(median "$kind" "$names")" -v b="$base" -v k="$kind" -v n="$names" \
            'BEGIN {printf "names that come %s: 1,000 %s rules %.3f s, one rule %.3f s: %.2f times\n", n, k, v, b, v / b}'
        [[ $kind != met ]] || awk -v v="$(median met "$names")" -v b="$(median twelve-met "$names")" -v n="$names" \
            'BEGIN {printf "names that come %s: 1,000 met rules %.3f s, twelve rules %.3f s: %.2f times\n", n, v, b, v / b}'
    done
done
