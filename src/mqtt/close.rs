//! Why connections end, as MQTT says it and as the log does.

use super::codec::Malformed;
use super::router::CloseReason;
use super::transport::Fault;

/// The reason codes that CONNACK refuses with (MQTT 5, 3.2.2.2).
const CONNACK_CODES: [u8; 21] = [
    0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C,
    0x9D, 0x9F,
];

/// Server unavailable: what ends a connection before CONNACK for which CONNACK has no word, and all the same may be tried again.
const SERVER_UNAVAILABLE: u8 = 0x88;

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// The client said DISCONNECT; its will is dropped, or not (reason 0x04).
    ByClient { publish_will: bool, session_expiry_s: Option<u32> },
    /// The client hung up, or the network did.
    Lost,
    /// What came was no TLS or no WebSocket; its own layer said so.
    Transport(Fault),
    /// No CONNECT within `mqtt.connect_timeout_s`.
    ConnectTimeout,
    /// Nothing heard for 1.5 × keep-alive [MQTT-3.1.2-22].
    KeepAliveTimeout,
    /// The client does not read its acknowledgements.
    WriteTimeout,
    /// A packet that is none.
    Malformed(Malformed),
    /// A packet over `mqtt.packet_bytes_max`.
    PacketTooLarge,
    /// More unacknowledged publishes than were offered.
    ReceiveMaximumExceeded,
    /// `mqtt.connections_max` is reached.
    TooManyConnections,
    /// The door speaks 3.1.1 and 5.
    UnsupportedVersion,
    /// An empty client id that asks for a session to be kept [MQTT-3.1.3-8].
    ClientIdRefused,
    /// A client id that is longer than any may be.
    ClientIdTooLong,
    /// No credentials came, and some are asked for.
    NotAuthorized,
    /// Credentials that are not right.
    BadCredentials,
    /// Too many credentials are being checked.
    AuthBusy,
    /// The credentials were taken back, or changed.
    Revoked,
    /// The token or the certificate has expired.
    Expired,
    /// Enhanced authentication is not offered.
    AuthMethodRefused,
    /// A will, or a publish of a client that cannot be told otherwise, on an ingest topic whose names are no ids.
    BadIngestTopic,
    /// The same for one tenant too many.
    TooManyTenants,
    /// A publish or a will where the client may not, from a client that cannot be told otherwise.
    TopicDenied,
    /// A topic over `mqtt.topic_bytes_max` or `mqtt.topic_levels_max`, from a client that cannot be told otherwise.
    TopicTooLarge,
    /// A message to be retained, while `mqtt.router.retained_max` lets none be.
    RetainNotSupported,
    /// An answer that is larger than the client takes.
    AnswerTooLarge,
    /// Another connection came with the same client id [MQTT-3.1.4-3].
    TakenOver,
    /// The router ended it.
    Router(CloseReason),
    /// The engine is not ready yet.
    Starting,
    /// The engine stops.
    Stopping,
}

impl Close {
    /// The reason code for the CONNACK that refuses, which knows fewer than DISCONNECT [MQTT-3.2.2-8].
    pub(super) fn connack_code(self) -> Option<u8> {
        let code = self.reason_code()?;
        Some(if CONNACK_CODES.contains(&code) { code } else { SERVER_UNAVAILABLE })
    }

    /// The reason code for MQTT 5's DISCONNECT; `None` where nothing is to be said.
    pub(super) fn reason_code(self) -> Option<u8> {
        Some(match self {
            Self::ByClient { .. } | Self::Lost | Self::Transport(_) | Self::ConnectTimeout | Self::WriteTimeout => {
                return None;
            }
            Self::KeepAliveTimeout => 0x8D,
            Self::Malformed(malformed) => malformed.reason,
            Self::PacketTooLarge | Self::AnswerTooLarge => 0x95,
            Self::ReceiveMaximumExceeded | Self::Router(CloseReason::ReceiveMaximumExceeded) => 0x93,
            Self::TooManyConnections
            | Self::TooManyTenants
            | Self::Router(CloseReason::Stalled | CloseReason::QuotaExceeded) => 0x97,
            Self::UnsupportedVersion => 0x84,
            Self::ClientIdRefused | Self::ClientIdTooLong => 0x85,
            Self::BadCredentials => 0x86,
            Self::NotAuthorized => 0x87,
            Self::AuthBusy => 0x89,
            Self::Revoked => 0x98,
            Self::Expired => 0xA0,
            Self::AuthMethodRefused => 0x8C,
            Self::TopicDenied => 0x87,
            Self::BadIngestTopic | Self::TopicTooLarge => 0x90,
            Self::RetainNotSupported => 0x9A,
            Self::TakenOver | Self::Router(CloseReason::TakenOver) => 0x8E,
            Self::Starting | Self::Router(CloseReason::Unavailable) => 0x88,
            Self::Stopping => 0x8B,
        })
    }

    /// The reason in words, for the CONNACK or DISCONNECT of MQTT 5; `None` where its code says it all. At most 100 bytes.
    pub(super) fn text(self) -> Option<&'static str> {
        Some(match self {
            Self::Malformed(malformed) => malformed.what,
            Self::KeepAliveTimeout => "nothing was heard for one and a half keep-alives",
            Self::PacketTooLarge => "the packet is larger than the Maximum Packet Size of CONNACK",
            Self::ReceiveMaximumExceeded | Self::Router(CloseReason::ReceiveMaximumExceeded) => {
                "more publishes in flight than the Receive Maximum of CONNACK"
            }
            Self::TooManyConnections => "there is no room for another connection",
            Self::UnsupportedVersion => "MQTT 3.1.1 and 5 are spoken here",
            Self::ClientIdRefused => "a session to be kept needs a client id",
            Self::ClientIdTooLong => "the client id is longer than 1,024 bytes",
            Self::NotAuthorized => "a token, a device's password or a client certificate is wanted",
            Self::BadCredentials => "these credentials are not good here",
            Self::AuthBusy => "too many credentials are being checked, come again later",
            Self::Revoked => "the credentials were taken back or changed",
            Self::Expired => "the credentials have expired",
            Self::AuthMethodRefused => "no enhanced authentication is offered",
            Self::Starting => "the server is starting",
            Self::Stopping => "the server stops",
            Self::BadIngestTopic => "the names in the topic are no ids",
            Self::TooManyTenants => "there is no room for another tenant",
            Self::TopicDenied => "this client may not publish on this topic",
            Self::TopicTooLarge => "the topic is too long or has too many levels",
            Self::RetainNotSupported => "no message is retained here",
            Self::AnswerTooLarge => "the answer is larger than the Maximum Packet Size of CONNECT",
            Self::TakenOver | Self::Router(CloseReason::TakenOver) => "another client came with this client id",
            Self::Router(CloseReason::Stalled) => "messages were left unread for too long",
            Self::Router(CloseReason::QuotaExceeded) => "there is no room for another session",
            _ => return None,
        })
    }

    /// The reason in metrics and logs.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::ByClient { .. } => "disconnected",
            Self::Lost => "lost",
            Self::Transport(fault) => fault.as_str(),
            Self::ConnectTimeout => "connect_timeout",
            Self::KeepAliveTimeout => "keep_alive_timeout",
            Self::WriteTimeout => "write_timeout",
            Self::Malformed(_) => "malformed_packet",
            Self::PacketTooLarge => "packet_too_large",
            Self::ReceiveMaximumExceeded => "receive_maximum_exceeded",
            Self::TooManyConnections => "too_many_connections",
            Self::UnsupportedVersion => "unsupported_version",
            Self::ClientIdRefused => "client_id_refused",
            Self::ClientIdTooLong => "client_id_too_long",
            Self::NotAuthorized => "not_authorized",
            Self::BadCredentials => "bad_credentials",
            Self::AuthBusy => "auth_busy",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::AuthMethodRefused => "auth_method_refused",
            Self::BadIngestTopic => "bad_ingest_topic",
            Self::TooManyTenants => "too_many_tenants",
            Self::TopicDenied => "topic_denied",
            Self::TopicTooLarge => "topic_too_large",
            Self::RetainNotSupported => "retain_not_supported",
            Self::AnswerTooLarge => "answer_too_large",
            Self::TakenOver => "taken_over",
            Self::Router(reason) => match reason {
                CloseReason::TakenOver => "taken_over",
                CloseReason::Stalled => "subscriber_stalled",
                CloseReason::ReceiveMaximumExceeded => "receive_maximum_exceeded",
                CloseReason::QuotaExceeded => "sessions_full",
                CloseReason::Unavailable => "router_unavailable",
            },
            Self::Starting => "starting",
            Self::Stopping => "stopping",
        }
    }

    /// Whether an operator wants to read of it. Of failed authentications the authority tells, with the address.
    pub(super) fn is_noteworthy(self) -> bool {
        !matches!(
            self,
            Self::ByClient { .. }
                | Self::Lost
                | Self::Starting
                | Self::Stopping
                | Self::TakenOver
                | Self::NotAuthorized
                | Self::BadCredentials
                | Self::AuthBusy
        )
    }

    /// Whether the will is published. Whoever may not come in any more leaves nothing behind.
    pub(super) fn publishes_will(self) -> bool {
        !matches!(self, Self::ByClient { publish_will: false, .. } | Self::Revoked | Self::Expired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_connack_has_no_code_for_is_told_as_unavailable() {
        for (why, disconnect, connack) in [
            (Close::Stopping, 0x8B, 0x88),
            (Close::TakenOver, 0x8E, 0x88),
            (Close::Router(CloseReason::TakenOver), 0x8E, 0x88),
            (Close::Expired, 0xA0, 0x88),
            (Close::BadCredentials, 0x86, 0x86),
            (Close::RetainNotSupported, 0x9A, 0x9A),
        ] {
            assert_eq!((why.reason_code(), why.connack_code()), (Some(disconnect), Some(connack)), "{why:?}");
        }
        assert_eq!(Close::Lost.connack_code(), None);
    }
}
