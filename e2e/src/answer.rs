//! Answers of every API, read by the number of what was asked: for tests that ask all of them.

use std::fmt::Debug;

use anyhow::{Context, Result};
use bytes::Bytes;
use milena_protocol::Request;
use milena_protocol::header::decode_response;
use milena_protocol::sample::{Visitor, visit_apis};

/// What stands in a message's debug form before each of its errors: all fields that hold one have this name.
const ERROR_FIELD: &str = "error_code: ";
const NO_ERROR: &str = "None";

/// An answer that was decoded to its end.
#[derive(Debug)]
pub struct Answer {
    /// The API's name, such as `Metadata`.
    pub api: &'static str,
    /// Which request it is for.
    pub correlation_id: i32,
    /// All fields, in Rust's debug form.
    pub text: String,
}

impl Answer {
    /// Reads a frame without its length; an error where bytes are left over.
    pub fn read(key: i16, version: i16, frame: &Bytes) -> Result<Self> {
        let mut reading = Reading {
            key,
            version,
            frame,
            answer: None,
        };
        visit_apis(&mut reading);
        let answer = reading.answer;
        answer.with_context(|| format!("no API has the key {key}"))?
    }

    /// The names of all errors that it tells, in its order.
    pub fn errors(&self) -> Vec<&str> {
        let told = self.text.split(ERROR_FIELD).skip(1);
        told.filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next())
            .filter(|name| *name != NO_ERROR)
            .collect()
    }
}

struct Reading<'a> {
    key: i16,
    version: i16,
    frame: &'a Bytes,
    answer: Option<Result<Answer>>,
}

impl Visitor for Reading<'_> {
    fn visit<R>(&mut self)
    where
        R: Request,
        R::Response: Debug,
    {
        if R::KEY != self.key {
            return;
        }
        let read = decode_response::<R>(self.frame.clone(), self.version);
        let answer = read.map(|(correlation_id, response)| Answer {
            api: R::NAME,
            correlation_id,
            text: format!("{response:?}"),
        });
        let place = || format!("an answer to {} {}", R::NAME, self.version);
        self.answer = Some(answer.with_context(place));
    }
}
