//! From a produce request's bytes to batches that may be appended, or the reason why not.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use bytes::Bytes;
use milena_log::BatchToAppend;
use milena_protocol::api::produce::{BatchIndexAndErrorMessage, PartitionProduceResponse};
use milena_protocol::records::convert::{ConvertProblem, recompress, up};
use milena_protocol::records::validate::{
    Refusal as BatchRefusal, RefusedRecord, Rules, magic, produced,
};
use milena_protocol::records::{BatchHeader, CompressionProblem, DECOMPRESSED_SIZE_MAX};
use milena_protocol::{ErrorCode, Str};

use super::large::{self, DECOMPRESSED_SIZE_USUAL};
use crate::config::{TimestampType, TopicConfig};

/// Versions below this may carry magic 0 and 1, in any number of messages (KIP-98).
const MAGIC_2_ONLY_FROM: i16 = 3;

thread_local! {
    // Decompression's memory, kept by each worker for its next batch; bounded by `produced`.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a topic and the request's version ask of the bytes.
#[derive(Debug)]
pub struct Intake<'a> {
    pub version: i16,
    pub config: &'a TopicConfig,
    /// The broker's clock, ms since 1970.
    pub now_ms: i64,
}

impl Intake<'_> {
    fn timestamps(&self) -> RangeInclusive<i64> {
        if self.config.message_timestamp_type == TimestampType::LogAppendTime {
            return i64::MIN..=i64::MAX;
        }
        let (before, after) = (
            self.config.message_timestamp_before_max_ms,
            self.config.message_timestamp_after_max_ms,
        );
        self.now_ms.saturating_sub(before)..=self.now_ms.saturating_add(after)
    }

    fn rules(&self, decompressed_size_max: usize) -> Rules {
        Rules {
            batch_size_max: usize::try_from(self.config.max_message_bytes).unwrap_or(0),
            keys_required: self.config.cleanup_policy.compact,
            timestamps: self.timestamps(),
            open_compressed: false,
            decompressed_size_max,
        }
    }
}

/// Why a partition's bytes are refused; nothing of them is stored.
#[derive(Debug)]
pub enum Refusal {
    /// A batch is not what it should be.
    Batch(BatchRefusal),
    /// It could not be converted to magic 2, or to the topic's codec.
    Convert(ConvertProblem),
    /// A transactional batch, before transactions exist.
    Transactional,
}

impl Refusal {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Batch(refusal) => refusal.code(),
            Self::Convert(problem) => problem.code(),
            Self::Transactional => ErrorCode::InvalidTxnState,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Batch(refusal) => refusal.to_string(),
            Self::Convert(problem) => problem.to_string(),
            Self::Transactional => "transactions are not served".to_owned(),
        }
    }

    /// Whether it was only that a batch would have taken more room than it was given.
    fn wants_room(&self) -> bool {
        match self {
            Self::Batch(BatchRefusal::Compression(problem)) => {
                matches!(problem, CompressionProblem::TooLarge { .. })
            }
            Self::Convert(problem) => problem.wants_room(),
            _ => false,
        }
    }

    pub fn into_response(self, index: i32) -> PartitionProduceResponse {
        let refused: &[RefusedRecord] = match &self {
            Self::Batch(BatchRefusal::Records(refused)) => refused,
            _ => &[],
        };
        let record_errors = refused.iter().map(|record| BatchIndexAndErrorMessage {
            batch_index: record.index,
            batch_index_error_message: Some(Str::from(record.reason.to_string())),
        });
        PartitionProduceResponse {
            index,
            error_code: self.code(),
            base_offset: -1,
            record_errors: record_errors.collect(),
            error_message: Some(Str::from(self.text())),
            ..Default::default()
        }
    }
}

/// Checks what a client sent for one partition. Bytes are looked at where they lie; they are copied only to
/// convert them.
pub async fn check(bytes: Bytes, intake: &Intake<'_>) -> Result<Vec<BatchToAppend>, Refusal> {
    match check_within(bytes.clone(), intake, DECOMPRESSED_SIZE_USUAL) {
        Err(refusal) if refusal.wants_room() => {
            let (version, config, now_ms) = (intake.version, intake.config.clone(), intake.now_ms);
            let again = move || {
                let config = &config;
                let intake = Intake {
                    version,
                    config,
                    now_ms,
                };
                check_within(bytes, &intake, DECOMPRESSED_SIZE_MAX)
            };
            large::in_turn(again).await
        }
        checked => checked,
    }
}

fn check_within(
    bytes: Bytes,
    intake: &Intake<'_>,
    limit: usize,
) -> Result<Vec<BatchToAppend>, Refusal> {
    let old = intake.version < MAGIC_2_ONLY_FROM && magic(&bytes).is_some_and(|magic| magic < 2);
    let batches = if old {
        let codec = intake.config.codec();
        up(&bytes, codec, limit).map_err(Refusal::Convert)?
    } else {
        vec![(accept(&bytes, intake, limit)?, bytes)]
    };
    batches
        .into_iter()
        .map(|(header, body)| finish(header, body, old, intake, limit))
        .collect()
}

fn accept(bytes: &Bytes, intake: &Intake<'_>, limit: usize) -> Result<BatchHeader, Refusal> {
    let accepted = SCRATCH
        .with_borrow_mut(|scratch| produced(bytes, intake.version, &intake.rules(limit), scratch))
        .map_err(Refusal::Batch)?;
    let header = accepted.header;
    if accepted.max_timestamp == header.max_timestamp {
        return Ok(header);
    }
    let corrected = header.with_max_timestamp(bytes, accepted.max_timestamp);
    corrected.map_err(|problem| Refusal::Batch(problem.into()))
}

/// Gives a batch the topic's codec, and checks what was converted by the topic's rules too.
fn finish(
    header: BatchHeader,
    body: Bytes,
    converted: bool,
    intake: &Intake<'_>,
    limit: usize,
) -> Result<BatchToAppend, Refusal> {
    if header.is_transactional() {
        return Err(Refusal::Transactional);
    }
    if converted {
        let header = accept(
            &body,
            &Intake {
                version: MAGIC_2_ONLY_FROM,
                ..*intake
            },
            limit,
        )?;
        return Ok(BatchToAppend { header, body });
    }
    match intake.config.codec() {
        Some(codec) if header.compression() != Some(codec.compression) => {
            let (header, body) =
                recompress(header, &body, codec, limit).map_err(Refusal::Convert)?;
            let size_max = intake.rules(limit).batch_size_max;
            if body.len() > size_max {
                let size = body.len();
                return Err(Refusal::Batch(BatchRefusal::TooLarge { size, size_max }));
            }
            Ok(BatchToAppend { header, body })
        }
        _ => Ok(BatchToAppend { header, body }),
    }
}
