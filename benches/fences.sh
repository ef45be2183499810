#!/usr/bin/env bash
# What geofences cost: the load generator's fixes with none and with 100,000 over the town that it drives in, in turns on one
# machine. Prints a Markdown page for benches/results/.
#
#   benches/fences.sh > benches/results/fences-$(date +%F).md
#
# Takes about five minutes. Variables: ROUNDS (5), FENCES (100000), DEVICES (1000), PUBLISHES (3000000), STORE (true: the embedded
# store is written beside it, as by default), RHUMB and LOADGEN (the binaries; built where missing), WORK (where the journal and
# the raw results go; a new directory under /tmp by default, kept if KEEP=1).
set -euo pipefail
cd "$(dirname "$0")/.."
SERVERS=rhumb
MOSQUITTO=${MOSQUITTO:-true}
. benches/servers.sh

ROUNDS=${ROUNDS:-5}
FENCES=${FENCES:-100000}
DEVICES=${DEVICES:-1000}
PUBLISHES=${PUBLISHES:-3000000}
STORE=${STORE:-true}

# On the data directory that is there.
start_rhumb() {
    server_port=$(free_port)
    http_port=$(free_port)
    admin_port=$(free_port)
    RHUMB_DATA_DIR="$WORK/data" RHUMB_STORE__ENABLED=$STORE RHUMB_MQTT__LISTEN=127.0.0.1:$server_port \
        RHUMB_HTTP__LISTEN=127.0.0.1:$http_port RHUMB_ADMIN__LISTEN=127.0.0.1:$admin_port "$RHUMB" serve >"$WORK/rhumb.log" 2>&1 &
    server_pid=$!
    wait_until_ready
}

# Circles, squares and corridors of 20 to 300 m, over the town.
put_fences() {
    python3 - "$http_port" "$FENCES" <<'PYTHON'
import asyncio, json, random, sys

port, fences = int(sys.argv[1]), int(sys.argv[2])
random.seed(1)

def feature(number):
    latitude, longitude = 52.2297 + random.uniform(-0.2, 0.2), 21.0122 + random.uniform(-0.2, 0.2)
    size = random.uniform(20, 300) / 111_195
    if number % 3 == 0:
        geometry, properties = {"type": "Point", "coordinates": [longitude, latitude]}, {"radius_m": size * 111_195}
    elif number % 3 == 1:
        ring = [[longitude + x * size, latitude + y * size] for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))]
        geometry, properties = {"type": "Polygon", "coordinates": [ring]}, {}
    else:
        line = [[longitude, latitude], [longitude + size, latitude], [longitude + size, latitude + size]]
        geometry, properties = {"type": "LineString", "coordinates": line}, {"width_m": 20}
    return json.dumps({"type": "Feature", "geometry": geometry, "properties": properties}).encode()

async def put(numbers):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in numbers:
        body = feature(number)
        head = f"PUT /v1/geofences/f{number} HTTP/1.1\r\nHost: localhost\r\nX-Tenant: loadgen\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        status = (await reader.readline()).split()[1]
        assert status == b"201", status
        length = 0
        while (line := await reader.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        await reader.readexactly(length)
    writer.close()

async def main():
    clients = 48
    await asyncio.gather(*(put(range(first, fences, clients)) for first in range(clients)))

asyncio.run(main())
PYTHON
}

metric() {
    curl -sf "http://127.0.0.1:$admin_port/metrics" | awk -v name="$1" '$1 == name { print $2 }'
}

measure() {
    rm -rf "$WORK/data"
    [ "$1" = 0 ] || cp -r "$WORK/fenced" "$WORK/data"
    start_rhumb
    "$LOADGEN" --target "mqtt://127.0.0.1:$server_port" --devices "$DEVICES" --rate max --qos 1 --publishes "$PUBLISHES" --json \
        --pid "$server_pid" >"$WORK/run.json" || fail "the load lost something: see $WORK"
    local since lag
    since=$(date +%s.%N)
    while lag=$(metric 'rhumb_sink_lag_frames{sink="fences"}') && [ "$lag" != 0 ]; do sleep 0.05; done
    python3 - "$WORK/run.json" "$1" "$since" "$(date +%s.%N)" "$(metric 'rhumb_geofence_events_total{event="enter"}')" \
        "$(metric 'rhumb_geofences{tenant="loadgen"}')" >>"$WORK/runs.jsonl" <<'PYTHON'
import json, sys

run = json.load(open(sys.argv[1]))
run |= {"fences": int(sys.argv[2]), "drain_s": float(sys.argv[4]) - float(sys.argv[3]), "enters": int(sys.argv[5]), "in_force": int(sys.argv[6] or 0)}
print(json.dumps(run))
PYTHON
    stop_server
}

echo "putting $FENCES geofences" >&2
rm -rf "$WORK/data"
start_rhumb
begun=$(date +%s.%N)
put_fences
put_seconds=$(python3 -c "import time; print(round(time.time() - $begun, 1))")
stop_server
mv "$WORK/data" "$WORK/fenced"
for round in $(seq "$ROUNDS"); do
    for fences in 0 "$FENCES"; do
        echo "round $round of $ROUNDS: $fences geofences" >&2
        measure "$fences"
    done
done

cat <<PAGE
# Geofences: ingest with none and with $FENCES

$(machine | sed 's/^- , /- /')

$DEVICES connections from one raw generator thread on the same machine, QoS 1, 20 publishes a write, each a fix of a vehicle in a town of
0.4 degrees; $PUBLISHES publishes, a fresh engine for each run (embedded store: $STORE). The geofences are circles, squares and corridors of
20 to 300 m over that town; putting them over HTTP took $put_seconds s. Lag: how long after the last acknowledgement all was judged.

PAGE
python3 - "$WORK/runs.jsonl" <<'PYTHON'
import json, statistics, sys

runs = [json.loads(line) for line in open(sys.argv[1])]
print("| geofences | publishes/s | spread | CPU µs a publish | p99 ms | peak MiB | lag s | enters |")
print("|---|---|---|---|---|---|---|---|")
rates = {}
for fences in sorted({run["fences"] for run in runs}):
    of = [run for run in runs if run["fences"] == fences]
    assert all(run["in_force"] == fences for run in of), "not all geofences were in force"
    middle = lambda pick: statistics.median(pick(run) for run in of)
    rates[fences] = [run["rate"] for run in of]
    print(f'| {fences:,} | {middle(lambda run: run["rate"]):,.0f} | {min(rates[fences]):,.0f}–{max(rates[fences]):,.0f} '
          f'| {middle(lambda run: run["process"]["cpu_us_per_publish"]):.2f} | {middle(lambda run: run["latency_us"]["p99"]) / 1e3:.1f} '
          f'| {middle(lambda run: run["process"]["resident_peak_kib"]) / 1024:.0f} | {middle(lambda run: run["drain_s"]):.1f} '
          f'| {middle(lambda run: run["enters"]):,.0f} |')
without, fenced = (rates[fences] for fences in sorted(rates))
pairs = [after / before for before, after in zip(without, fenced)]
print(f"\nWith geofences it is {statistics.median(fenced) / statistics.median(without):.0%} of what it is without "
      f"(pairs of runs: {min(pairs):.0%} to {max(pairs):.0%}).")
PYTHON
