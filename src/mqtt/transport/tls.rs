//! TLS over a socket, by rustls: its records in, its records out, nothing that waits for either.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::{CertificateError, Error, ServerConnection};

use super::layer::{Fault, Layer, Received};
use crate::tls::{Holder, Revocations, Server};

/// Bytes that are encrypted at once, at most: one record's worth. So much, and what the handshake itself says, is all that
/// can wait here for the socket.
const SEND_BYTES_MAX: usize = 16 * 1024;

/// Reads of the socket in one call. Each brings 4 kB or so, which rustls sees to.
const READS_MAX: usize = 16;

/// Why a connection does not begin whose certificate was taken back.
pub(super) const REVOKED: &str = "the client's certificate is revoked";

/// A session over a socket.
#[derive(Debug)]
pub(in crate::mqtt) struct Tls<S> {
    session: ServerConnection,
    socket: S,
    fault: Option<Fault>,
    revocations: Arc<Revocations>,
    /// Which version of them has nothing against the client's certificate.
    cleared_by: Option<u64>,
}

impl<S> Tls<S> {
    /// Begins a session with whatever the server shows now.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub(super) fn begin(server: &Server, socket: S) -> io::Result<Self> {
        let session = server.session().map_err(io::Error::other)?;
        Ok(Self { session, socket, fault: None, revocations: Arc::clone(server.revocations()), cleared_by: None })
    }

    pub(super) fn below_mut(&mut self) -> &mut S {
        &mut self.socket
    }

    /// Whose certificate the client showed, if it showed one.
    pub(super) fn holder(&self) -> Option<Holder> {
        let shown = self.session.peer_certificates().and_then(<[_]>::first);
        shown.filter(|_| !self.session.is_handshaking()).and_then(Holder::of)
    }

    /// Whether the client showed a certificate that was revoked before the handshake, or since. Costs next to nothing as long as
    /// nothing new is known.
    pub(super) fn is_revoked(&mut self) -> bool {
        let version = Some(self.revocations.version());
        if self.session.is_handshaking() || self.cleared_by == version {
            return false;
        }
        let is_revoked = self.session.peer_certificates().is_some_and(|chain| self.revocations.have_any(chain));
        self.cleared_by = version.filter(|_| !is_revoked);
        is_revoked
    }
}

impl<S: Read + Write> Tls<S> {
    /// Takes decrypted bytes off the session; true once it has no more and none will follow.
    fn take_plain(&mut self, buffer: &mut [u8], filled: &mut usize) -> bool {
        while *filled < buffer.len() {
            match self.session.reader().read(&mut buffer[*filled..]) {
                Ok(0) => return true,
                Ok(count) => *filled += count,
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
        false
    }
}

impl<S: Read + Write> Layer for Tls<S> {
    fn receive(&mut self, buffer: &mut [u8]) -> Received {
        let mut filled = 0;
        // What was decrypted comes before whatever ends it. Whoever got it asks again and hears the end.
        let so_far = |filled, or_else| match filled {
            0 => or_else,
            count => Received::Bytes { count, is_drained: false },
        };
        for _ in 0..READS_MAX {
            let has_ended = self.take_plain(buffer, &mut filled);
            if has_ended {
                return so_far(filled, Received::End);
            }
            if filled == buffer.len() {
                break;
            }
            if let Some(fault) = self.fault {
                return so_far(filled, Received::Fault(fault));
            }
            match self.session.read_tls(&mut self.socket) {
                Ok(0) => {
                    // rustls knows by now whether the peer may have been cut off; the door treats both alike.
                    return so_far(filled, Received::End);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return match filled {
                        0 => Received::Nothing,
                        count => Received::Bytes { count, is_drained: true },
                    };
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return so_far(filled, Received::End),
            }
            if let Err(error) = self.session.process_new_packets() {
                tracing::debug!(%error, "tls failed");
                self.fault = Some(Fault::Tls(what_failed(&error)));
            }
            // The handshake's next words, or the alert that says what is wrong. What the socket does not take waits.
            if self.session.wants_write() {
                drop(self.flush());
            }
        }
        Received::Bytes { count: filled, is_drained: false }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let taken = self.session.writer().write(&bytes[..bytes.len().min(SEND_BYTES_MAX)])?;
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    fn has_unsent(&self) -> bool {
        self.session.wants_write()
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.session.send_close_notify();
        self.flush()
    }
}

/// What failed, for the log.
fn what_failed(error: &Error) -> &'static str {
    match error {
        Error::NoCertificatesPresented => "the client showed no certificate",
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the client's certificate is expired"
        }
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the client's certificate is of no authority in `client_ca`"
        }
        Error::InvalidCertificate(CertificateError::Revoked) => REVOKED,
        Error::InvalidCertificate(CertificateError::UnknownRevocationStatus) => {
            "no list in `client_revocations` is of the authority of the client's certificate"
        }
        Error::InvalidCertRevocationList(_) => {
            "the list in `client_revocations` is not good for the authority of the client's certificate"
        }
        Error::InvalidCertificate(_) => "the client's certificate is not good",
        Error::AlertReceived(_) => "the client refused",
        Error::InvalidMessage(_) => "what came is no TLS",
        Error::PeerIncompatible(_) => "the client offers no version or cipher of TLS 1.2 or 1.3 that is served",
        _ => "the client broke the protocol",
    }
}

#[cfg(test)]
mod tests;
