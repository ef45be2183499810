"""Publishes and subscribes with paho in both protocol versions at every QoS; exits 0 if all was acknowledged and received."""

import json
import sys
import threading

import paho.mqtt.client as mqtt

PATIENCE_S = 20
FIXES = 20


def connected(client_id, protocol, host, port):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
    up = threading.Event()
    client.on_connect = lambda client, userdata, flags, reason, properties: up.set() if not reason.is_failure else None
    client.connect(host, port)
    client.loop_start()
    assert up.wait(PATIENCE_S), f"{client_id}: not connected"
    return client


def check(protocol, version, qos, host, port):
    driver = f"paho-{version}-{qos}"
    topic = f"tenant/default/driver/{driver}/location"

    subscriber = connected(f"{driver}-sub", protocol, host, port)
    subscribed, complete, received = threading.Event(), threading.Event(), []
    subscriber.on_subscribe = lambda client, userdata, mid, reasons, properties: subscribed.set()

    def on_message(client, userdata, message):
        received.append(json.loads(message.payload)["timestamp"])
        if len(received) == FIXES:
            complete.set()

    subscriber.on_message = on_message
    subscriber.subscribe(topic, qos=qos)
    assert subscribed.wait(PATIENCE_S), f"{driver}: not subscribed"

    publisher = connected(f"{driver}-pub", protocol, host, port)
    for n in range(FIXES):
        payload = json.dumps({"lat": 52.0 + n * 1e-5, "lon": 21.0, "timestamp": 1_700_000_000 + n})
        publisher.publish(topic, payload, qos=qos).wait_for_publish(PATIENCE_S)
    assert complete.wait(PATIENCE_S), f"{driver}: received {len(received)} of {FIXES}"
    assert received == sorted(set(received)), f"{driver}: out of order or repeated: {received}"

    for client in (publisher, subscriber):
        client.disconnect()
        client.loop_stop()


def main():
    host, port = sys.argv[1], int(sys.argv[2])
    for protocol, version in ((mqtt.MQTTv311, 3), (mqtt.MQTTv5, 5)):
        for qos in (0, 1, 2):
            check(protocol, version, qos, host, port)


main()
