//! The refusing door over real sockets.

use std::net::SocketAddr;
use std::time::Instant;

use super::*;

const CONNECT_V4: &[u8] = &[0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 0];
const CONNECT_V5: &[u8] = &[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 60, 0, 0, 0];
const REFUSED_V4: &[u8] = &[0x20, 2, 0, 3];

/// Longer than any bound below, shorter than a test run may hang.
const PATIENCE: Duration = Duration::from_secs(20);

fn start(config: &Config) -> (Unready, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (Unready::start(listener, config).unwrap(), address)
}

async fn send(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// All that comes until the door closes.
async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset counts as a close.
    drop(time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the door closes in time"));
    bytes
}

async fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            time::sleep(Duration::from_millis(5)).await;
        }
    };
    time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited for {what}"));
}

#[tokio::test]
async fn a_connect_of_either_version_is_told_to_come_again() {
    let (unready, address) = start(&Config::default());
    assert_eq!(rest(send(address, CONNECT_V4).await).await, REFUSED_V4);
    let refused = rest(send(address, CONNECT_V5).await).await;
    assert_eq!(refused[..4], [0x20, 28, 0, 0x88]);
    assert!(refused.ends_with(b"the server is starting"), "{refused:?}");
    // At most 30 bytes are taken, and at most 29: maximum packet size, property 0x27.
    for (bytes_max, length) in [(30, 30), (29, 5)] {
        let mut connect = CONNECT_V5.to_vec();
        connect.splice(12..13, [5, 0x27, 0, 0, 0, bytes_max]);
        connect[1] += 5;
        let refused = rest(send(address, &connect).await).await;
        assert_eq!((refused.len(), refused[3]), (length, 0x88), "{refused:?}");
    }
    let stats = unready.stop().await.unwrap().1;
    wait_until("all to be counted out", || stats.connections() == 0).await;
    assert_eq!((stats.accepted(), stats.closed()), (4, vec![("starting", 4)]));
}

#[tokio::test]
async fn a_connect_may_come_in_pieces_and_with_more_behind_it() {
    let (_unready, address) = start(&Config::default());
    let mut pieces = send(address, &CONNECT_V4[..1]).await;
    for piece in [&CONNECT_V4[1..5], &CONNECT_V4[5..]] {
        time::sleep(Duration::from_millis(20)).await;
        pieces.write_all(piece).await.unwrap();
    }
    assert_eq!(rest(pieces).await, REFUSED_V4);
    let more = [CONNECT_V4, &[0x30; 100_000]].concat();
    assert_eq!(rest(send(address, &more).await).await, REFUSED_V4);
}

#[tokio::test]
async fn a_wrong_connect_is_refused_for_what_it_is() {
    let (_unready, address) = start(&Config::default());
    let mut other_level = CONNECT_V4.to_vec();
    other_level[8] = 3;
    assert_eq!(rest(send(address, &other_level).await).await, [0x20, 2, 0, 1], "unsupported version");
    let mut reserved_flag = CONNECT_V5.to_vec();
    reserved_flag[9] = 3;
    let refused = rest(send(address, &reserved_flag).await).await;
    assert_eq!(refused[2..4], [0, 0x81], "malformed packet");
    assert!(refused.ends_with(b"the reserved connect flag is set"), "{refused:?}");
}

#[tokio::test]
async fn what_is_no_connect_is_closed_without_a_word() {
    let config = Config { packet_bytes_max: 1_000, ..Config::default() };
    let (unready, address) = start(&config);
    let no_connects: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &[0xC0, 0],
        &[0; 3],
        &[0x10, 0xFF, 0xFF, 0xFF, 0xFF],
        &[0x10, 0xFF, 0x7F],
    ];
    for bytes in no_connects {
        let begun = Instant::now();
        assert!(rest(send(address, bytes).await).await.is_empty(), "{bytes:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{bytes:?}");
    }
    let closed = unready.stop().await.unwrap().1.closed();
    assert_eq!(closed, [("malformed_packet", 4), ("packet_too_large", 1)]);
}

#[tokio::test]
async fn one_connection_too_many_waits_until_a_silent_one_is_cut() {
    let config = Config { connections_max: 2, connect_timeout_s: 1, ..Config::default() };
    let (unready, address) = start(&config);
    let begun = Instant::now();
    let silent = [send(address, &[]).await, send(address, &CONNECT_V4[..3]).await];
    wait_until("the silent to be accepted", || unready.stats.connections() == 2).await;
    let third = send(address, CONNECT_V4).await;
    assert_eq!(rest(third).await, REFUSED_V4);
    assert!(begun.elapsed() >= Duration::from_secs(1), "the third waited for a place");
    for silent in silent {
        assert!(rest(silent).await.is_empty());
    }
    assert_eq!(unready.stats.closed(), [("connect_timeout", 2), ("starting", 1)]);
}

#[tokio::test]
async fn who_waits_is_handed_on_and_who_was_accepted_is_answered() {
    let config = Config { connections_max: 1, ..Config::default() };
    let (unready, address) = start(&config);
    let mut accepted = send(address, &[]).await;
    wait_until("one to be accepted", || unready.stats.connections() == 1).await;
    let _waiting = send(address, CONNECT_V4).await;
    let (listener, stats) = unready.stop().await.unwrap();

    accepted.write_all(CONNECT_V4).await.unwrap();
    assert_eq!(rest(accepted).await, REFUSED_V4);
    wait_until("it to be counted out", || stats.connections() == 0).await;
    let (handed_on, _) = listener.accept().expect("the waiting one");
    handed_on.set_nonblocking(true).unwrap();
    let mut handed_on = TcpStream::from_std(handed_on).unwrap();
    let mut bytes = [0; CONNECT_V4.len()];
    handed_on.read_exact(&mut bytes).await.unwrap();
    assert_eq!(bytes, CONNECT_V4);
    // The listener goes on listening for those who come later.
    let _later = TcpStream::connect(address).await.unwrap();
}
