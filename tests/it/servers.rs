//! The servers that other scenarios lean on start, answer and leave nothing behind.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::mqtt::{Client, PUBACK, VERSIONS, publish};
use crate::support::servers::{Mosquitto, Postgres, Redis};

#[test]
fn mosquitto_acknowledges() {
    let mosquitto = Mosquitto::start();
    for version in VERSIONS {
        let mut client = Client::connect(mosquitto.address, version, "c");
        client.send(&publish(version, "t", b"x", 1, 7)).unwrap();
        assert_eq!(client.expect(PUBACK).id(), 7);
    }
}

#[test]
fn redis_answers() {
    let redis = Redis::start();
    let mut stream = TcpStream::connect(redis.address).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
}

#[test]
fn postgres_answers() {
    let postgres = Postgres::start();
    assert_eq!(postgres.query("select 1 + 1"), "2");
    let address = postgres.address;
    drop(postgres);
    assert!(TcpStream::connect(address).is_err(), "still listening on {address}");
}
