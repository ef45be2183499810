//! Takes new certificates, and new lists of revoked ones, over when their files change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task;
use tokio::time::{self, MissedTickBehavior};

use super::Server;
use super::files::{Look, Part};
use crate::clock::Clock;

/// How often the files are looked at. A change is taken over once two looks found the same, so that no half of a file is
/// read, and no new certificate with its former key. Doors look several times a second whether a client's is revoked: it is
/// gone within one.
const FILE_LOOK: Duration = Duration::from_millis(300);

/// How long after files were refused they are read again, though they look the same: what kept them from being read (their
/// mode, too many open files) does not show in a look, and whoever is revoked is not to stay for that.
const RETRY: Duration = Duration::from_secs(3);

/// Looks after the files for as long as the future is polled.
pub async fn watch(server: Arc<Server>, clock: Clock) {
    let mut interval = time::interval(FILE_LOOK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Not as they are now: they may have changed since, during a long start.
    let mut looks = Looks::new(server.loaded());
    let mut is_overdue_told = false;
    loop {
        interval.tick().await;
        if !is_overdue_told && server.revocations().are_overdue(clock.now()) {
            is_overdue_told = true;
            tracing::warn!(
                file = %server.revocations_path().display(),
                "a list of revoked client certificates should have been followed by another, and goes on to hold"
            );
        }
        let found = server.look();
        if !looks.are_to_be_read(found, Instant::now()) {
            continue;
        }
        let reloading = Arc::clone(&server);
        let (part, reason) = match task::spawn_blocking(move || reloading.reload()).await {
            Ok(Ok(())) => {
                looks.were_taken(found);
                is_overdue_told = false;
                let revoked = server.revocations().count();
                let certificate = server.certificate_path().display();
                tracing::info!(%certificate, revoked, "certificate read again, new connections see it");
                continue;
            }
            Ok(Err(error)) => (Some(error.part()), error.to_string()),
            Err(error) => (None, error.to_string()),
        };
        if looks.were_refused(found, &reason, Instant::now()) {
            tracing::error!(part = part.map(Part::key), reason, "{}", what_stays(part));
        }
    }
}

/// What is left of a reading that failed at this part, for the log.
fn what_stays(part: Option<Part>) -> &'static str {
    match part {
        // The lists were read before.
        Some(Part::Certificate | Part::Key) => {
            "certificate refused, the one before stays in use; lists of revoked client certificates hold as they are now"
        }
        Some(Part::ClientCa) => "authorities of client certificates refused, everything stays as it was",
        Some(Part::ClientRevocations) => "lists of revoked client certificates refused, everything stays as it was",
        None => "certificates could not be read, everything stays as it was",
    }
}

/// What the looks at the files tell of whether they are to be read.
#[derive(Debug)]
struct Looks {
    /// As they were when they were read.
    read: Look,
    last: Look,
    refused: Option<Refused>,
}

/// Files that were no good.
#[derive(Debug)]
struct Refused {
    at: Instant,
    reason: String,
}

impl Looks {
    fn new(loaded: Look) -> Self {
        Self { read: loaded, last: loaded, refused: None }
    }

    /// Takes a look down. Files are read that changed and have settled since, and from time to time those that were refused.
    fn are_to_be_read(&mut self, found: Look, now: Instant) -> bool {
        let is_settled = found == std::mem::replace(&mut self.last, found);
        let is_retry = self.refused.as_ref().is_some_and(|refused| now.duration_since(refused.at) >= RETRY);
        is_settled && (found != self.read || is_retry)
    }

    fn were_taken(&mut self, found: Look) {
        self.read = found;
        self.refused = None;
    }

    /// Tells whether that is news: other files, or another reason.
    fn were_refused(&mut self, found: Look, reason: &str, now: Instant) -> bool {
        let is_other = found != std::mem::replace(&mut self.read, found);
        let before = self.refused.replace(Refused { at: now, reason: reason.to_owned() });
        is_other || before.is_none_or(|before| before.reason != reason)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::SystemTime;

    use tempfile::tempdir;

    use super::*;
    use crate::tls::ClientCertificates;
    use crate::tls::testing::Authority;

    #[test]
    fn files_are_read_once_they_settled_and_again_while_they_are_refused() {
        let look = |length| [Some((1, length, SystemTime::UNIX_EPOCH)), None, None, None];
        let (begun, step) = (Instant::now(), Duration::from_millis(300));
        let mut looks = Looks::new(look(1));
        let mut asked = 0;
        let mut are_to_be_read = |looks: &mut Looks, length| {
            asked += 1;
            looks.are_to_be_read(look(length), begun + step * asked)
        };
        assert_eq!([1, 2, 3, 3].map(|length| are_to_be_read(&mut looks, length)), [false, false, false, true]);
        let refused_at = begun + step * 4;
        assert!(looks.were_refused(look(3), "no list", refused_at));
        let again = (1..).find(|_| are_to_be_read(&mut looks, 3)).unwrap();
        assert_eq!(step * again, RETRY);
        assert!(!looks.were_refused(look(3), "no list", refused_at + RETRY), "told already");
        assert!(looks.were_refused(look(3), "too many open files", refused_at + RETRY));
        assert!(looks.were_refused(look(4), "too many open files", refused_at + RETRY), "they are others");
        looks.were_taken(look(4));
        assert!(!(1..100).any(|_| are_to_be_read(&mut looks, 4)));
        assert!(looks.were_refused(look(4), "too many open files", refused_at + RETRY * 99));
    }

    #[tokio::test]
    async fn a_list_is_taken_that_could_not_be_read_before_and_looks_the_same() {
        let (directory, authority) = (tempdir().unwrap(), Authority::new());
        let server = Arc::new(authority.server(directory.path(), ClientCertificates::Required));
        let watching = tokio::spawn(watch(Arc::clone(&server), Clock::System));
        let path = directory.path().join("revoked.pem");
        let list = authority.revoke(&[&authority.sign("truck-7", &[])]);
        fs::write(&path, list.replace("BEGIN", "BEGUN")).unwrap();
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        // So long that it was read and refused.
        time::sleep(FILE_LOOK * 4).await;
        assert_eq!(server.revocations().count(), 0);
        fs::write(&path, list).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        let is_taken = async {
            while server.revocations().count() == 0 {
                time::sleep(FILE_LOOK).await;
            }
        };
        time::timeout(RETRY * 4, is_taken).await.unwrap();
        watching.abort();
    }
}
