//! Benchmarks that cost the client next to nothing: plain blocking sockets, a thread for each, and no look
//! into a record.

mod read;
mod write;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use milena_client::{Client, Connection, Error};
use milena_protocol::{DecodeError, ErrorCode, Request};

use crate::cli::failure::{Exit, Failure};

pub(super) use read::{Reading, consume};
pub(super) use write::produce;

/// The newest versions of Produce and Fetch that name topics.
const BY_NAME: i16 = 12;
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// A broker that says nothing for so long is not measured any further.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// The client's name for itself in the broker's logs.
const CLIENT_ID: &str = "milena-bench";

/// A thread's part of the work: a connection to one leader, and partitions of it.
struct Share {
    address: String,
    version: i16,
    partitions: Vec<i32>,
}

/// At least one share a leader, and `connections` of each leader's where there is one.
async fn shares<R: Request>(
    client: &Client,
    topic: &str,
    partitions: &[i32],
    connections: usize,
) -> Result<Vec<Share>, Failure> {
    let mut leaders: BTreeMap<String, (Connection, Vec<i32>)> = BTreeMap::new();
    for &partition in partitions {
        let leader = client.leader(topic, partition).await?;
        let entry = leaders.entry(leader.address().to_owned());
        entry
            .or_insert_with(|| (leader, Vec::new()))
            .1
            .push(partition);
    }
    let each = connections.div_ceil(leaders.len().max(1));
    let mut shares = Vec::new();
    for (address, (leader, led)) in leaders {
        let version = leader.version_up_to::<R>(BY_NAME).map_err(Error::from)?;
        for index in 0..each {
            shares.push(Share {
                address: address.clone(),
                version,
                partitions: part_of(&led, each, index),
            });
        }
    }
    Ok(shares)
}

/// The partitions of connection `index` of `count`; with more connections than partitions, some have the same.
fn part_of(partitions: &[i32], count: usize, index: usize) -> Vec<i32> {
    let own: Vec<i32> = partitions
        .iter()
        .copied()
        .skip(index)
        .step_by(count)
        .collect();
    match own.is_empty() {
        true => vec![partitions[index % partitions.len()]],
        false => own,
    }
}

/// Takes records from what is left to do; `false` where nothing is.
fn take(left: &AtomicU64, records: u64) -> bool {
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| match left {
        0 => None,
        u64::MAX => Some(u64::MAX),
        left => Some(left.saturating_sub(records)),
    });
    taken.is_ok()
}

fn connect(address: &str) -> Result<TcpStream, Failure> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(SILENCE_MAX))?;
    Ok(socket)
}

/// One answer without its length, in `buffer`'s memory where that is enough.
fn read_answer(socket: &mut impl Read, mut buffer: BytesMut) -> Result<Bytes, Failure> {
    let mut length = [0; 4];
    socket.read_exact(&mut length).map_err(silent)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > ANSWER_BYTES_MAX {
        let text = format!("the broker answers with {length} bytes: is it a Kafka broker?");
        return Err(Failure::new(Exit::Failed, text));
    }
    buffer.resize(length, 0);
    socket.read_exact(&mut buffer).map_err(silent)?;
    Ok(buffer.freeze())
}

fn silent(error: io::Error) -> Failure {
    let (exit, text) = match error.kind() {
        io::ErrorKind::WouldBlock => {
            let text = format!("the broker said nothing for {SILENCE_MAX:?}");
            (Exit::TimedOut, text)
        }
        io::ErrorKind::UnexpectedEof => (Exit::Failed, "the broker closed the connection".into()),
        _ => return error.into(),
    };
    Failure::new(exit, text)
}

fn unreadable(problem: DecodeError) -> Failure {
    let text = format!("the broker's answer can't be read: {problem}");
    Failure::new(Exit::Failed, text)
}

fn refused(what: &str, code: ErrorCode) -> Failure {
    Error::refused(what, code, None).into()
}

/// Waits for every thread; the first failure ends the benchmark.
async fn join(threads: Vec<tokio::task::JoinHandle<Result<(), Failure>>>) -> Result<(), Failure> {
    for thread in threads {
        thread
            .await
            .map_err(|bug| Failure::new(Exit::Failed, bug.to_string()))??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_a_connection_and_every_connection_a_partition() {
        assert_eq!(part_of(&[0, 1, 2], 2, 0), [0, 2]);
        assert_eq!(part_of(&[0, 1, 2], 2, 1), [1]);
        assert_eq!(part_of(&[7], 3, 2), [7]);
    }

    #[test]
    fn the_last_records_are_taken_once() {
        let left = AtomicU64::new(3);
        assert!(take(&left, 2) && take(&left, 2) && !take(&left, 2));
    }
}
