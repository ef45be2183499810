//! From the router's deliveries to the client's: which become a PUBLISH for it, with what, and when.

use super::delivery::Outgoing;
use super::message::{ExpiryMs, Message};
use super::rumqttd::{Delivery, Gone};
use super::session::{Client, Life, Session};
use crate::mqtt::codec::{Publish, PublishProperties, ServerPacket, Version, encode};

impl Session {
    pub(super) fn delivered(&mut self, delivery: Delivery) -> Life {
        let router_pkid = delivery.wants_ack.then(|| self.deliveries.router_pkid());
        match self.outgoing(delivery, router_pkid) {
            Some(outgoing) => self.deliveries.queue(outgoing),
            None => {
                if let Some(pkid) = router_pkid {
                    self.deliveries.settle(pkid);
                }
            }
        }
        self.flush_and_acknowledge()
    }

    /// The publish that a delivery becomes for this client, if it becomes one.
    fn outgoing(&self, delivery: Delivery, router_pkid: Option<u16>) -> Option<Outgoing> {
        let message = delivery.message?;
        let subscription = self.subscriptions.by_number(delivery.subscription?)?;
        if subscription.options.no_local && message.publisher == self.id {
            return None;
        }
        let retain = message.retain && subscription.options.retain_as_published;
        self.publish_for(&message, subscription.options.qos, retain, subscription.identifier, router_pkid)
    }

    /// A message as a publish for this client, at the lesser QoS.
    pub(super) fn publish_for(
        &self,
        message: &Message,
        qos_max: u8,
        retain: bool,
        identifier: Option<u32>,
        router_pkid: Option<u16>,
    ) -> Option<Outgoing> {
        let mut properties = message.properties.clone();
        if let Some(identifier) = identifier {
            let properties = properties.get_or_insert_with(|| Box::new(PublishProperties::default()));
            properties.subscription_identifiers = vec![identifier];
        }
        let publish = Publish {
            dup: false,
            qos: message.qos.min(qos_max),
            retain,
            topic: self.name.mount.unmount(&message.topic)?.to_owned(),
            pkid: 0,
            payload: message.payload.clone(),
            properties,
        };
        Some(Outgoing { publish, expires_at: message.expires_at, router_pkid })
    }

    pub(super) fn flush_and_acknowledge(&mut self) -> Life {
        self.flush();
        if self.acknowledge().is_err() { self.lost() } else { Life::GoesOn }
    }

    /// Sends what may be sent.
    pub(super) fn flush(&mut self) {
        while let Some(Client { arrival, paused_since: None }) = &self.client {
            let (version, packet_bytes_max) = (arrival.version, arrival.packet_bytes_max);
            let Some(Outgoing { mut publish, expires_at, router_pkid }) = self.deliveries.next(arrival.receive_maximum)
            else {
                return;
            };
            let is_sendable = set_expiry(&mut publish, expires_at) && fits(version, packet_bytes_max, &mut publish);
            if is_sendable && publish.qos > 0 {
                publish = self.deliveries.keep(publish, router_pkid);
            } else if let Some(pkid) = router_pkid {
                self.deliveries.settle(pkid);
            }
            if is_sendable {
                self.answer(ServerPacket::Publish(publish));
            }
        }
    }

    /// Gives the router the acknowledgements that it may have.
    pub(super) fn acknowledge(&mut self) -> Result<(), Gone> {
        let Some(link) = &mut self.link else { return Ok(()) };
        while let Some(pkid) = self.deliveries.router_ack() {
            link.link.acknowledge(pkid)?;
        }
        Ok(())
    }
}

/// Writes how long the message has left [MQTT-3.3.2-6]; false if it is over.
fn set_expiry(publish: &mut Publish, expires_at: Option<ExpiryMs>) -> bool {
    let Some(at) = expires_at else { return true };
    let left_s = at.left_s();
    if let Some(left_s) = left_s {
        let properties = publish.properties.get_or_insert_with(|| Box::new(PublishProperties::default()));
        properties.message_expiry_s = Some(left_s);
    }
    left_s.is_some()
}

/// Whether the client takes a packet of this size [MQTT-3.1.2-24].
fn fits(version: Version, packet_bytes_max: Option<u32>, publish: &mut Publish) -> bool {
    let Some(bytes_max) = packet_bytes_max else { return true };
    // Any packet id is as long as the one that it will get.
    publish.pkid = u16::from(publish.qos > 0);
    let mut bytes = Vec::new();
    encode(version, &ServerPacket::Publish(publish.clone()), &mut bytes);
    publish.pkid = 0;
    bytes.len() <= bytes_max as usize
}
