//! What a session subscribed to, and how it tells the router.

use std::collections::HashMap;

use super::message::Message;
use super::mount::MountedFilter;
use super::rumqttd::Gone;
use super::session::Session;
use crate::mqtt::codec::{RetainHandling, ServerPacket, Subscription};

/// Retained messages that a session may have waiting; what a SUBSCRIBE matches beyond is not sent.
const RETAINED_WAITING_MAX: usize = 10_000;

const QUOTA_EXCEEDED: u8 = 0x97;
const NO_SUBSCRIPTION_EXISTED: u8 = 0x11;

/// One subscription.
#[derive(Debug)]
pub(super) struct Subscribed {
    pub(super) options: Subscription,
    pub(super) identifier: Option<u32>,
    mounted: MountedFilter,
}

impl Subscribed {
    fn is_shared(&self) -> bool {
        self.mounted.path != self.mounted.plain
    }
}

/// The subscriptions of a session, by the number that the router knows them by and by their filter.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    by_number: HashMap<usize, Subscribed>,
    numbers: HashMap<String, usize>,
    number_last: usize,
}

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    pub(super) fn by_number(&self, number: usize) -> Option<&Subscribed> {
        self.by_number.get(&number)
    }

    /// Adds or replaces; returns the number and what was there.
    fn put(&mut self, subscribed: Subscribed) -> (usize, Option<Subscribed>) {
        let number = *self.numbers.entry(subscribed.options.filter.clone()).or_insert_with(|| {
            self.number_last += 1;
            self.number_last
        });
        (number, self.by_number.insert(number, subscribed))
    }

    fn remove(&mut self, filter: &str) -> Option<Subscribed> {
        let number = self.numbers.remove(filter)?;
        self.by_number.remove(&number)
    }

    fn shared(&self) -> impl Iterator<Item = (usize, &Subscribed)> {
        self.by_number.iter().filter(|(_, subscribed)| subscribed.is_shared()).map(|(number, it)| (*number, it))
    }
}

impl Session {
    pub(super) fn subscribe(
        &mut self,
        pkid: u16,
        identifier: Option<u32>,
        subscriptions: Vec<Subscription>,
    ) -> Result<(), Gone> {
        let mut reasons = Vec::with_capacity(subscriptions.len());
        let mut retained = Vec::new();
        for options in subscriptions {
            let qos = options.qos;
            let is_added = self.subscribe_one(identifier, options, &mut retained)?;
            reasons.push(if is_added { qos } else { QUOTA_EXCEEDED });
        }
        self.answer(ServerPacket::SubAck { pkid, reasons });
        for (message, qos_max, identifier) in retained {
            if self.deliveries.waiting_len() < RETAINED_WAITING_MAX
                && let Some(outgoing) = self.publish_for(&message, qos_max, true, identifier, None)
            {
                self.deliveries.queue(outgoing);
            }
        }
        Ok(())
    }

    /// Whether there was room for it.
    fn subscribe_one(
        &mut self,
        identifier: Option<u32>,
        options: Subscription,
        retained: &mut Vec<(Message, u8, Option<u32>)>,
    ) -> Result<bool, Gone> {
        let is_new = !self.subscriptions.numbers.contains_key(&options.filter);
        let mounted = self.name.mount.filter(&options.filter);
        let has_room = self.subscriptions.len() < self.hub.config.subscriptions_max;
        // The router mixes up two share groups of one client over one filter.
        let is_taken = self.subscriptions.by_number.values().any(|other| other.mounted.plain == mounted.plain);
        if is_new && (is_taken || !has_room || !self.hub.admits(&mounted.plain)) {
            return Ok(false);
        }
        if self.link.is_none() {
            self.link = Some(self.hub.link()?);
        }
        let Some(link) = &mut self.link else { return Err(Gone) };
        let qos = options.qos;
        let handling = options.retain_handling;
        let subscribed = Subscribed { options, identifier, mounted };
        let is_shared = subscribed.is_shared();
        let (path, plain) = (subscribed.mounted.path.clone(), subscribed.mounted.plain.clone());
        let (number, before) = self.subscriptions.put(subscribed);
        // The router knows QoS 0, and above; it ignores the options of a second SUBSCRIBE.
        match before {
            None => {
                self.hub.shared.subscribed(&self.name.mount);
                link.link.subscribe(&path, qos > 0, number)?;
            }
            Some(before) if (before.options.qos > 0) != (qos > 0) => {
                link.link.unsubscribe(&path)?;
                link.link.subscribe(&path, qos > 0, number)?;
                self.join_groups_again(&path)?;
            }
            Some(_) => {}
        }
        let wants_retained = match handling {
            RetainHandling::Always => !is_shared,
            RetainHandling::IfNew => is_new && !is_shared,
            RetainHandling::Never => false,
        };
        if wants_retained {
            let room = RETAINED_WAITING_MAX.saturating_sub(retained.len());
            retained.extend(self.hub.retained(&plain, room).into_iter().map(|message| (message, qos, identifier)));
        }
        Ok(true)
    }

    pub(super) fn unsubscribe(&mut self, pkid: u16, filters: &[String]) -> Result<(), Gone> {
        let mut reasons = Vec::with_capacity(filters.len());
        for filter in filters {
            let Some(removed) = self.subscriptions.remove(filter) else {
                reasons.push(NO_SUBSCRIPTION_EXISTED);
                continue;
            };
            self.hub.shared.unsubscribed(&self.name.mount, 1);
            if let Some(link) = &mut self.link {
                link.link.unsubscribe(&removed.mounted.path)?;
            }
            self.join_groups_again(&removed.mounted.path)?;
            reasons.push(0);
        }
        self.answer(ServerPacket::UnsubAck { pkid, reasons });
        Ok(())
    }

    /// rumqttd takes a client that ends any subscription out of all its share groups; a SUBSCRIBE puts it back.
    fn join_groups_again(&mut self, but: &str) -> Result<(), Gone> {
        let Some(link) = &mut self.link else { return Ok(()) };
        for (number, subscribed) in self.subscriptions.shared() {
            if subscribed.mounted.path != but {
                link.link.subscribe(&subscribed.mounted.path, subscribed.options.qos > 0, number)?;
            }
        }
        Ok(())
    }
}
