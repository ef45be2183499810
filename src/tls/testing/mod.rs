//! Certificates for tests, and both ends of a session in memory.

mod authority;

use std::fs;
use std::path::Path;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, SupportedProtocolVersion};

pub(crate) use self::authority::{Authority, Pair};
use super::{ClientCertificates, Files, Server};

impl Authority {
    /// A server with a certificate for `localhost` in this directory, and these demands.
    pub(crate) fn server(&self, directory: &Path, client_certificates: ClientCertificates) -> Server {
        Server::load(self.files(directory, &self.sign_host(), client_certificates)).unwrap()
    }

    /// A certificate for `localhost`.
    pub(crate) fn sign_host(&self) -> Pair {
        self.sign("localhost", &["localhost"])
    }

    /// Writes everything that a server needs; nothing is revoked.
    pub(crate) fn files(&self, directory: &Path, pair: &Pair, client_certificates: ClientCertificates) -> Files {
        let write = |name: &str, content: &str| {
            let path = directory.join(name);
            fs::write(&path, content).unwrap();
            path
        };
        Files {
            certificate: write("server.pem", &pair.certificate),
            key: write("server.key", &pair.key),
            client_ca: write("ca.pem", &self.certificate),
            client_revocations: write("revoked.pem", &self.revoke(&[])),
            client_certificates,
        }
    }

    /// A session of a client that trusts this authority, and shows a certificate if it has one.
    pub(crate) fn session(&self, pair: Option<&Pair>, version: &'static SupportedProtocolVersion) -> ClientConnection {
        ClientConnection::new(self.client(pair, &[version]), ServerName::try_from("localhost").unwrap()).unwrap()
    }
}
