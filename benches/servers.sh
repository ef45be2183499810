# Starts and stops the servers that are measured, for the scripts beside this file, which source it from the repository's root.
# shellcheck shell=bash

TARGET=${CARGO_TARGET_DIR:-target}/release
RHUMB=${RHUMB:-$TARGET/rhumb}
LOADGEN=${LOADGEN:-$TARGET/loadgen}
MOSQUITTO=${MOSQUITTO:-/usr/sbin/mosquitto}
BENCH=$(basename "$0" .sh)

WORK=${WORK:-$(mktemp -d "/tmp/rhumb-$BENCH.XXXXXX")}
mkdir -p "$WORK"
server_pid=
# Where Rhumb tells its metrics.
admin_port=
stop_server() {
    if [ -n "$server_pid" ]; then
        kill "$server_pid" 2>/dev/null || true
        wait "$server_pid" 2>/dev/null || true
        server_pid=
    fi
}
trap 'stop_server; [ -n "${KEEP:-}" ] || rm -rf "$WORK"' EXIT

fail() {
    echo "$BENCH: $*" >&2
    exit 1
}

[ -x "$LOADGEN" ] || cargo build --release -p loadgen >&2
[ -x "$RHUMB" ] || [[ ${SERVERS:-rhumb} != *rhumb* ]] || cargo build --release -p rhumb >&2
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
    admin_port=$(free_port)
    if [ "$name" = rhumb ]; then
        rm -rf "$WORK/data"
        RHUMB_DATA_DIR="$WORK/data" RHUMB_STORE__ENABLED=false RHUMB_MQTT__LISTEN=127.0.0.1:$port \
            RHUMB_HTTP__LISTEN=127.0.0.1:$(free_port) RHUMB_ADMIN__LISTEN=127.0.0.1:$admin_port \
            "$RHUMB" serve >"$WORK/$name.log" 2>&1 &
    elif [ "$name" = rumqttd ]; then
        cat >"$WORK/rumqttd.toml" <<TOML
id = 0
[router]
id = 0
max_connections = 10010
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v4.1]
name = "v4-1"
listen = "127.0.0.1:$port"
next_connection_delay_ms = 1
[v4.1.connections]
connection_timeout_ms = 60000
max_payload_size = 20480
max_inflight_count = 100
dynamic_filters = true
TOML
        "$RUMQTTD" -c "$WORK/rumqttd.toml" -q >"$WORK/$name.log" 2>&1 &
    else
        printf '%s\n' "listener $port 127.0.0.1" "allow_anonymous true" "persistence false" \
            "max_inflight_messages 0" "max_queued_messages 0" "log_dest none" ${MOSQUITTO_OPTION:+"$MOSQUITTO_OPTION"} >"$WORK/mosquitto.conf"
        "$MOSQUITTO" -c "$WORK/mosquitto.conf" >"$WORK/$name.log" 2>&1 &
    fi
    server_pid=$!
    server_port=$port
    wait_for_port "$name" "$port"
    # Its ports answer from the first moment on, that it is not ready.
    [ "$name" != rhumb ] || wait_until_ready
}

wait_until_ready() {
    for _ in $(seq 600); do
        kill -0 "$server_pid" 2>/dev/null || fail "rhumb did not start: see $WORK/rhumb.log"
        curl -sf "http://127.0.0.1:$admin_port/readyz" >/dev/null && return
        sleep 0.1
    done
    fail "rhumb is not ready: see $WORK/rhumb.log"
}

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
