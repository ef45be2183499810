"""Publishes large and small messages over WebSocket at every QoS and has them back; exits 0 if all of it came whole.

Arguments: host, port, and the file of the authority where it is over TLS."""

import json
import sys
import threading

import paho.mqtt.client as mqtt

PATIENCE_S = 20
LARGE_BYTES = 200_000


def connected(client_id, protocol, host, port, authority):
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol, transport="websockets"
    )
    if authority:
        client.tls_set(ca_certs=authority)
    up = threading.Event()
    client.on_connect = lambda client, userdata, flags, reason, properties: up.set() if not reason.is_failure else None
    client.connect(host, port)
    client.loop_start()
    assert up.wait(PATIENCE_S), f"{client_id}: not connected"
    return client


def check(protocol, version, qos, host, port, authority):
    name = f"paho-{'wss' if authority else 'ws'}-{version}-{qos}"
    topics = (f"bulk/{name}", f"tenant/default/driver/{name}/location")
    received = {topic: [] for topic in topics}
    came = {topic: threading.Event() for topic in topics}
    subscribed = threading.Event()

    def on_message(client, userdata, message):
        received[message.topic].append(message.payload)
        came[message.topic].set()

    subscriber = connected(f"{name}-sub", protocol, host, port, authority)
    subscriber.on_subscribe = lambda client, userdata, mid, reasons, properties: subscribed.set()
    subscriber.on_message = on_message
    subscriber.subscribe([(topic, qos) for topic in topics])
    assert subscribed.wait(PATIENCE_S), f"{name}: not subscribed"

    publisher = connected(f"{name}-pub", protocol, host, port, authority)
    large = bytes((n * 31 + qos) % 251 for n in range(LARGE_BYTES))
    fix = json.dumps({"lat": 52.0, "lon": 21.0, "timestamp": 1_700_000_000 + qos})
    for topic, payload in zip(topics, (large, fix)):
        publisher.publish(topic, payload, qos=qos).wait_for_publish(PATIENCE_S)
        assert came[topic].wait(PATIENCE_S), f"{name}: nothing on {topic}"
    assert received[topics[0]] == [large], f"{name}: the large message came otherwise"
    assert len(received[topics[1]]) == 1, f"{name}: {received[topics[1]]}"

    for client in (publisher, subscriber):
        client.disconnect()
        client.loop_stop()


def main():
    host, port = sys.argv[1], int(sys.argv[2])
    authority = sys.argv[3] if len(sys.argv) > 3 else None
    for protocol, version in ((mqtt.MQTTv311, 3), (mqtt.MQTTv5, 5)):
        for qos in (0, 1, 2):
            check(protocol, version, qos, host, port, authority)


main()
