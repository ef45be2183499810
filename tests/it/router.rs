//! What a broker does beside telemetry, with mosquitto's clients: sessions and retained messages over restarts, shares, wills.

use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::support::mqtt::{VERSIONS, Version};
use crate::support::rhumb::Rhumb;
use crate::support::tools::{mosquitto_pub, mosquitto_publish, mosquitto_sub_as, said};
use crate::support::{native_fix, topic, wait_for};

/// Waits until so many subscriptions stand.
fn await_subscriptions(rhumb: &Rhumb, count: usize) {
    wait_for(&format!("{count} subscriptions"), || {
        (rhumb.metrics()["rhumb_mqtt_subscriptions"] == count as f64).then_some(())
    });
}

/// A `mosquitto_sub` under a session that is kept, with these arguments besides.
fn kept(rhumb: &Rhumb, version: Version, client_id: &str, args: &[&str]) -> Child {
    let mut all = vec!["-i", client_id, "-c", "-q", "1", "-F", "%t %p"];
    if version == Version::V5 {
        all.extend(["-x", "3600"]);
    }
    all.extend(args);
    mosquitto_sub_as(rhumb.mqtt(), version, &all)
}

/// Subscribes two clients that leave, publishes to them while they are away, and retains a message.
fn leave_behind(rhumb: &Rhumb) {
    for version in VERSIONS {
        said(kept(rhumb, version, &format!("away-{version:?}"), &["-t", "commands/#", "-E"]));
    }
    for number in 1..=3 {
        mosquitto_pub(rhumb.mqtt(), Version::V4, 1, &format!("commands/{number}"), "go");
    }
    mosquitto_publish(rhumb.mqtt(), Version::V5, &["-t", "status/gate", "-m", "open", "-q", "1", "-r"]);
    mosquitto_publish(rhumb.mqtt(), Version::V5, &["-t", "status/door", "-m", "shut", "-q", "1", "-r"]);
    mosquitto_publish(rhumb.mqtt(), Version::V5, &["-t", "status/door", "-n", "-q", "1", "-r"]);
}

/// Finds what was left behind.
fn find_again(rhumb: &Rhumb) {
    for version in VERSIONS {
        let back = kept(rhumb, version, &format!("away-{version:?}"), &["-t", "commands/#", "-C", "3"]);
        assert_eq!(said(back), "commands/1 go\ncommands/2 go\ncommands/3 go\n", "{version:?}\n{}", rhumb.log());
        let args = ["-t", "status/#", "-C", "1", "-F", "%r %t %p"];
        assert_eq!(said(mosquitto_sub_as(rhumb.mqtt(), version, &args)), "1 status/gate open\n", "{version:?}");
    }
}

#[test]
fn sessions_and_retained_messages_outlive_a_stop() {
    let mut rhumb = Rhumb::start(&[]);
    leave_behind(&rhumb);
    let (status, _) = rhumb.terminate();
    assert!(status.success());
    rhumb.restart();
    find_again(&rhumb);
}

#[test]
fn sessions_and_retained_messages_outlive_a_kill_once_they_are_saved() {
    let mut rhumb = Rhumb::start(&["mqtt.router.save_interval_s=1"]);
    leave_behind(&rhumb);
    // The last that was published goes, so that the one before it tells that all is there.
    let saved = |text: &str, file: &[u8]| file.windows(text.len()).any(|window| window == text.as_bytes());
    wait_for("all of it to be saved", || {
        let file = fs::read(rhumb.data_dir().join("router")).ok()?;
        (saved("status/gate", &file) && !saved("status/door", &file)).then_some(())
    });
    rhumb.kill9();
    rhumb.restart();
    find_again(&rhumb);
}

#[test]
fn a_damaged_file_of_sessions_does_not_stop_the_start() {
    let mut rhumb = Rhumb::start(&[]);
    leave_behind(&rhumb);
    mosquitto_pub(rhumb.mqtt(), Version::V5, 1, &topic("default", "d1"), &native_fix(1));
    rhumb.terminate();
    let path = rhumb.data_dir().join("router");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    rhumb.restart();
    assert!(rhumb.log().contains("beginning without them"), "{}", rhumb.log());
    assert_eq!(rhumb.metrics()["rhumb_mqtt_sessions"], 0.0);
    assert_eq!(rhumb.track("default", "d1").len(), 1);
    assert!(rhumb.data_dir().join("router.unusable").exists());
}

#[test]
fn a_share_group_divides_the_work() {
    let rhumb = Rhumb::start(&[]);
    let member = || mosquitto_sub_as(rhumb.mqtt(), Version::V5, &["-t", "$share/crew/jobs/+", "-q", "1", "-C", "10"]);
    let members = [member(), member()];
    await_subscriptions(&rhumb, 2);
    for number in 0..20 {
        mosquitto_pub(rhumb.mqtt(), Version::V4, 1, "jobs/next", &format!("job {number}"));
    }
    let mut jobs: Vec<String> = members.map(said).iter().flat_map(|said| said.lines()).map(str::to_owned).collect();
    jobs.sort_by_key(|job| job.strip_prefix("job ").unwrap().parse::<u32>().unwrap());
    assert_eq!(jobs, (0..20).map(|number| format!("job {number}")).collect::<Vec<_>>());
}

#[test]
fn a_will_waits_for_its_client_to_come_back() {
    let rhumb = Rhumb::start(&[]);
    let listener = mosquitto_sub_as(rhumb.mqtt(), Version::V5, &["-t", "gone/+", "-C", "1", "-F", "%t %p"]);
    let with_will = |client_id: &str| {
        let topic = format!("gone/{client_id}");
        let will = ["--will-topic", &topic, "--will-payload", "lost", "-D", "will", "will-delay-interval", "2"];
        let args = [&["-i", client_id, "-c", "-x", "60", "-t", "x"][..], &will].concat();
        mosquitto_sub_as(rhumb.mqtt(), Version::V5, &args)
    };
    let (mut back, mut lost) = (with_will("back"), with_will("lost"));
    await_subscriptions(&rhumb, 3);
    back.kill().unwrap();
    back.wait().unwrap();
    let begin = Instant::now();
    let mut again = with_will("back");
    wait_for("it to be back", || (rhumb.metrics()["rhumb_mqtt_connections"] == 3.0).then_some(()));
    lost.kill().unwrap();
    lost.wait().unwrap();
    // Had the first will not been called off, it would be the one that is heard.
    assert_eq!(said(listener), "gone/lost lost\n");
    assert!(begin.elapsed() >= Duration::from_secs(2), "{:?}", begin.elapsed());
    again.kill().unwrap();
    again.wait().unwrap();
}

#[test]
fn a_will_that_is_a_fix_waits_likewise() {
    let rhumb = Rhumb::start(&[]);
    let with_will = |driver: &str| {
        let topic = topic("default", driver);
        let fix = native_fix(1);
        let will = ["--will-topic", &topic, "--will-payload", &fix, "-D", "will", "will-delay-interval", "2"];
        let args = [&["-i", driver, "-c", "-x", "60", "-t", "x"][..], &will].concat();
        mosquitto_sub_as(rhumb.mqtt(), Version::V5, &args)
    };
    let (mut back, mut lost) = (with_will("back"), with_will("lost"));
    await_subscriptions(&rhumb, 2);
    back.kill().unwrap();
    back.wait().unwrap();
    let mut again = with_will("back");
    wait_for("it to be back", || (rhumb.metrics()["rhumb_mqtt_connections"] == 2.0).then_some(()));
    let begin = Instant::now();
    lost.kill().unwrap();
    lost.wait().unwrap();
    wait_for("the will", || (rhumb.books("default").stored > 0).then_some(()));
    // Times are told apart by tenths of a second.
    assert!(begin.elapsed() >= Duration::from_millis(1_900), "{:?}", begin.elapsed());
    // The first will, had it not been called off, would have been due before.
    assert_eq!(rhumb.books("default").stored, 1);
    assert_eq!(rhumb.track("default", "lost").len(), 1);
    again.kill().unwrap();
    again.wait().unwrap();
}

#[test]
fn the_last_fix_of_each_driver_is_offered_as_retained() {
    let rhumb = Rhumb::start(&["mqtt.retain_latest=true"]);
    for number in 1..=2 {
        for driver in ["d1", "d2"] {
            mosquitto_pub(rhumb.mqtt(), Version::V4, 1, &topic("default", driver), &native_fix(number));
        }
    }
    for version in VERSIONS {
        let args = ["-t", "tenant/default/driver/+/location", "-q", "1", "-C", "2", "-F", "%r %t %p"];
        let said = said(mosquitto_sub_as(rhumb.mqtt(), version, &args));
        let mut lines: Vec<&str> = said.lines().collect();
        lines.sort_unstable();
        for (line, driver) in lines.iter().zip(["d1", "d2"]) {
            assert!(
                line.starts_with(&format!("1 {} {{\"driver_id\":\"{driver}\"", topic("default", driver))),
                "{line}"
            );
            assert!(line.contains("2023-11-14T22:13:22Z"), "the last of them: {line}");
        }
    }
}
