//! A bare MQTT client: packets in, packets out, wrong ones too.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};

use rustix::net::{AddressFamily, SocketType, bind, socket};

use super::PATIENCE;

/// Protocol level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// MQTT 3.1.1
    V4 = 4,
    /// MQTT 5
    V5 = 5,
}

/// Both versions.
pub(crate) const VERSIONS: [Version; 2] = [Version::V4, Version::V5];

pub(crate) const CONNACK: u8 = 2;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBACK: u8 = 4;
pub(crate) const PUBREC: u8 = 5;
pub(crate) const PUBCOMP: u8 = 7;
pub(crate) const SUBACK: u8 = 9;
pub(crate) const PINGRESP: u8 = 13;
pub(crate) const DISCONNECT: u8 = 14;

/// PINGREQ
pub(crate) const PINGREQ: &[u8] = &[0xC0, 0];

/// A packet as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    first: u8,
    pub(crate) body: Vec<u8>,
}

impl Packet {
    /// Its type.
    pub(crate) fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// The packet id of an acknowledgement.
    pub(crate) fn id(&self) -> u16 {
        u16::from_be_bytes([self.body[0], self.body[1]])
    }

    /// The code of a CONNACK.
    pub(crate) fn connack_code(&self) -> u8 {
        assert_eq!(self.kind(), CONNACK);
        self.body[1]
    }

    /// The reason of an acknowledgement, where leaving it out is success.
    pub(crate) fn ack_reason(&self) -> u8 {
        self.body.get(2).copied().unwrap_or(0)
    }

    /// The reasons of a SUBACK without properties.
    pub(crate) fn reasons(&self, version: Version) -> Vec<u8> {
        self.body[if version == Version::V5 { 3 } else { 2 }..].to_vec()
    }

    /// The topic of a PUBLISH; empty if only its alias came.
    pub(crate) fn topic(&self) -> String {
        let (length, rest) = self.body.split_first_chunk().unwrap();
        String::from_utf8(rest[..usize::from(u16::from_be_bytes(*length))].to_vec()).unwrap()
    }

    /// The reason of a DISCONNECT.
    pub(crate) fn disconnect_reason(&self) -> u8 {
        assert_eq!(self.kind(), DISCONNECT);
        self.body.first().copied().unwrap_or(0)
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    pub(crate) version: Version,
}

impl Client {
    /// A connection on which nothing was said.
    pub(crate) fn open(address: SocketAddr, version: Version) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, version }
    }

    /// A connection on which a CONNECT with credentials was sent.
    pub(crate) fn open_as(address: SocketAddr, version: Version, shown: Shown<'_>) -> Self {
        let mut client = Self::open(address, version);
        client.send(&connect_as(version, shown)).unwrap();
        client
    }

    /// The same from another address of this machine.
    pub(crate) fn open_as_from(from: IpAddr, address: SocketAddr, version: Version, shown: Shown<'_>) -> Self {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddr::new(from, 0)).unwrap();
        rustix::net::connect(&socket, &address).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Self { stream, version };
        client.send(&connect_as(version, shown)).unwrap();
        client
    }

    /// Whether something came that was not read yet, or the connection ended.
    pub(crate) fn has_heard(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let heard = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        !matches!(heard, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// A client that was let in.
    pub(crate) fn connect(address: SocketAddr, version: Version, client_id: &str) -> Self {
        Self::connect_keeping_alive(address, version, client_id, 60)
    }

    /// A client that was let in and promised to be heard of.
    pub(crate) fn connect_keeping_alive(
        address: SocketAddr,
        version: Version,
        client_id: &str,
        keep_alive_s: u16,
    ) -> Self {
        let mut client = Self::open(address, version);
        client.send(&connect(version, client_id, keep_alive_s)).unwrap();
        let connack = client.receive().expect("a CONNACK");
        assert_eq!(connack.connack_code(), 0, "{connack:?}");
        client
    }

    /// Sends bytes, whatever they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Ends the connection without a word.
    pub(crate) fn hang_up(&self) {
        drop(self.stream.shutdown(Shutdown::Both));
    }

    /// The next packet; `None` once the connection is closed.
    pub(crate) fn receive(&mut self) -> Option<Packet> {
        match read_packet(&mut self.stream) {
            Ok(packet) => Some(packet),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("heard nothing for {PATIENCE:?}")
            }
            Err(_) => None,
        }
    }

    /// The next packet, which has to be of this type.
    pub(crate) fn expect(&mut self, kind: u8) -> Packet {
        let packet = self.receive().unwrap_or_else(|| panic!("closed instead of a packet of type {kind}"));
        assert_eq!(packet.kind(), kind, "{packet:?}");
        packet
    }

    /// Publishes at QoS 1 and waits for the acknowledgement, which has to be a success.
    pub(crate) fn publish_acked(&mut self, topic: &str, payload: &str, id: u16) {
        self.send(&publish(self.version, topic, payload.as_bytes(), 1, id)).unwrap();
        let ack = self.expect(PUBACK);
        assert_eq!((ack.id(), ack.ack_reason()), (id, 0));
    }
}

/// The next packet of a stream.
pub(crate) fn read_packet(stream: &mut impl Read) -> io::Result<Packet> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    let first = byte[0];
    let mut length = 0;
    for shift in (0..28).step_by(7) {
        stream.read_exact(&mut byte)?;
        length |= usize::from(byte[0] & 0x7F) << shift;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Packet { first, body })
}

/// A packet of these first byte and body.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut rest = body.len();
    loop {
        let low = (rest & 0x7F) as u8;
        rest >>= 7;
        bytes.push(if rest > 0 { low | 0x80 } else { low });
        if rest == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

fn text(body: &mut Vec<u8>, text: &[u8]) {
    body.extend_from_slice(&(text.len() as u16).to_be_bytes());
    body.extend_from_slice(text);
}

/// CONNECT with a clean session.
pub(crate) fn connect(version: Version, client_id: &str, keep_alive_s: u16) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, b"MQTT");
    body.extend_from_slice(&[version as u8, 0x02]);
    body.extend_from_slice(&keep_alive_s.to_be_bytes());
    if version == Version::V5 {
        body.push(0);
    }
    text(&mut body, client_id.as_bytes());
    packet(0x10, &body)
}

/// What a CONNECT shows of who it is, and whether its session is kept.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) user: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
    /// For an hour after the connection ends.
    pub(crate) keeps_session: bool,
}

/// CONNECT with credentials.
pub(crate) fn connect_as(version: Version, shown: Shown<'_>) -> Vec<u8> {
    let Shown { client_id, user, password, keeps_session } = shown;
    let flags = [(!keeps_session, 0x02), (password.is_some(), 0x40), (user.is_some(), 0x80)];
    let mut body = Vec::new();
    text(&mut body, b"MQTT");
    body.push(version as u8);
    body.push(flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum());
    body.extend_from_slice(&60_u16.to_be_bytes());
    if version == Version::V5 {
        // Session expiry interval.
        body.extend_from_slice(if keeps_session { &[5, 0x11, 0, 0, 0x0E, 0x10] } else { &[0] });
    }
    for field in [Some(client_id), user, password].into_iter().flatten() {
        text(&mut body, field.as_bytes());
    }
    packet(0x10, &body)
}

/// CONNECT of version 3.1.1 with a clean session and a will at QoS 1.
pub(crate) fn connect_with_will(client_id: &str, topic: &str, payload: &str) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, b"MQTT");
    body.extend_from_slice(&[Version::V4 as u8, 0x0E, 0, 60]);
    for field in [client_id, topic, payload] {
        text(&mut body, field.as_bytes());
    }
    packet(0x10, &body)
}

/// The same of either version, with a user name and a password.
pub(crate) fn connect_with_will_as(
    version: Version,
    client_id: &str,
    (topic, payload): (&str, &str),
    who: (&str, &str),
) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, b"MQTT");
    body.extend_from_slice(&[version as u8, 0xCE, 0, 60]);
    // Properties of the connection and of the will.
    let none: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    body.extend_from_slice(none);
    text(&mut body, client_id.as_bytes());
    body.extend_from_slice(none);
    for field in [topic, payload, who.0, who.1] {
        text(&mut body, field.as_bytes());
    }
    packet(0x10, &body)
}

/// PUBLISH; the id counts from QoS 1 on.
pub(crate) fn publish(version: Version, topic: &str, payload: &[u8], qos: u8, id: u16) -> Vec<u8> {
    publish_raw(version, topic.as_bytes(), payload, qos, id)
}

/// PUBLISH on a topic that need not be text.
pub(crate) fn publish_raw(version: Version, topic: &[u8], payload: &[u8], qos: u8, id: u16) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, topic);
    if qos > 0 {
        body.extend_from_slice(&id.to_be_bytes());
    }
    if version == Version::V5 {
        body.push(0);
    }
    body.extend_from_slice(payload);
    packet(0x30 | qos << 1, &body)
}

/// PUBREL
pub(crate) fn pubrel(id: u16) -> Vec<u8> {
    packet(0x62, &id.to_be_bytes())
}

/// SUBSCRIBE to one filter.
pub(crate) fn subscribe(version: Version, filter: &str, qos: u8, id: u16) -> Vec<u8> {
    subscribe_all(version, &[(filter, qos)], id)
}

/// SUBSCRIBE to some filters, each with its QoS.
pub(crate) fn subscribe_all(version: Version, filters: &[(&str, u8)], id: u16) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    for (filter, qos) in filters {
        text(&mut body, filter.as_bytes());
        body.push(*qos);
    }
    packet(0x82, &body)
}

/// CONNECT of version 5 with a clean start and these properties, encoded.
pub(crate) fn connect_with(client_id: &str, keep_alive_s: u16, properties: &[u8]) -> Vec<u8> {
    let mut body = b"\0\x04MQTT\x05\x02".to_vec();
    body.extend_from_slice(&keep_alive_s.to_be_bytes());
    body.push(properties.len() as u8);
    body.extend_from_slice(properties);
    text(&mut body, client_id.as_bytes());
    packet(0x10, &body)
}

/// PUBLISH of version 5 with these properties, encoded.
pub(crate) fn publish_with(topic: &str, properties: &[u8], payload: &[u8], qos: u8, id: u16) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, topic.as_bytes());
    if qos > 0 {
        body.extend_from_slice(&id.to_be_bytes());
    }
    body.push(properties.len() as u8);
    body.extend_from_slice(properties);
    body.extend_from_slice(payload);
    packet(0x30 | qos << 1, &body)
}
