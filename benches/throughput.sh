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

ROUNDS=${ROUNDS:-3}
DEVICES=${DEVICES:-1000}
PUBLISHES=${PUBLISHES:-500000}
SINGLES=${SINGLES:-200000}
TARGET=${CARGO_TARGET_DIR:-target}/release
RHUMB=${RHUMB:-$TARGET/rhumb}
LOADGEN=${LOADGEN:-$TARGET/loadgen}
MOSQUITTO=${MOSQUITTO:-/usr/sbin/mosquitto}
SERVERS=${SERVERS:-"rhumb mosquitto mosquitto-unsubscribed"}

WORK=${WORK:-$(mktemp -d /tmp/rhumb-throughput.XXXXXX)}
mkdir -p "$WORK"
server_pid=
stop_server() {
    if [ -n "$server_pid" ]; then
        kill "$server_pid" 2>/dev/null || true
        wait "$server_pid" 2>/dev/null || true
        server_pid=
    fi
}
trap 'stop_server; [ -n "${KEEP:-}" ] || rm -rf "$WORK"' EXIT

fail() {
    echo "throughput: $*" >&2
    exit 1
}

[ -x "$LOADGEN" ] || cargo build --release -p loadgen >&2
[ -x "$RHUMB" ] || [[ $SERVERS != *rhumb* ]] || cargo build --release -p rhumb >&2
command -v "$MOSQUITTO" >/dev/null || fail "no $MOSQUITTO: apt-get install mosquitto"
command -v python3 >/dev/null || fail "no python3"

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

wait_for_port() {
    for _ in $(seq 200); do
        kill -0 "$server_pid" 2>/dev/null || fail "$1 did not start: see $WORK/$1.log"
        (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null && return
        sleep 0.05
    done
    fail "$1 does not listen on port $2"
}

# A fresh server for every measurement: nobody inherits another run's memory or journal.
start_server() {
    local name=$1 port
    port=$(free_port)
    if [ "$name" = rhumb ]; then
        rm -rf "$WORK/data"
        RHUMB_DATA_DIR="$WORK/data" RHUMB_STORE__ENABLED=false RHUMB_MQTT__LISTEN=127.0.0.1:$port \
            RHUMB_HTTP__LISTEN=127.0.0.1:$(free_port) RHUMB_ADMIN__LISTEN=127.0.0.1:$(free_port) \
            "$RHUMB" serve >"$WORK/$name.log" 2>&1 &
    else
        printf '%s\n' "listener $port 127.0.0.1" "allow_anonymous true" "persistence false" \
            "max_inflight_messages 0" "max_queued_messages 0" "log_dest none" ${MOSQUITTO_OPTION:+"$MOSQUITTO_OPTION"} >"$WORK/mosquitto.conf"
        "$MOSQUITTO" -c "$WORK/mosquitto.conf" >"$WORK/$name.log" 2>&1 &
    fi
    server_pid=$!
    server_port=$port
    wait_for_port "$name" "$port"
}

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

machine() {
    echo "- $(date -u +%FT%TZ), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
    echo "- $(lscpu | sed -n 's/^Model name: *//p' | head -1), $(nproc) CPUs, $(free -h | awk '/^Mem:/ { print $2 }') memory"
    echo "- $(uname -sr), $(. /etc/os-release && echo "$PRETTY_NAME")"
    echo "- journal on $(df --output=fstype,source "$WORK" | tail -1 | xargs), sync of 4 KiB takes $(sync_us) µs (median of 101)"
    echo "- $("$MOSQUITTO" -h 2>/dev/null | head -1 || true), $("$RHUMB" --version 2>/dev/null | head -1 || true)"
}

sync_us() {
    python3 - "$WORK/sync" <<'PYTHON'
import os, sys, time
file = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
times = []
for _ in range(101):
    os.write(file, bytes(4096))
    begun = time.perf_counter()
    os.fdatasync(file)
    times.append(time.perf_counter() - begun)
print(round(sorted(times)[50] * 1e6))
PYTHON
}

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
