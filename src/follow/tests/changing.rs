//! Changes through a running follower: what is allowed, and when it is in force.

use super::*;
use crate::sink::{self, SinkHandle};

struct Running {
    written: Written,
    sink: Option<SinkHandle>,
    changes: Changes,
}

impl Running {
    fn start(config: &Config) -> Self {
        let written = Written::new();
        let tables = Tables::open(&written.dir.path().join("follow")).unwrap();
        let follower = Follower::new(tables, config, Feed::default(), written.followed()).unwrap();
        let registry = follower.registry();
        let fed = sink::Config { batch_age_ms_max: 5, sync_interval_ms: 20, ..sink::Config::default() };
        let sink = sink::start(follower, fed, Arc::clone(&written.journal)).unwrap();
        let changes = Changes::new(&written.journal, registry, Arc::clone(sink.status()), config, 2);
        Self { written, sink: Some(sink), changes }
    }

    async fn put(
        &self,
        tenant_name: &str,
        id: &str,
        body: &str,
        condition: &Condition,
    ) -> Result<(Applied, bool), Refused> {
        let ticket =
            self.changes.put(&tenant(tenant_name), &fence(id), measured(body.as_bytes()), condition, TimestampMs(0))?;
        let existed = ticket.existed;
        Ok((self.changes.finish(ticket).await?, existed))
    }

    async fn remove(&self, tenant_name: &str, id: &str, condition: &Condition) -> Result<Applied, Refused> {
        let ticket = self.changes.remove(&tenant(tenant_name), &fence(id), condition, TimestampMs(0))?;
        self.changes.finish(ticket).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(sink) = self.sink.take() {
            sink.stop(WITHIN);
        }
    }
}

#[tokio::test]
async fn a_change_is_in_force_when_it_is_answered() {
    let running = Running::start(&Config::default());
    let body = circle(0.0, 100.0, "");
    let (first, existed) = running.put("acme", "gate", &body, &Condition::None).await.unwrap();
    // The rules come first.
    assert_eq!((first, existed), (Applied { version: 2, in_force: true }, false));
    let kept = running.changes.registry().get("acme", "gate").unwrap();
    assert_eq!((kept.version, &*kept.spec), (2, body.as_bytes()));
    assert!(running.changes.registry().get("other", "gate").is_none());
    let (second, existed) = running.put("acme", "gate", &body, &Condition::Versions(vec![2])).await.unwrap();
    assert_eq!((second.version, existed), (3, true));
    for (condition, holds) in [
        (Condition::Versions(vec![2]), false),
        (Condition::Absent, false),
        (Condition::Exists, true),
        (Condition::Versions(vec![1, 4]), true),
    ] {
        let put = running.put("acme", "gate", &body, &condition).await;
        assert_eq!(put.is_ok(), holds, "{condition:?}: {put:?}");
    }
    assert_eq!(running.remove("acme", "gate", &Condition::Versions(vec![3])).await, Err(Refused::Condition));
    assert!(running.remove("acme", "gate", &Condition::Exists).await.unwrap().in_force);
    assert!(running.changes.registry().get("acme", "gate").is_none());
    assert_eq!(running.remove("acme", "gate", &Condition::None).await, Err(Refused::Unknown));
    assert!(running.put("acme", "gate", &body, &Condition::Absent).await.is_ok());
}

/// A description with the memory that its fence takes.
fn measured(body: &[u8]) -> (&[u8], usize) {
    let spec = serde_json::from_slice(body).unwrap();
    (body, Fence::new(fence("any"), 1, &spec).unwrap().len_bytes())
}

/// Eighty bytes that take seventy thousand.
#[tokio::test]
async fn what_a_fence_takes_counts_and_not_how_it_is_described() {
    let long = r#"{"geometry":{"type":"LineString","coordinates":[[0,50],[20,50]]},"width_m":50}"#;
    let (_, built_bytes) = measured(long.as_bytes());
    assert!(built_bytes > 500 * long.len(), "{built_bytes}");
    let config = Config { bytes_max: 3 * built_bytes, ..Config::default() };
    let running = Running::start(&config);
    for id in ["a", "b"] {
        assert!(running.put("acme", id, long, &Condition::None).await.is_ok());
    }
    assert_eq!(running.put("acme", "c", long, &Condition::None).await, Err(Refused::Full));
    running.remove("acme", "a", &Condition::None).await.unwrap();
    assert!(running.put("acme", "c", long, &Condition::None).await.is_ok());
}

#[tokio::test]
async fn fences_are_bounded_also_by_those_under_way() {
    let body = circle(0.0, 100.0, "");
    let config =
        Config { per_tenant_max: 3, bytes_max: (body.len() + measured(body.as_bytes()).1) * 5, ..Config::default() };
    let running = Running::start(&config);
    let acme = tenant("acme");
    let begin =
        |id: &str| running.changes.put(&acme, &fence(id), measured(body.as_bytes()), &Condition::None, TimestampMs(0));
    let tickets: Vec<_> = ["a", "b", "c"].map(begin).into_iter().map(Result::unwrap).collect();
    assert!(tickets.iter().all(|ticket| !ticket.existed));
    assert_eq!(begin("d").unwrap_err(), Refused::TenantFull { per_tenant_max: 3 });
    assert!(begin("c").unwrap().existed, "one that is on its way is replaced");
    for ticket in tickets {
        assert!(running.changes.finish(ticket).await.unwrap().in_force);
    }
    assert_eq!(begin("d").unwrap_err(), Refused::TenantFull { per_tenant_max: 3 });
    running.remove("acme", "a", &Condition::None).await.unwrap();
    assert!(running.put("acme", "d", &body, &Condition::None).await.is_ok());

    assert!(running.put("other", "a", &body, &Condition::None).await.is_ok());
    assert_eq!(running.put("third", "a", &body, &Condition::None).await, Err(Refused::Full), "a third tenant");
    let longer = circle(0.0, 100.0, r#","name":"A name""#);
    assert!(running.put("other", "b", &body, &Condition::None).await.is_ok());
    assert_eq!(running.put("other", "b", &longer, &Condition::None).await, Err(Refused::Full), "bytes");
    let too_long = vec![b' '; crate::journal::CHANGE_BODY_BYTES_MAX + 1];
    let put = running.changes.put(&acme, &fence("a"), (&too_long, 0), &Condition::None, TimestampMs(0));
    assert_eq!(put.unwrap_err(), Refused::TooLong);
}

#[tokio::test]
async fn a_thousand_changes_at_once_are_all_in_force_or_told_to_come_again() {
    let running = Running::start(&Config::default());
    let acme = tenant("acme");
    let body = circle(0.0, 100.0, "");
    let mut tickets = Vec::new();
    let mut refused = 0;
    for number in 0..1_000 {
        match running.changes.put(
            &acme,
            &fence(&format!("f{number}")),
            measured(body.as_bytes()),
            &Condition::None,
            TimestampMs(0),
        ) {
            Ok(ticket) => tickets.push(ticket),
            Err(error) => {
                assert_eq!(error, Refused::Unavailable);
                refused += 1;
            }
        }
    }
    let put = tickets.len();
    assert!(put >= 60 && put + refused == 1_000, "{put} {refused}");
    let mut versions = std::collections::BTreeSet::new();
    for ticket in tickets {
        let applied = running.changes.finish(ticket).await.unwrap();
        assert!(applied.in_force && versions.insert(applied.version));
    }
    assert_eq!(running.changes.registry().counts(), [(acme.clone(), put)]);
    let (page, has_more) = running.changes.registry().list("acme", None, 10, usize::MAX);
    assert!(page.len() == 10 && has_more);
    let (rest, has_more) = running.changes.registry().list("acme", Some(&page[9].0), 10_000, usize::MAX);
    assert_eq!((rest.len(), has_more), (put - 10, false));
}

#[tokio::test]
async fn other_rules_are_journalled_before_the_next_change() {
    let running = Running::start(&Config::default());
    let body = circle(0.0, 100.0, "");
    running.put("acme", "gate", &body, &Condition::None).await.unwrap();
    let journal = &running.written.journal;
    let status = Arc::clone(running.sink.as_ref().unwrap().status());
    let changed = |hysteresis_m| {
        let config = Config { hysteresis_m, ..Config::default() };
        let registry = running.changes.shared_registry();
        Changes::new(journal, registry, Arc::clone(&status), &config, 2)
    };
    let last = journal.watermark().get();
    changed(20).keep_rules(TimestampMs(0));
    assert_eq!(journal.watermark().get(), last, "they are journalled already");
    let changes = changed(30);
    changes.keep_rules(TimestampMs(0));
    changes.keep_rules(TimestampMs(0));
    let put =
        changes.put(&tenant("acme"), &fence("gate"), measured(body.as_bytes()), &Condition::Exists, TimestampMs(0));
    assert_eq!(changes.finish(put.unwrap()).await.unwrap().version, last + 2, "once, and before what comes next");
    let rules = running.changes.registry().read().rules_of("acme").unwrap();
    assert_eq!(rules.hysteresis_m, 30.0);
}
