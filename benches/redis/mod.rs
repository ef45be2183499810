//! A Redis server of the bench's own, and the few commands that are compared with.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rhumb::units::Position;

/// Commands that are sent before the first answer is read.
const PIPELINE: usize = 64;
/// How long the server may take to listen.
const START_MAX: Duration = Duration::from_secs(10);
/// Members of one GEOADD.
const MEMBERS: usize = 16;

/// A server that ends with this.
pub(crate) struct Redis {
    server: Child,
    answers: BufReader<TcpStream>,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Redis {
    /// Starts one on a free port, which keeps nothing on disk; `None` if there is no `redis-server`.
    pub(crate) fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        let mut server = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        let start = Instant::now();
        while start.elapsed() < START_MAX {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
                stream.set_nodelay(true).ok()?;
                return Some(Self { server, answers: BufReader::new(stream) });
            }
            thread::yield_now();
        }
        let _ = server.kill();
        let _ = server.wait();
        None
    }

    /// GEOADD of members by number, pipelined.
    pub(crate) fn add(&mut self, members: impl Iterator<Item = (usize, Position)>) {
        let mut members = members.peekable();
        while members.peek().is_some() {
            let (mut commands, mut count) = (String::new(), 0);
            while count < PIPELINE && members.peek().is_some() {
                let mut words = vec!["GEOADD".to_owned(), "fleet".to_owned()];
                for (number, position) in members.by_ref().take(MEMBERS) {
                    // Redis knows no places nearer to the poles.
                    let latitude = position.latitude().clamp(-85.05, 85.05);
                    words.extend([position.longitude().to_string(), latitude.to_string(), format!("d{number}")]);
                }
                put(&mut commands, &words);
                count += 1;
            }
            self.send(&commands);
            (0..count).for_each(|_| {
                self.answer();
            });
        }
    }

    /// GEOSEARCH of the nearest within a radius; tells how many were found.
    pub(crate) fn search(&mut self, place: Position, radius_km: f64, limit: usize) -> usize {
        let mut command = String::new();
        put(&mut command, &search(place, radius_km, limit));
        self.send(&command);
        self.answer()
    }

    /// Searches a second, pipelined.
    pub(crate) fn search_piped(
        &mut self,
        mut place: impl FnMut() -> Position,
        radius_km: f64,
        limit: usize,
        lasts: Duration,
    ) -> f64 {
        let (start, mut done) = (Instant::now(), 0);
        while start.elapsed() < lasts {
            let mut commands = String::new();
            (0..PIPELINE).for_each(|_| put(&mut commands, &search(place(), radius_km, limit)));
            self.send(&commands);
            (0..PIPELINE).for_each(|_| {
                self.answer();
            });
            done += PIPELINE;
        }
        done as f64 / start.elapsed().as_secs_f64()
    }

    fn send(&mut self, commands: &str) {
        self.answers.get_mut().write_all(commands.as_bytes()).expect("redis listens");
    }

    /// Reads one answer: a number, or an array of members, each with its distance; tells how many.
    fn answer(&mut self) -> usize {
        let line = self.line();
        let count = line.get(1..).and_then(|text| text.parse::<usize>().ok());
        match (line.as_bytes().first(), count) {
            (Some(b':'), Some(_)) => 1,
            (Some(b'*'), Some(count)) => {
                // Each an array of two bulk strings: its length, then the length and the text of each.
                (0..5 * count).for_each(|_| {
                    self.line();
                });
                count
            }
            _ => panic!("redis answered {line}"),
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("redis answers");
        line.truncate(line.trim_end().len());
        line
    }
}

fn search(place: Position, radius_km: f64, limit: usize) -> Vec<String> {
    let latitude = place.latitude().clamp(-85.05, 85.05).to_string();
    let (longitude, radius, limit) = (place.longitude().to_string(), radius_km.to_string(), limit.to_string());
    ["GEOSEARCH", "fleet", "FROMLONLAT", &longitude, &latitude, "BYRADIUS", &radius, "km", "ASC", "COUNT", &limit]
        .into_iter()
        .chain(["WITHDIST"])
        .map(str::to_owned)
        .collect()
}

fn put(commands: &mut String, words: &[String]) {
    let written = write!(commands, "*{}\r\n", words.len())
        .and_then(|()| words.iter().try_for_each(|word| write!(commands, "${}\r\n{word}\r\n", word.len())));
    written.expect("writing to a string does not fail");
}
