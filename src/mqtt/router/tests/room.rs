//! Who makes room when sessions are many: an owner with its own, a tenant with its own, and at last whoever has the most away.

use super::*;

/// A client's name as the door has it.
fn owned(owner: &str, client_id: &str) -> String {
    format!("{owner}\0{client_id}")
}

fn mount(tenant: &str) -> Mount {
    Mount::Tenant(TenantId::new(tenant).unwrap())
}

/// A client of a tenant, of an owner of its own, whose session is kept.
fn kept_in(tenant: &str, name: &str) -> (String, impl FnOnce(&mut Attach)) {
    let mount = mount(tenant);
    let change = move |attach: &mut Attach| {
        kept(attach);
        attach.mount = mount;
    };
    (owned(name, "c"), change)
}

fn connect(router: &Router, tenant: &str, name: &str) -> Client {
    let (name, change) = kept_in(tenant, name);
    client_with(router, &name, change)
}

#[track_caller]
fn is_refused(router: &Router, name: &str, change: impl FnOnce(&mut Attach)) {
    let (mut attach, inbox, _) = attach(name);
    change(&mut attach);
    let link = router.attach(attach).unwrap();
    assert_eq!(inbox.recv_timeout(SOON), Ok(FromRouter::Closed(CloseReason::QuotaExceeded)));
    drop(link);
}

/// Tenant and name of who comes, and whose sessions are there before and after in the tenant that gives.
type Case = (&'static str, &'static str, &'static str, &'static [&'static str], &'static [&'static str]);

/// Which of the names have a session in a tenant.
fn there(router: &Router, tenant: &str, names: &[&str]) -> Vec<String> {
    let has_session = |name: &&&str| router.has_session(&mount(tenant), &owned(name, "c"));
    names.iter().filter(has_session).map(|name| (*name).to_owned()).collect()
}

#[test]
fn one_owner_takes_no_room_but_its_own() {
    let router = start_with(Config { sessions_per_owner_max: 3, ..Config::default() });
    let device = |client_id: &str| client_with(&router, &owned("truck-7\0device", client_id), kept);
    let is_kept = |client_id: &str| router.has_session(&Mount::Open, &owned("truck-7\0device", client_id));
    let staying = device("staying");
    staying.subscribe("a", 1);
    let other = client_with(&router, &owned("van-1", "c"), kept);
    drop(other);
    for number in 0..20 {
        drop(device(&number.to_string()));
    }
    assert_eq!(router.sessions(), 4);
    assert!(is_kept("19") && is_kept("18") && !is_kept("17") && !is_kept("0"), "the longest away went first");
    assert!(router.has_session(&Mount::Open, &owned("van-1", "c")), "who is away for longer still, and another's");
    let (second, third) = (device("18"), device("19"));
    assert!(second.session_present && third.session_present);
    is_refused(&router, &owned("truck-7\0device", "fourth"), kept);
    drop(second);
    drop(device("fifth"));
    assert!(is_kept("fifth") && !is_kept("18") && is_kept("19"));
    let publisher = client(&router, &owned("van-2", "c"));
    publisher.publish(message("a", 1, "still there"));
    assert_eq!(staying.payload(), "still there");
}

#[test]
fn one_tenant_takes_no_room_but_its_share() {
    let router = start_with(Config { sessions_per_tenant_max: 4, sessions_max: 6, ..Config::default() });
    drop(connect(&router, "acme", "longest-away"));
    let many: Vec<String> = (0..30).map(|number| format!("credential-{number}")).collect();
    for name in &many {
        drop(connect(&router, "globex", name));
    }
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(there(&router, "globex", &many), many[26..], "its own that were away for the longest went");
    assert_eq!(there(&router, "acme", &["longest-away"]), ["longest-away"]);
    let staying: Vec<_> = many[26..].iter().map(|name| connect(&router, "globex", name)).collect();
    assert!(staying.iter().all(|client| client.session_present));
    let (name, change) = kept_in("globex", "fifth");
    is_refused(&router, &name, change);
    let back = connect(&router, "acme", "longest-away");
    assert!(back.session_present && router.sessions() == 5, "the others are not concerned");
    // In open mode there is nobody to share with.
    for number in 0..7 {
        drop(client_with(&router, &number.to_string(), kept));
    }
    assert_eq!(router.sessions(), 6);
}

/// Whoever is alone in an engine has all of it, and finds all its sessions again after an upgrade.
#[test]
fn a_tenant_may_have_all_sessions_unless_it_is_told_otherwise() {
    let config = Config::default();
    assert_eq!(config.sessions_per_tenant_max, config.sessions_max);
}

#[test]
fn with_no_room_for_anybody_the_tenant_with_the_most_away_makes_it() {
    let config = Config { sessions_per_tenant_max: 5, sessions_max: 8, ..Config::default() };
    let router = start_with(config);
    for name in ["m1", "m2"] {
        drop(connect(&router, "modest", name));
    }
    let connected: Vec<_> = ["b1", "b2"].iter().map(|name| connect(&router, "busy", name)).collect();
    for name in ["h1", "h2", "h3", "h4"] {
        drop(connect(&router, "hoarding", name));
    }
    let cases: [Case; 4] = [
        ("busy", "b3", "hoarding", &["h1", "h2", "h3", "h4"], &["h2", "h3", "h4"]),
        ("modest", "m3", "hoarding", &["h2", "h3", "h4"], &["h3", "h4"]),
        ("modest", "m4", "modest", &["m1", "m2", "m3"], &["m2", "m3"]),
        ("hoarding", "h3", "hoarding", &["h3", "h4"], &["h3", "h4"]),
    ];
    let mut staying = Vec::new();
    for (tenant, name, giving, before, after) in cases {
        assert_eq!(there(&router, giving, before), before, "before {name}");
        let client = connect(&router, tenant, name);
        assert_eq!(there(&router, giving, before), after, "{name} came");
        assert_eq!(router.sessions(), 8);
        // Those of the modest tenant leave at once, so that it is the one with the most away.
        staying.extend((tenant != "modest").then_some(client));
    }
    assert_eq!(there(&router, "busy", &["b1", "b2", "b3"]).len(), 3, "none of them was away");
    drop(connected);
}

#[test]
fn with_everybody_connected_the_next_is_refused() {
    let router = start_with(Config { sessions_max: 2, ..Config::default() });
    let (one, two) = (connect(&router, "acme", "one"), connect(&router, "globex", "two"));
    let (name, change) = kept_in("initech", "three");
    is_refused(&router, &name, change);
    drop(two);
    let three = connect(&router, "initech", "three");
    assert!(!three.session_present && there(&router, "globex", &["two"]).is_empty());
    drop((one, three));
}
