//! rumqttc's two clients, one per protocol version, behind one face.

use rumqttc::v5::mqttbytes::QoS as QosV5;
use rumqttc::v5::mqttbytes::v5::{Packet as PacketV5, PubAckReason, PubRecReason};
use rumqttc::{Event as EventV3, MqttOptions as OptionsV3, Outgoing, Packet as PacketV3, QoS as QosV3, v5};

use crate::plan::{Plan, Qos, Version};
use crate::worker::{CONNECT_TIMEOUT, KEEP_ALIVE_S};

/// What happened on a connection, as far as a publishing device cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The broker let the device in.
    LetIn,
    /// The oldest publish that had not left yet has left, with this packet id.
    Left(u16),
    /// PUBACK or PUBREC; `false` if the broker refused the publish.
    Acknowledged(u16, bool),
    /// Anything else.
    Other,
}

/// The half that takes publishes.
#[derive(Clone)]
pub(super) enum Client {
    V3(rumqttc::AsyncClient),
    V5(v5::AsyncClient),
}

/// The half that does the work when polled.
pub(super) enum EventLoop {
    V3(Box<rumqttc::EventLoop>),
    V5(Box<v5::EventLoop>),
}

/// A client that connects at the first poll. It holds no publish longer than its event loop needs.
pub(super) fn open(plan: &Plan, id: &str) -> (Client, EventLoop) {
    let host = plan.address.ip().to_string();
    let keep_alive = std::time::Duration::from_secs(u64::from(KEEP_ALIVE_S));
    let capacity = usize::from(plan.window);
    match plan.version {
        Version::V3 => {
            let mut options = OptionsV3::new(id, host, plan.address.port());
            options.set_keep_alive(keep_alive).set_inflight(plan.window);
            if let Some(credentials) = &plan.credentials {
                options.set_credentials(&credentials.user, &credentials.password);
            }
            let (client, mut event_loop) = rumqttc::AsyncClient::new(options, capacity);
            event_loop.network_options.set_tcp_nodelay(true);
            event_loop.network_options.set_connection_timeout(CONNECT_TIMEOUT.as_secs());
            (Client::V3(client), EventLoop::V3(Box::new(event_loop)))
        }
        Version::V5 => {
            let mut options = v5::MqttOptions::new(id, host, plan.address.port());
            options.set_keep_alive(keep_alive).set_outgoing_inflight_upper_limit(plan.window);
            options.set_connection_timeout(CONNECT_TIMEOUT.as_secs());
            let mut network = options.network_options();
            network.set_tcp_nodelay(true);
            options.set_network_options(network);
            if let Some(credentials) = &plan.credentials {
                options.set_credentials(&credentials.user, &credentials.password);
            }
            let (client, event_loop) = v5::AsyncClient::new(options, capacity);
            (Client::V5(client), EventLoop::V5(Box::new(event_loop)))
        }
    }
}

impl Client {
    /// Hands a publish over; waits while the event loop is behind. `false` if the event loop is gone.
    pub(super) async fn publish(&self, topic: &str, qos: Qos, payload: &[u8]) -> bool {
        let payload = payload.to_vec();
        match self {
            Self::V3(client) => {
                let qos = [QosV3::AtMostOnce, QosV3::AtLeastOnce, QosV3::ExactlyOnce][qos as usize];
                client.publish(topic, qos, false, payload).await.is_ok()
            }
            Self::V5(client) => {
                let qos = [QosV5::AtMostOnce, QosV5::AtLeastOnce, QosV5::ExactlyOnce][qos as usize];
                client.publish(topic, qos, false, payload).await.is_ok()
            }
        }
    }

    /// Asks the event loop to say good-bye.
    pub(super) async fn disconnect(&self) -> bool {
        match self {
            Self::V3(client) => client.disconnect().await.is_ok(),
            Self::V5(client) => client.disconnect().await.is_ok(),
        }
    }
}

impl EventLoop {
    /// Works until something happens; an error is the end of the connection, and its reason.
    pub(super) async fn poll(&mut self) -> Result<Event, String> {
        match self {
            Self::V3(event_loop) => Ok(match event_loop.poll().await.map_err(|error| error.to_string())? {
                EventV3::Incoming(PacketV3::ConnAck(_)) => Event::LetIn,
                EventV3::Incoming(PacketV3::PubAck(ack)) => Event::Acknowledged(ack.pkid, true),
                EventV3::Incoming(PacketV3::PubRec(ack)) => Event::Acknowledged(ack.pkid, true),
                EventV3::Outgoing(Outgoing::Publish(id)) => Event::Left(id),
                EventV3::Incoming(_) | EventV3::Outgoing(_) => Event::Other,
            }),
            Self::V5(event_loop) => Ok(match event_loop.poll().await.map_err(|error| error.to_string())? {
                v5::Event::Incoming(PacketV5::ConnAck(_)) => Event::LetIn,
                v5::Event::Incoming(PacketV5::PubAck(ack)) => {
                    let taken = matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
                    Event::Acknowledged(ack.pkid, taken)
                }
                v5::Event::Incoming(PacketV5::PubRec(ack)) => {
                    let taken = matches!(ack.reason, PubRecReason::Success | PubRecReason::NoMatchingSubscribers);
                    Event::Acknowledged(ack.pkid, taken)
                }
                v5::Event::Outgoing(Outgoing::Publish(id)) => Event::Left(id),
                v5::Event::Incoming(_) | v5::Event::Outgoing(_) => Event::Other,
            }),
        }
    }
}
