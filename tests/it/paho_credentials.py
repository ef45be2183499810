"""Connects with paho in both protocol versions, with the right password and with a wrong one; exits 0 if each got what is due."""

import sys
import threading

import paho.mqtt.client as mqtt

PATIENCE_S = 20


def answer(protocol, host, port, user, password):
    """The name of the reason code that CONNACK has."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"paho-{protocol}", protocol=protocol)
    client.username_pw_set(user, password)
    answered, reasons = threading.Event(), []

    def on_connect(client, userdata, flags, reason, properties):
        reasons.append(str(reason))
        answered.set()

    client.on_connect = on_connect
    client.connect(host, port)
    client.loop_start()
    assert answered.wait(PATIENCE_S), f"no answer to {protocol}"
    client.disconnect()
    client.loop_stop()
    return reasons[0]


def main():
    host, port, user, password = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    for protocol in (mqtt.MQTTv311, mqtt.MQTTv5):
        for shown, expected in ((password, "Success"), ("wrong", "Bad user name or password"), (password, "Success")):
            found = answer(protocol, host, port, user, shown)
            assert found == expected, f"{protocol}: {found} instead of {expected}"


main()
