//! Certificates, and a client that speaks TLS.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::PATIENCE;
use super::mqtt::{self, CONNACK, Packet, Version};

/// An authority, and the files of what it signed.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    dir: tempfile::TempDir,
}

impl Authority {
    /// A new one, with a certificate for this machine.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the tests' authority");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), &pem).unwrap();
        let authority = Self { issuer: Issuer::new(params, key), pem, dir };
        authority.renew();
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
        let hosts: Vec<String> = hosts.iter().map(|host| host.to_string()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{file}.pem")), certificate.pem()).unwrap();
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
        for (key, name) in [("certificate", "server.pem"), ("key", "server.key"), ("client_ca", "ca.pem")] {
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
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match file {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let certificate = CertificateDer::from_pem_file(self.path(&format!("{file}.pem"))).unwrap();
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{file}.key"))).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        let session = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
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
