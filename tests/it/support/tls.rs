//! Certificates, and a client that speaks TLS.

#[path = "../../../src/tls/testing/authority.rs"]
mod authority;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ALL_VERSIONS, ClientConnection, StreamOwned};

use self::authority::Pair;
use super::PATIENCE;
use super::mqtt::{self, CONNACK, Packet, Version};

/// An authority, and the files of what it signed.
pub(crate) struct Authority {
    signer: authority::Authority,
    dir: tempfile::TempDir,
    /// By the names of their files.
    signed: Mutex<HashMap<String, Pair>>,
}

impl Authority {
    /// A new one, with a certificate for this machine.
    pub(crate) fn new() -> Self {
        let (signer, dir) = (authority::Authority::new(), tempfile::tempdir().unwrap());
        std::fs::write(dir.path().join("ca.pem"), &signer.certificate).unwrap();
        let authority = Self { signer, dir, signed: Mutex::default() };
        authority.renew();
        authority.revoke(&[]);
        authority
    }

    /// Gives this machine another certificate and key.
    pub(crate) fn renew(&self) {
        self.sign("server", &["localhost", "127.0.0.1"]);
    }

    /// Signs a certificate with this common name, also for these hosts, into `NAME.pem` and `NAME.key`.
    pub(crate) fn sign(&self, name: &str, hosts: &[&str]) {
        self.sign_into(name, name, hosts);
    }

    /// The same into `FILE.pem` and `FILE.key`, for a name that is no file's.
    pub(crate) fn sign_into(&self, file: &str, name: &str, hosts: &[&str]) {
        self.write(file, self.signer.sign(name, hosts));
    }

    /// Signs a certificate with this common name into `NAME.pem` and `NAME.key` that ends so long from now.
    pub(crate) fn sign_for(&self, file: &str, name: &str, lifetime: Duration) {
        self.write(file, self.signer.sign_for(name, &[], lifetime));
    }

    /// Says that these certificates, and no others, are revoked.
    pub(crate) fn revoke(&self, files: &[&str]) {
        let signed = self.signed.lock().unwrap();
        let pairs: Vec<&Pair> = files.iter().map(|file| &signed[*file]).collect();
        std::fs::write(self.path("revoked.pem"), self.signer.revoke(&pairs)).unwrap();
    }

    fn write(&self, file: &str, pair: Pair) {
        std::fs::write(self.path(&format!("{file}.key")), &pair.key).unwrap();
        std::fs::write(self.path(&format!("{file}.pem")), &pair.certificate).unwrap();
        self.signed.lock().unwrap().insert(file.to_owned(), pair);
    }

    /// A file of its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// As text, for a command line.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The settings of an engine with every listener on.
    pub(crate) fn sets(&self) -> Vec<String> {
        let mut sets: Vec<String> = ["mqtt.tls", "mqtt.websocket", "mqtt.websocket.tls"]
            .iter()
            .map(|listener| format!("{listener}.listen=127.0.0.1:0"))
            .collect();
        for (key, name) in [
            ("certificate", "server.pem"),
            ("key", "server.key"),
            ("client_ca", "ca.pem"),
            ("client_revocations", "revoked.pem"),
        ] {
            sets.push(format!("mqtt.tls.{key}={}", self.text(name)));
        }
        sets
    }

    /// Connects, and shakes hands.
    pub(crate) fn connect(&self, address: SocketAddr) -> io::Result<TlsClient> {
        self.connect_as(address, None)
    }

    /// The same, showing the certificate in these files.
    pub(crate) fn connect_as(&self, address: SocketAddr, file: Option<&str>) -> io::Result<TlsClient> {
        let pair = file.map(|file| self.signed.lock().unwrap()[file].clone());
        let config = self.signer.client(pair.as_ref(), ALL_VERSIONS);
        let session = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut stream = StreamOwned::new(session, socket);
        stream.conn.complete_io(&mut stream.sock)?;
        Ok(TlsClient(stream))
    }
}

/// The certificate in a file.
pub(crate) fn certificate(path: &Path) -> Vec<u8> {
    CertificateDer::from_pem_file(path).unwrap().to_vec()
}

/// A client over TLS.
pub(crate) struct TlsClient(StreamOwned<ClientConnection, TcpStream>);

impl TlsClient {
    /// The certificate that it was shown.
    pub(crate) fn shown(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// Sends bytes, whatever they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).and_then(|()| self.0.flush()).unwrap();
    }

    /// Becomes a WebSocket, with these further headers in the request.
    pub(crate) fn become_websocket(&mut self, further: &str) {
        let request = format!(
            "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: mqtt\r\n{further}\r\n"
        );
        self.send(request.as_bytes());
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            response.push(byte[0]);
        }
        assert!(response.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&response));
    }

    /// Sends a packet in a frame of a WebSocket, masked with zeros.
    pub(crate) fn send_framed(&mut self, packet: &[u8]) {
        let length = u16::try_from(packet.len()).unwrap().to_be_bytes();
        self.send(&[&[0x82, 0x80 | 126, length[0], length[1], 0, 0, 0, 0], packet].concat());
    }

    /// The next packet, which is in a short frame of its own.
    pub(crate) fn expect_framed(&mut self, kind: u8) -> Packet {
        let mut header = [0; 2];
        self.0.read_exact(&mut header).unwrap();
        assert!(header[0] == 0x82 && header[1] < 126, "{header:?}");
        self.expect(kind)
    }

    /// The next packet; `None` once the connection is closed.
    pub(crate) fn receive(&mut self) -> Option<Packet> {
        match mqtt::read_packet(&mut self.0) {
            Ok(packet) => Some(packet),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("heard nothing for {PATIENCE:?}"),
            Err(_) => None,
        }
    }

    /// The next packet, which has to be of this type.
    pub(crate) fn expect(&mut self, kind: u8) -> Packet {
        let packet = self.receive().unwrap_or_else(|| panic!("closed instead of a packet of type {kind}"));
        assert_eq!(packet.kind(), kind, "{packet:?}");
        packet
    }

    /// Sends CONNECT and is let in.
    pub(crate) fn say_connect(&mut self, version: Version, client_id: &str) {
        self.send(&mqtt::connect(version, client_id, 60));
        assert_eq!(self.expect(CONNACK).connack_code(), 0);
    }
}
