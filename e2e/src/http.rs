//! The brokers' HTTP, as kubelet and an operator ask it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// For one answer, on a machine that is busy with the other tests.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// What follows the head.
    pub body: String,
}

/// Asks for a path at HOST:PORT.
pub fn get(http: &str, path: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(http)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Ok(Answer {
        status: status.ok_or(io::ErrorKind::InvalidData)?,
        body: body.to_owned(),
    })
}

/// Whether the broker there is ready.
pub fn is_ready(http: &str) -> bool {
    get(http, "/healthz/ready").is_ok_and(|answer| answer.status == 200)
}

/// What the broker there says of itself.
pub fn itself(http: &str) -> Result<Value> {
    let answer = get(http, "/v1/brokers/self")?;
    serde_json::from_str(&answer.body).with_context(|| format!("{http}: {answer:?}"))
}
