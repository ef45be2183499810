#!/usr/bin/env bash
# What the front door costs beside mosquitto, in turns on one machine: a publish, fan-out to subscribers, the memory of idle trackers.
# Prints a Markdown page for benches/results/.
#
#   benches/door.sh > benches/results/door-$(date +%F).md
#
# Takes about seven minutes. Variables: ROUNDS (3), PARTS ("publish fanout idle"), PUBLISHES (3000000), IDLE (18000 connections;
# needs so many open files twice over), RHUMB and LOADGEN (the binaries; built where missing), MOSQUITTO
# (/usr/sbin/mosquitto), RUMQTTD (rumqttd's own server, measured too where it is given), WORK (where the journal and the raw
# results go; a new directory under /tmp by default, kept if KEEP=1).
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/servers.sh

ROUNDS=${ROUNDS:-3}
IDLE=${IDLE:-18000}
PARTS=${PARTS:-"publish fanout idle"}
PUBLISHES=${PUBLISHES:-3000000}
SERVERS="rhumb mosquitto"

# An empty payload on an OwnTracks topic clears a retained message and is no fix: what it costs is the door's alone, from the
# packet to its acknowledgement. The other servers get it on the same topic, and have nobody to send it to.
publish() {
    local server qos
    for server in $SERVERS ${RUMQTTD:+rumqttd}; do
        for qos in 0 1; do
            start_server "$server"
            "$LOADGEN" --target "mqtt://127.0.0.1:$server_port" --devices 100 --publishes "$PUBLISHES" --qos $qos --pipeline 20 \
                --topic "owntracks/{tenant}/{driver}" --payload "" --json --pid "$server_pid" >>"$WORK/publish-$qos.$server.json" ||
                fail "$server lost publishes at QoS $qos"
            stop_server
        done
    done
}

# Publishes at QoS 1, none faster than the subscribers' side can be told of: what is dropped is told, too.
fan_out() { # name, devices, subscribers, publishes a second, publishes
    local server
    for server in $SERVERS; do
        start_server "$server"
        "$LOADGEN" --target "mqtt://127.0.0.1:$server_port" --devices "$2" --subscribers "$3" --rate "$4" --publishes "$5" \
            --qos 1 --pipeline 20 --json --pid "$server_pid" >>"$WORK/$1.$server.json" || echo "door: $1 against $server lost something" >&2
        stop_server
    done
}

idle() {
    local server
    ulimit -n "$(ulimit -Hn)"
    for server in $SERVERS; do
        start_server "$server"
        "$LOADGEN" --target "mqtt://127.0.0.1:$server_port" --devices "$IDLE" --publishes "$IDLE" --rate 5000 --qos 1 --single \
            --source-spread 10 --hold 20s --json --pid "$server_pid" >>"$WORK/idle.$server.json" || fail "not all of $IDLE connections were served by $server"
        stop_server
    done
}

for round in $(seq "$ROUNDS"); do
    echo "round $round of $ROUNDS" >&2
    if [[ $PARTS == *publish* ]]; then publish; fi
    if [[ $PARTS == *fanout* ]]; then
        fan_out one-to-1000 1 1000 100 1000
        fan_out one-to-1000-max 1 1000 max 2000
        fan_out 1000-to-one 1000 1 20000 200000
        fan_out 1000-to-one-max 1000 1 max 300000
        fan_out 1000-to-100 1000 100 1000 10000
        fan_out 1000-to-100-max 1000 100 max 20000
    fi
    if [[ $PARTS == *idle* ]]; then idle; fi
done

cat <<PAGE
# The front door beside mosquitto: fan-out and idle trackers

$(machine)

Rhumb with its store off: each fix is synced to the journal and then told to the subscribers. mosquitto keeps nothing. A fresh server for
each run, medians of $ROUNDS rounds, publishers and subscribers in one generator on the same machine, QoS 1 in and QoS 0 out.

PAGE
python3 - "$WORK" "$PARTS" <<'PYTHON'
import json, pathlib, statistics, sys

work, parts = pathlib.Path(sys.argv[1]), sys.argv[2].split()
servers = ("rhumb", "mosquitto")
read = lambda name, server: [json.loads(line) for line in (work / f"{name}.{server}.json").read_text().splitlines()]
if "publish" in parts:
    print("The door alone: 100 connections, 20 publishes a write, an empty payload on a topic that carries fixes and nobody who subscribes.")
    print()
    print("| QoS | server | publishes/s | CPU µs a publish | each run |")
    print("|---|---|---|---|---|")
    for qos in (0, 1):
        for server in (*servers, "rumqttd"):
            if not (work / f"publish-{qos}.{server}.json").exists():
                continue
            runs = read(f"publish-{qos}", server)
            each = [run["process"]["cpu_us_per_publish"] for run in runs]
            rate = statistics.median(run["rate"] for run in runs)
            print(f'| {qos} | {server} | {rate:,.0f} | {statistics.median(each):.2f} | {", ".join(f"{one:.2f}" for one in each)} |')
    print()
if "fanout" in parts:
    print("| load | server | publishes/s | delivered | deliveries/s | CPU µs a delivery | ack p50 ms | ack p99 ms | peak MiB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, subscribers in (("one-to-1000", 1000), ("one-to-1000-max", 1000), ("1000-to-one", 1), ("1000-to-one-max", 1), ("1000-to-100", 100), ("1000-to-100-max", 100)):
        for server in servers:
            runs = read(name, server)
            middle = lambda pick: statistics.median(pick(run) for run in runs)
            share = middle(lambda run: run["deliveries"]["received"] / (run["sent"] * subscribers))
            print(f'| {name.replace("-", " ")} | {server} | {middle(lambda run: run["rate"]):,.0f} | {share:.1%} '
                  f'| {middle(lambda run: run["deliveries"]["rate"]):,.0f} '
                  f'| {middle(lambda run: run["process"]["cpu_us"] / max(run["deliveries"]["received"], 1)):.2f} '
                  f'| {middle(lambda run: run["latency_us"]["p50"]) / 1e3:.1f} | {middle(lambda run: run["latency_us"]["p99"]) / 1e3:.1f} '
                  f'| {middle(lambda run: run["process"]["resident_peak_kib"]) / 1024:.0f} |')
    print()
if "idle" in parts:
    print("Resident memory before the first connection, and while all are connected, have published one fix and are silent:")
    print()
    print("| server | connections | before MiB | idle MiB | KiB a connection | each run |")
    print("|---|---|---|---|---|---|")
    for server in servers:
        runs = read("idle", server)
        each = [(run["process"]["resident_kib"][-1] - run["process"]["resident_kib"][0]) / run["connected"] for run in runs]
        middle = lambda pick: statistics.median(pick(run) for run in runs)
        print(f'| {server} | {runs[0]["connected"]:,} | {middle(lambda run: run["process"]["resident_kib"][0]) / 1024:.1f} '
              f'| {middle(lambda run: run["process"]["resident_kib"][-1]) / 1024:.1f} | {statistics.median(each):.2f} | {", ".join(f"{one:.2f}" for one in each)} |')
PYTHON
