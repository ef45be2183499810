#!/usr/bin/env bash
# Throughput of the front door against mosquitto, in turns on one machine: prints a Markdown page for benches/results/.
#
#   benches/throughput.sh > benches/results/throughput-$(date +%F).md
#
# Takes about five minutes. Variables: ROUNDS (3), DEVICES (1000), PUBLISHES (500000, pipelined), SINGLES (200000),
# RHUMB and LOADGEN (the binaries; built where missing), MOSQUITTO (/usr/sbin/mosquitto),
# MOSQUITTO_OPTION (one more line of its configuration, as `set_tcp_nodelay true`), WORK (where the journal
# and the raw results go; a new directory under /tmp by default, kept if KEEP=1).
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/servers.sh

ROUNDS=${ROUNDS:-3}
DEVICES=${DEVICES:-1000}
PUBLISHES=${PUBLISHES:-500000}
SINGLES=${SINGLES:-200000}
SERVERS=${SERVERS:-"rhumb mosquitto mosquitto-unsubscribed"}

measure() {
    local load=$1 server=$2
    local options=(--target "mqtt://127.0.0.1:$server_port" --devices "$DEVICES" --rate max --json --pid "$server_pid")
    case $load in
    qos0-pipelined) options+=(--qos 0 --publishes "$PUBLISHES") ;;
    qos1-pipelined) options+=(--qos 1 --publishes "$PUBLISHES") ;;
    qos1-single) options+=(--qos 1 --publishes "$SINGLES" --single) ;;
    esac
    # Rhumb consumes what it takes in; a broker without a subscriber would throw it away.
    [ "$server" != mosquitto ] || options+=(--subscribers 1)
    "$LOADGEN" "${options[@]}" >>"$WORK/$load.$server.json" || fail "$load against $server lost something: see $WORK"
}

for round in $(seq "$ROUNDS"); do
    for load in qos0-pipelined qos1-pipelined qos1-single; do
        for server in $SERVERS; do
            echo "round $round of $ROUNDS: $load, $server" >&2
            start_server "$server"
            measure "$load" "$server"
            stop_server
        done
    done
done

cat <<PAGE
# Throughput: Rhumb and mosquitto in turns

$(machine)

$DEVICES connections from one raw generator thread on the same machine, payload about 110 bytes, \`--rate max\`: pipelined sends
20 publishes a write with 20 unacknowledged, single one at a time; $PUBLISHES publishes ($SINGLES single), a fresh server for each
run, medians of $ROUNDS rounds. CPU is user and system time of the server's process over publishes, from the first publish to
the last acknowledgement. Rhumb runs with the store off and acknowledges what is synced; mosquitto keeps nothing and has
Nagle's algorithm on, as it ships, with one subscriber to everything or (unsubscribed) with none. Latency is that of a closed loop under full load.

PAGE
python3 - "$WORK" "$SERVERS" <<'PYTHON'
import json, pathlib, statistics, sys

work, servers = pathlib.Path(sys.argv[1]), sys.argv[2].split()
print("| load | server | publishes/s | CPU µs a publish | spread | p50 ms | p99 ms | p999 ms | peak MiB | CPU ratio to Rhumb |")
print("|---|---|---|---|---|---|---|---|---|---|")
for load in ("qos0-pipelined", "qos1-pipelined", "qos1-single"):
    runs = {s: [json.loads(line) for line in (work / f"{load}.{s}.json").read_text().splitlines()] for s in servers}
    cpu = {s: [run["process"]["cpu_us_per_publish"] for run in runs[s]] for s in servers}
    for server in servers:
        middle = lambda pick: statistics.median(pick(run) for run in runs[server])
        latency = lambda key: "–" if runs[server][0]["latency_us"] is None else f'{middle(lambda run: run["latency_us"][key]) / 1e3:.1f}'
        own = statistics.median(cpu[server])
        ratio = f'{own / statistics.median(cpu["rhumb"]):.1f}' if "rhumb" in cpu else "–"
        print(f'| {load.replace("-", " ").replace("qos", "QoS ")} | {server} | {middle(lambda run: run["rate"]):,.0f} | {own:.2f} '
              f'| {min(cpu[server]):.2f}–{max(cpu[server]):.2f} | {latency("p50")} | {latency("p99")} | {latency("p999")} '
              f'| {middle(lambda run: run["process"]["resident_peak_kib"]) / 1024:.0f} | {ratio} |')
generator = [run["generator"]["cpu_us_per_publish"] for path in work.glob("*.json") for run in map(json.loads, path.read_text().splitlines())]
print(f"\nThe generator itself took {min(generator):.2f} to {max(generator):.2f} µs of CPU a publish, its subscriber included.")
PYTHON
