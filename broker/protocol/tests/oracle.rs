//! Every message in every version against two releases of the crate `kafka-protocol`, which is generated
//! from Kafka's own schemas: 0.18 knows Kafka 4's versions, and 0.15 those that Kafka 4 dropped.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Debug;
use std::ops::RangeInclusive;

use bytes::Bytes;
use milena_protocol::header::{encode_request, encode_response};
use milena_protocol::sample::{Sample, Source, Visitor, visit_apis};
use milena_protocol::{Reader, Request, Wire, Writer};

/// Random messages for each API, version and direction.
const ROUNDS: u64 = 8;

/// What an oracle made of bytes: the message's debug text, and the bytes that it writes for it.
type Reread = Result<(String, Bytes), String>;

struct Oracle {
    name: &'static str,
    versions: fn(i16) -> Option<RangeInclusive<i16>>,
    header_versions: fn(i16, i16) -> (i16, i16),
    request: fn(i16, i16, Bytes) -> Reread,
    response: fn(i16, i16, Bytes) -> Reread,
}

macro_rules! oracle {
    ($name:ident, $messages:path) => {
        mod $name {
            use super::{Bytes, Oracle, RangeInclusive, Reread};
            use bytes::BytesMut;
            use $messages as messages;

            pub const ORACLE: Oracle = Oracle {
                name: stringify!($name),
                versions,
                header_versions,
                request,
                response,
            };

            fn versions(key: i16) -> Option<RangeInclusive<i16>> {
                let key = messages::ApiKey::try_from(key).ok()?;
                let versions = key.valid_versions();
                Some(versions.min..=versions.max)
            }

            fn header_versions(key: i16, version: i16) -> (i16, i16) {
                let key = messages::ApiKey::try_from(key).unwrap();
                (
                    key.request_header_version(version),
                    key.response_header_version(version),
                )
            }

            macro_rules! reread {
                ($f:ident, $kind:ident) => {
                    fn $f(key: i16, version: i16, mut bytes: Bytes) -> Reread {
                        let key = messages::ApiKey::try_from(key).unwrap();
                        let message = messages::$kind::decode(key, &mut bytes, version)
                            .map_err(|e| format!("{e:#}"))?;
                        if !bytes.is_empty() {
                            return Err(format!("{} bytes are left of {message:?}", bytes.len()));
                        }
                        let mut written = BytesMut::new();
                        message
                            .encode(&mut written, version)
                            .map_err(|e| format!("{e:#}"))?;
                        Ok((format!("{message:?}"), written.freeze()))
                    }
                };
            }
            reread!(request, RequestKind);
            reread!(response, ResponseKind);
        }
    };
}

oracle!(today, kafka_protocol::messages);
oracle!(old, kafka_protocol_old::messages);

const ORACLES: [Oracle; 2] = [today::ORACLE, old::ORACLE];

/// The seed of this run, from `MILENA_SEED` where a failure is to be repeated.
fn seed() -> u64 {
    let seed = match std::env::var("MILENA_SEED") {
        Ok(text) => text.parse().expect("MILENA_SEED is a number"),
        Err(_) => std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
    };
    println!("MILENA_SEED={seed}");
    seed
}

fn write<T: Wire>(message: &T, version: i16, flexible: bool) -> Bytes {
    let mut w = Writer::new(version, flexible);
    message.write(&mut w);
    Bytes::from(w.into_frame().to_vec()).slice(4..)
}

/// Something that is done with random messages of both directions, in each version.
trait Check {
    fn check<T: Wire + Sample + PartialEq + Debug>(&mut self, direction: &Direction, message: T);
}

/// One API's requests or responses in one version.
struct Direction {
    key: i16,
    name: String,
    version: i16,
    flexible: bool,
    is_request: bool,
}

struct Everywhere<C> {
    check: C,
    seed: u64,
}

impl<C: Check> Everywhere<C> {
    fn direction<T>(
        &mut self,
        mut direction: Direction,
        versions: RangeInclusive<i16>,
        flexible_from: i16,
    ) where
        T: Wire + Sample + PartialEq + Debug,
    {
        for version in versions {
            direction.version = version;
            direction.flexible = version >= flexible_from;
            for round in 0..ROUNDS {
                let message = T::sample(&mut Source::new(self.seed.wrapping_add(round), version));
                self.check.check(&direction, message);
            }
        }
    }
}

impl<C: Check> Visitor for Everywhere<C> {
    fn visit<R>(&mut self)
    where
        R: Request + Sample + PartialEq + Debug,
        R::Response: Sample + PartialEq + Debug,
    {
        let direction = |is_request, kind| Direction {
            key: R::KEY,
            name: format!("{}{kind}", R::NAME),
            version: 0,
            flexible: false,
            is_request,
        };
        self.direction::<R>(direction(true, "Request"), R::VERSIONS, R::FLEXIBLE_FROM);
        self.direction::<R::Response>(direction(false, "Response"), R::VERSIONS, R::FLEXIBLE_FROM);
    }
}

fn everywhere<C: Check>(check: C) -> C {
    let seed = seed();
    let mut everywhere = Everywhere { check, seed };
    visit_apis(&mut everywhere);
    everywhere.check
}

#[test]
fn every_message_reads_back_as_it_was_written() {
    struct ReadsBack;
    impl Check for ReadsBack {
        fn check<T: Wire + PartialEq + Debug>(&mut self, d: &Direction, message: T) {
            let bytes = write(&message, d.version, d.flexible);
            let mut r = Reader::new(bytes, d.version, d.flexible);
            let read = T::read(&mut r).unwrap_or_else(|e| panic!("{} {}: {e}", d.name, d.version));
            assert_eq!(read, message, "{} {}", d.name, d.version);
            r.finish().unwrap();
        }
    }
    everywhere(ReadsBack);
}

#[test]
fn the_oracles_write_every_message_as_we_do() {
    #[derive(Default)]
    struct Oracles {
        checked: BTreeSet<(String, i16)>,
        too_new: BTreeSet<(String, i16)>,
    }
    impl Check for Oracles {
        fn check<T: Wire + Debug>(&mut self, d: &Direction, message: T) {
            let bytes = write(&message, d.version, d.flexible);
            let text = format!("{message:?}");
            for oracle in ORACLES {
                let place = (d.name.clone(), d.version);
                match oracle.reread(d, bytes.clone()) {
                    None => self.too_new.insert(place),
                    Some((read, written)) => {
                        let place =
                            format!("{} {} by the oracle {}", d.name, d.version, oracle.name);
                        assert_eq!(written, bytes, "{place}: {text}\nbut read {read}");
                        assert_same_order(&text, &read, &place);
                        self.checked.insert((d.name.clone(), d.version))
                    }
                };
            }
        }
    }
    let Oracles { checked, too_new } = everywhere(Oracles::default());
    // Versions of Kafka 4.2 and 4.3, and two requests that were unstable before; see `bytes.rs`.
    let beyond = [
        ("AddRaftVoterRequest", 1),
        ("AddRaftVoterResponse", 1),
        ("DescribeLogDirsRequest", 5),
        ("DescribeLogDirsResponse", 5),
        ("ListOffsetsRequest", 11),
        ("ListOffsetsResponse", 11),
        ("OffsetCommitRequest", 10),
        ("OffsetFetchRequest", 10),
    ];
    let unchecked: Vec<_> = too_new.difference(&checked).collect();
    let beyond = beyond.map(|(name, version)| (name.to_owned(), version));
    assert_eq!(unchecked, beyond.iter().collect::<Vec<_>>());
}

impl Oracle {
    /// `None` where the oracle does not know the version.
    fn reread(&self, d: &Direction, bytes: Bytes) -> Option<(String, Bytes)> {
        (self.versions)(d.key)?;
        let reread = if d.is_request {
            self.request
        } else {
            self.response
        };
        match reread(d.key, d.version, bytes) {
            Err(e) if e.contains("specified version not supported") => None,
            Err(e) => panic!("{} {} by the oracle {}: {e}", d.name, d.version, self.name),
            Ok(reread) => Some(reread),
        }
    }
}

/// Equal bytes would not show that two numbers have changed places: their names must be in one order.
fn assert_same_order(ours: &str, oracles: &str, place: &str) {
    let (ours, oracles) = (field_paths(ours), field_paths(oracles));
    let names = |paths: &[String]| paths.iter().cloned().collect::<HashSet<_>>();
    let (our_names, oracle_names) = (names(&ours), names(&oracles));
    // A field of versions that the other side does not know stands on one side alone.
    let ours = ours.iter().filter(|path| oracle_names.contains(*path));
    let oracles = oracles.iter().filter(|path| our_names.contains(*path));
    assert!(ours.eq(oracles), "{place}: the order of fields differs");
}

/// The fields of a message's debug text as `topics.partitions.index`, in order.
fn field_paths(text: &str) -> Vec<String> {
    let (mut paths, mut parents) = (Vec::new(), Vec::new());
    let (mut name, mut quoted, mut escaped) = (String::new(), false, false);
    for letter in text.chars() {
        if quoted {
            quoted = escaped || letter != '"';
            escaped = letter == '\\' && !escaped;
            continue;
        }
        match letter {
            '"' => quoted = true,
            ':' => {
                let parent = parents.last().map_or("", String::as_str);
                paths.push(format!("{parent}.{name}"));
            }
            '{' => parents.push(paths.last().cloned().unwrap_or_default()),
            '}' => drop(parents.pop()),
            'a'..='z' | '0'..='9' | '_' => name.push(letter),
            _ => name.clear(),
        }
    }
    paths
}

#[test]
fn versions_are_flexible_where_the_oracles_say_so() {
    struct Flexible;
    impl Visitor for Flexible {
        fn visit<R: Request>(&mut self) {
            for version in R::VERSIONS {
                for oracle in ORACLES {
                    if !(oracle.versions)(R::KEY).is_some_and(|known| known.contains(&version)) {
                        continue;
                    }
                    let (request, response) = (oracle.header_versions)(R::KEY, version);
                    let place = format!("{} {version} by the oracle {}", R::NAME, oracle.name);
                    assert_eq!(R::flexible(version), request >= 2, "{place}");
                    let ours = encode_response::<R>(&R::Response::default(), version, 1).len();
                    let body = write(&R::Response::default(), version, R::flexible(version));
                    let header = 4 + 4 + usize::from(response >= 1);
                    assert_eq!(ours - body.len(), header, "{place}");
                }
            }
        }
    }
    visit_apis(&mut Flexible);
}

#[test]
fn every_api_has_been_checked() {
    struct Names(Vec<String>);
    impl Visitor for Names {
        fn visit<R: Request>(&mut self) {
            self.0.push(R::NAME.to_lowercase());
        }
    }
    let mut visited = Names(Vec::new());
    visit_apis(&mut visited);
    let mut files: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/api"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .map(|file| file.trim_end_matches(".rs").replace('_', ""))
        .collect();
    files.sort();
    visited.0.sort();
    assert_eq!(visited.0, files);
}

#[test]
fn a_request_header_is_read_by_the_oracle() {
    use kafka_protocol::messages::RequestHeader;
    use kafka_protocol::protocol::Decodable;
    struct Headers;
    impl Visitor for Headers {
        fn visit<R: Request + Sample>(&mut self) {
            for version in R::VERSIONS {
                let request = R::sample(&mut Source::new(1, version));
                for client_id in [Some("client"), Some(""), None] {
                    let frame = encode_request(&request, version, 7, client_id).to_vec();
                    let mut bytes = Bytes::from(frame).slice(4..);
                    let header =
                        RequestHeader::decode(&mut bytes, 1 + i16::from(R::flexible(version)));
                    let header = header.unwrap();
                    assert_eq!(header.request_api_key, R::KEY);
                    assert_eq!(header.request_api_version, version);
                    assert_eq!(header.correlation_id, 7);
                    assert_eq!(header.client_id.as_deref(), client_id);
                    assert_eq!(bytes, write(&request, version, R::flexible(version)));
                }
            }
        }
    }
    visit_apis(&mut Headers);
}
