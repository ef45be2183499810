use std::sync::mpsc::sync_channel;

use super::*;
use crate::auth::devices::file::Entry;
use crate::auth::tokens::Claims;

const NOW: TimestampMs = TimestampMs(1_800_000_000_000);
const PATIENCE: Duration = Duration::from_secs(20);

struct Fixture {
    authority: Authority,
    dir: tempfile::TempDir,
}

fn entry(tenant: &str, name: &str, password: &[u8]) -> Entry {
    Entry {
        tenant: TenantId::new(tenant).unwrap(),
        name: name.into(),
        role: Role::Device,
        driver: Some(DriverId::new("d1").unwrap()),
        created: String::new(),
        token_id: DeviceToken::id_of(password).map(str::to_owned),
        hash: passwords::hash(password).unwrap(),
    }
}

impl Fixture {
    fn new(entries: Vec<Entry>, config: &Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for entry in entries {
            file::add(dir.path(), entry).unwrap();
        }
        Self { authority: Authority::required(config, dir.path()).unwrap(), dir }
    }

    fn reload(&self) {
        self.authority.reload_devices(self.dir.path()).unwrap();
    }

    /// What comes of it, and whether that took a thread of its own.
    fn ask_at(&self, credentials: Credentials, address: &str, now: TimestampMs) -> (Verdict, bool) {
        let (tell, told) = sync_channel(1);
        let tell = move |verdict| tell.send(verdict).unwrap();
        match self.authority.ask(credentials, Some(address.parse().unwrap()), now, tell) {
            Answer::Now(verdict) => (verdict, false),
            Answer::Later(_waiting) => (told.recv_timeout(PATIENCE).unwrap(), true),
        }
    }

    fn ask(&self, user: &str, password: &str) -> (Verdict, bool) {
        self.ask_at(password_of(user, password), "192.0.2.1", NOW)
    }

    fn refusal(&self, user: &str, password: &str) -> Option<Refusal> {
        self.ask(user, password).0.err().map(|denied| denied.refusal)
    }

    fn token(&self, exp_s: i64) -> String {
        let claims = Claims {
            sub: "ann".to_owned(),
            tenant: "acme".to_owned(),
            role: "dispatcher".to_owned(),
            driver: None,
            exp: exp_s as f64,
            nbf: None,
        };
        crate::auth::sign(self.dir.path(), &claims).unwrap().0
    }
}

fn password_of(user: &str, password: &str) -> Credentials {
    Credentials::Password { user: user.to_owned(), password: password.as_bytes().to_vec() }
}

#[test]
fn a_device_comes_in_with_its_own_password_only() {
    let token = DeviceToken::new().unwrap().text;
    let entries = vec![entry("acme", "a", b"password a"), entry("blue", "b", token.as_bytes())];
    let fixture = Fixture::new(entries, &Config::default());
    let (verdict, took_thread) = fixture.ask("acme/a", "password a");
    let admitted = verdict.unwrap();
    assert!(took_thread);
    assert_eq!((admitted.principal.tenant.as_str(), &*admitted.principal.subject), ("acme", "a"));
    assert_eq!(fixture.ask("", &token).0.unwrap().principal.tenant.as_str(), "blue");
    assert_eq!(fixture.ask("b", &token).0.unwrap().principal.tenant.as_str(), "blue");

    let long = "x".repeat(PASSWORD_BYTES_MAX + 1);
    let wrong = [
        ("acme/a", "password b"),
        ("acme/a", ""),
        ("acme/a", token.as_str()),
        ("blue/b", "password a"),
        ("blue/a", "password a"),
        ("nobody", "password a"),
        ("", "password a"),
        ("", &token[..token.len() - 1]),
        ("acme/a", &long),
    ];
    for (user, password) in wrong {
        assert_eq!(fixture.refusal(user, password), Some(Refusal::BadPassword), "{user}");
    }
}

#[test]
fn a_name_that_nobody_has_costs_the_same_work_and_a_known_password_none() {
    let fixture = Fixture::new(vec![entry("acme", "a", b"password a")], &Config::default());
    assert!(fixture.ask("nobody", "password a").1 && fixture.ask("a", "password b").1);
    assert!(fixture.ask("a", "password a").1, "the first time");
    assert!(!fixture.ask("a", "password a").1, "it is remembered");
    assert!(fixture.ask("a", "password b").1 && fixture.ask("nobody", "password a").1, "what is wrong is not");
    fixture.reload();
    assert!(!fixture.ask("a", "password a").1, "still, when the file is read again");
    file::remove(fixture.dir.path(), "a").unwrap();
    file::add(fixture.dir.path(), Entry { role: Role::Driver, ..entry("acme", "a", b"password a") }).unwrap();
    fixture.reload();
    let (verdict, took_thread) = fixture.ask("a", "password a");
    assert!(took_thread && verdict.unwrap().principal.role == Role::Driver, "but not when it is another device");
}

#[test]
fn one_address_with_many_passwords_keeps_no_other_waiting() {
    let fixture = Fixture::new(vec![entry("acme", "a", b"password a")], &Config::default());
    let (tell, told) = sync_channel(512);
    let address = |text: &str| Some(text.parse().unwrap());
    let waiting: Vec<_> = (0..200)
        .map(|_| {
            let tell = tell.clone();
            let asked = fixture.authority.ask(password_of("a", "wrong"), address("192.0.2.1"), NOW, move |_| {
                tell.send(()).unwrap();
            });
            assert!(matches!(asked, Answer::Later(_)));
            asked
        })
        .collect();
    assert!(fixture.ask_at(password_of("a", "password a"), "192.0.2.2", NOW).0.is_ok());
    let done = told.try_iter().count();
    assert!(done < 100, "{done} of 200 came first");
    drop(waiting);
}

#[test]
fn what_nobody_waits_for_any_more_is_not_checked() {
    let fixture = Fixture::new(vec![entry("acme", "a", b"password a")], &Config::default());
    let (tell, told) = sync_channel(64);
    let asked: Vec<_> = (0..50)
        .map(|number| {
            let (tell, address) = (tell.clone(), format!("192.0.2.{number}").parse().unwrap());
            let tell = move |_| tell.send(number).unwrap();
            fixture.authority.ask(password_of("a", "wrong"), Some(address), NOW, tell)
        })
        .collect();
    assert!(asked.iter().all(|answer| matches!(answer, Answer::Later(_))));
    drop(asked);
    assert!(fixture.ask_at(password_of("a", "password a"), "192.0.2.99", NOW).0.is_ok(), "whoever waits is told");
    // All that was asked before it is done with: a few were under way, the others cost nothing.
    let inner = fixture.authority.0.as_ref().unwrap();
    let abandoned = inner.abandoned.load(Ordering::Relaxed);
    assert!(abandoned >= 40, "{abandoned} of 50");
    assert!(abandoned as usize + told.try_iter().count() >= 49, "the other thread may be at one of them");
}

#[test]
fn whoever_is_revoked_loses_its_standing_and_does_not_come_in_again() {
    let fixture =
        Fixture::new(vec![entry("acme", "a", b"password a"), entry("acme", "b", b"password b")], &Config::default());
    let [a, b] = ["a", "b"].map(|name| fixture.ask(name, &format!("password {name}")).0.unwrap().standing.unwrap());
    file::remove(fixture.dir.path(), "a").unwrap();
    fixture.reload();
    assert!(a.is_revoked() && !b.is_revoked());
    assert_eq!(fixture.refusal("a", "password a"), Some(Refusal::BadPassword));
    assert_eq!(fixture.refusal("b", "password b"), None);
}

#[test]
fn a_devices_file_that_cannot_be_read_leaves_everybody_as_they_were() {
    let fixture = Fixture::new(vec![entry("acme", "a", b"password a")], &Config::default());
    let standing = fixture.ask("a", "password a").0.unwrap().standing.unwrap();
    std::fs::write(fixture.dir.path().join(file::DEVICES_FILE), "{").unwrap();
    assert!(fixture.authority.reload_devices(fixture.dir.path()).is_err());
    assert!(!standing.is_revoked() && fixture.refusal("a", "password a").is_none());
}

#[test]
fn tokens_are_good_until_they_expire_whatever_the_user_name_is() {
    let fixture = Fixture::new(Vec::new(), &Config::default());
    let token = fixture.token(NOW.0 / 1_000 + 60);
    for user in ["", "ann", "acme/ann", "somebody"] {
        let (verdict, took_thread) = fixture.ask(user, &token);
        let admitted = verdict.unwrap();
        assert!(!took_thread && admitted.standing.is_none());
        assert_eq!((admitted.principal.role, &*admitted.principal.subject), (Role::Dispatcher, "ann"));
    }
    let later = fixture.ask_at(password_of("", &token), "192.0.2.1", NOW.saturating_add_ms(66_000)).0;
    assert_eq!(later.unwrap_err().refusal, Refusal::ExpiredToken);
}

#[test]
fn a_token_of_a_public_key_is_checked_aside_and_remembered_until_it_expires() {
    let key = |name| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/keys").join(name);
    let fixture = Fixture::new(Vec::new(), &Config { public_keys: vec![key("ed.pub.pem")], ..Config::default() });
    let private = std::fs::read(key("ed.pem")).unwrap();
    let claims = serde_json::json!({"sub": "ann", "tenant": "acme", "role": "ops_admin", "exp": NOW.0 / 1_000 + 60});
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
    let token =
        jsonwebtoken::encode(&header, &claims, &jsonwebtoken::EncodingKey::from_ed_pem(&private).unwrap()).unwrap();
    for took_thread in [true, false, false] {
        let (verdict, took) = fixture.ask("", &token);
        assert_eq!((verdict.unwrap().principal.role, took), (Role::OpsAdmin, took_thread));
    }
    let later = fixture.ask_at(password_of("", &token), "192.0.2.1", NOW.saturating_add_ms(66_000)).0;
    assert_eq!(later.unwrap_err().refusal, Refusal::ExpiredToken);
}

#[test]
fn certificates_name_a_driver_with_its_tenant_or_of_the_tenant_for_certificates() {
    let asked = |certificate_tenant: &str, names: &[&str]| {
        let config = Config { certificate_tenant: certificate_tenant.to_owned(), ..Config::default() };
        let names = names.iter().map(|name| Box::from(*name)).collect();
        let holder = Holder { names, ends_at: NOW.saturating_add_ms(1) };
        let verdict = Fixture::new(Vec::new(), &config).ask_at(Credentials::Certificate(holder), "192.0.2.1", NOW).0;
        verdict.map_err(|denied| denied.refusal).map(|admitted| {
            assert_eq!(admitted.principal.role, Role::Device);
            format!("{}/{}", admitted.principal.tenant, admitted.principal.driver.as_ref().unwrap())
        })
    };
    let bad = Err(Refusal::BadCertificate);
    assert_eq!(asked("", &["acme/d1"]), Ok("acme/d1".to_owned()));
    assert_eq!(asked("blue", &["acme/d1", "d2"]), Ok("acme/d1".to_owned()));
    assert_eq!(asked("blue", &["d2"]), Ok("blue/d2".to_owned()));
    assert_eq!(asked("", &["d2", "acme/d1"]), Ok("acme/d1".to_owned()), "the first that can be meant");
    assert_eq!(asked("blue", &["a device", "d2"]), Ok("blue/d2".to_owned()));
    for names in [&["d2"][..], &[], &["acme/d/1"], &["a b/d1"], &["acme/"], &["+/#"]] {
        assert_eq!(asked("", names), bad, "{names:?}");
    }
}

#[test]
fn whoever_came_in_with_a_certificate_goes_when_it_ends() {
    let fixture = Fixture::new(Vec::new(), &Config::default());
    let holder = Holder { names: vec!["acme/d1".into()], ends_at: NOW.saturating_add_ms(1_000) };
    let at = |now| fixture.ask_at(Credentials::Certificate(holder.clone()), "192.0.2.1", now).0;
    let principal = at(NOW).unwrap().principal;
    let end = NOW.saturating_add_ms(1_000 + crate::auth::tokens::LEEWAY_MS);
    assert!(!principal.is_expired(NOW) && principal.is_expired(end));
    assert_eq!(at(end).unwrap_err().refusal, Refusal::BadCertificate, "of a session that is resumed");
}

#[test]
fn who_fails_waits_longer_and_longer_and_a_success_shortens_that() {
    let fixture = Fixture::new(Vec::new(), &Config::default());
    let fail = |address: &str| fixture.ask_at(Credentials::None, address, NOW).0.unwrap_err();
    let delays: Vec<_> = (0..5).map(|_| fail("192.0.2.7").delay.as_millis()).collect();
    assert_eq!(delays, [0, 0, 0, 250, 500]);
    assert_eq!(fail("192.0.2.8").delay, Duration::ZERO);
    let token = fixture.token(NOW.0 / 1_000 + 60);
    assert!(fixture.ask_at(password_of("", &token), "192.0.2.7", NOW).0.is_ok());
    assert_eq!(fail("192.0.2.7").delay.as_millis(), 500);
    for _ in 0..3 {
        assert!(fixture.ask_at(password_of("", &token), "192.0.2.7", NOW).0.is_ok());
    }
    assert!(fail("192.0.2.7").delay.as_millis() <= 250);
}

#[test]
fn nothing_that_is_shown_is_printed() {
    let fixture = Fixture::new(vec![entry("acme", "a", b"password a")], &Config::default());
    let secret = std::fs::read(fixture.dir.path().join(SECRET_FILE)).unwrap();
    assert!(fixture.ask("a", "password a").0.is_ok());
    let printed = format!("{:?} {:?}", fixture.authority, password_of("a", "password a"));
    assert!(!printed.contains("password a") && !printed.contains(&format!("{secret:?}")), "{printed}");
}

#[test]
fn in_open_mode_everybody_is_the_default_tenants() {
    let Answer::Now(verdict) = Authority::open().ask(Credentials::None, None, NOW, |_| {}) else { panic!("it waits") };
    assert_eq!(*verdict.unwrap().principal, Principal::open(None).unwrap());
}
