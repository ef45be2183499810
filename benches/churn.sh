#!/usr/bin/env bash
# What is left in memory of trackers that come, publish a little and are gone without a word, over and over, beside mosquitto.
# Prints a Markdown page for benches/results/; fails if a publish is lost or the books do not add up.
#
#   benches/churn.sh > benches/results/churn-$(date +%F).md
#
# Takes about half an hour. Variables: MINUTES (10, for each server), DEVICES (2000), DROP_EVERY (5 publishes), RATE (10000 publishes
# a second, so 2000 connections), SERVERS ("rhumb mosquitto"), RHUMB and LOADGEN (the binaries; built where missing), MOSQUITTO,
# WORK (where the journal and the raw results go; a new directory under /tmp by default, kept if KEEP=1).
set -euo pipefail
cd "$(dirname "$0")/.."
SERVERS=${SERVERS:-"rhumb mosquitto"}
. benches/servers.sh

MINUTES=${MINUTES:-10}
DEVICES=${DEVICES:-2000}
DROP_EVERY=${DROP_EVERY:-5}
RATE=${RATE:-10000}
SAMPLES=20

resident_mib() {
    awk '/^VmRSS:/ { printf "%.1f", $2 / 1024 }' "/proc/$server_pid/status"
}

# A sum over all tenants and labels of one of Rhumb's counters.
counter() {
    curl -s "http://127.0.0.1:$admin_port/metrics" | awk -v name="$1" 'index($1, name) == 1 { sum += $2 } END { printf "%d", sum }'
}

churn() {
    local server=$1 load waits_s=$((MINUTES * 60 / SAMPLES))
    start_server "$server"
    "$LOADGEN" --target "mqtt://127.0.0.1:$server_port" --devices "$DEVICES" --rate "$RATE" --duration "${MINUTES}m" --qos 1 \
        --reconnect --drop-every "$DROP_EVERY" --source-spread 20 --json --pid "$server_pid" >"$WORK/churn.$server.json" &
    load=$!
    while kill -0 "$load" 2>/dev/null; do
        echo -n "$(resident_mib) " >>"$WORK/resident.$server"
        for _ in $(seq "$waits_s"); do
            kill -0 "$load" 2>/dev/null || break
            sleep 1
        done
    done
    wait "$load" || fail "$server lost publishes: $(cat "$WORK/churn.$server.json")"
    if [ "$server" = rhumb ]; then
        local received stored duplicate rejected
        received=$(counter rhumb_fixes_received_total) stored=$(counter rhumb_fixes_stored_total)
        duplicate=$(counter rhumb_fixes_duplicate_total) rejected=$(counter rhumb_fixes_rejected_total)
        echo "received $received, stored $stored, duplicate $duplicate, rejected $rejected" >"$WORK/books"
        [ "$received" -eq $((stored + duplicate + rejected)) ] || fail "the books do not add up: $(cat "$WORK/books")"
    fi
    stop_server
}

for server in $SERVERS; do
    echo "$server, $MINUTES minutes" >&2
    churn "$server"
done

echo "# Trackers that come and go"
echo
machine
echo "- $DEVICES trackers, each connection dropped without a DISCONNECT after $DROP_EVERY publishes at QoS 1 and made again, its session kept;"
echo "  $RATE publishes a second over all, $MINUTES minutes for each server, from 20 addresses."
echo
WORK=$WORK SERVERS=$SERVERS python3 - <<'PYTHON'
import json, os
work = os.environ["WORK"]
print("| | " + " | ".join(os.environ["SERVERS"].split()) + " |")
print("|---" * (1 + len(os.environ["SERVERS"].split())) + "|")
runs = {}
for server in os.environ["SERVERS"].split():
    with open(f"{work}/churn.{server}.json") as file:
        runs[server] = json.load(file)
rows = [
    ("publishes, all acknowledged", lambda run: f"{run['acked']:,}"),
    ("connections dropped", lambda run: f"{run['dropped']:,}"),
    ("packets sent again", lambda run: f"{run['resent']:,}"),
    ("CPU µs a publish, its share of a connection included", lambda run: f"{run['process']['cpu_us_per_publish']:.1f}"),
    ("peak MiB", lambda run: f"{run['process']['resident_peak_kib'] / 1024:.1f}"),
]
for name, value in rows:
    print(f"| {name} | " + " | ".join(value(run) for run in runs.values()) + " |")
print("| resident MiB, twenty times on the way | " + " | ".join(open(f"{work}/resident.{server}").read().strip() for server in runs) + " |")
PYTHON
if [ -f "$WORK/books" ]; then
    echo
    echo "Rhumb's books: $(cat "$WORK/books")."
fi
