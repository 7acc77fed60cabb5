//! One line as one record.

use std::sync::Arc;

use bytes::Bytes;
use milena_client::Record;
use milena_protocol::records::Header;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Input {
    /// The value.
    Value,
    /// The key, a separator, the value.
    #[value(name = "key:value")]
    KeyValue,
    /// An object with `key`, `value`, `headers`, `partition`, `timestamp`.
    Json,
}

/// How lines become records.
pub struct Lines {
    pub topic: Arc<str>,
    pub format: Input,
    pub separator: String,
    /// A key or value of this text is null.
    pub null: Option<String>,
    /// For records whose line has no key.
    pub key: Option<Bytes>,
    /// For all records, before a line's own.
    pub headers: Vec<Header>,
    /// For records whose line names no partition.
    pub partition: Option<i32>,
}

/// A record as `--format json` of `produce` reads it and of `consume` writes it, but for the fields that
/// only a stored record has.
/// As `consume` writes it; a tombstone's value is null, and a misspelt one is none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonRecord {
    key: Option<String>,
    value: serde_json::Value,
    #[serde(default)]
    headers: JsonHeaders,
    partition: Option<i32>,
    timestamp: Option<i64>,
    /// Where it was read from.
    #[serde(rename = "topic")]
    _topic: Option<IgnoredAny>,
    #[serde(rename = "offset")]
    _offset: Option<IgnoredAny>,
}

/// An object, or a list of names and values, in which a name may occur twice.
#[derive(Deserialize)]
#[serde(untagged)]
enum JsonHeaders {
    Object(serde_json::Map<String, serde_json::Value>),
    List(Vec<(String, serde_json::Value)>),
}

impl Default for JsonHeaders {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl JsonHeaders {
    fn into_list(self) -> Vec<(String, serde_json::Value)> {
        match self {
            Self::Object(object) => object.into_iter().collect(),
            Self::List(list) => list,
        }
    }
}

impl Lines {
    /// The line's record; fails with what is wrong with the line.
    pub fn record(&self, line: Vec<u8>) -> Result<Record, String> {
        let record = Record {
            topic: self.topic.clone(),
            partition: self.partition,
            key: self.key.clone(),
            headers: self.headers.clone(),
            ..Record::default()
        };
        match self.format {
            Input::Value => Ok(Record {
                value: self.unless_null(line.into()),
                ..record
            }),
            Input::KeyValue => self.key_and_value(line, record),
            Input::Json => self.json(&line, record),
        }
    }

    fn unless_null(&self, text: Bytes) -> Option<Bytes> {
        let is_null = self
            .null
            .as_ref()
            .is_some_and(|null| null.as_bytes() == text);
        (!is_null).then_some(text)
    }

    fn key_and_value(&self, line: Vec<u8>, record: Record) -> Result<Record, String> {
        let line = Bytes::from(line);
        let separator = self.separator.as_bytes();
        let at = line
            .windows(separator.len().max(1))
            .position(|window| window == separator)
            .ok_or_else(|| format!("there is no {:?} between key and value", self.separator))?;
        Ok(Record {
            key: self.unless_null(line.slice(..at)),
            value: self.unless_null(line.slice(at + separator.len()..)),
            ..record
        })
    }

    fn json(&self, line: &[u8], record: Record) -> Result<Record, String> {
        let read: JsonRecord = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let mut headers = record.headers;
        for (name, value) in read.headers.into_list() {
            let value = text(value);
            headers.push(Header {
                key: name.into(),
                value,
            });
        }
        Ok(Record {
            key: read.key.map(Bytes::from).or(record.key),
            value: text(read.value),
            headers,
            partition: read.partition.or(record.partition),
            timestamp: read.timestamp,
            topic: record.topic,
        })
    }
}

/// A JSON string's text; anything else as the JSON that it is; null is null.
fn text(value: serde_json::Value) -> Option<Bytes> {
    match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text.into()),
        other => Some(other.to_string().into()),
    }
}

/// The line without its end, `\n` or `\r\n`.
pub fn without_newline(mut line: Vec<u8>) -> Vec<u8> {
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(format: Input) -> Lines {
        Lines {
            topic: "t".into(),
            format,
            separator: ":".to_owned(),
            null: Some("NULL".to_owned()),
            key: None,
            headers: Vec::new(),
            partition: None,
        }
    }

    #[test]
    fn a_line_splits_at_the_first_separator() {
        let record = lines(Input::KeyValue).record(b"a:b:c".to_vec()).unwrap();
        assert_eq!(record.key.as_deref(), Some(&b"a"[..]));
        assert_eq!(record.value.as_deref(), Some(&b"b:c"[..]));
        assert!(lines(Input::KeyValue).record(b"abc".to_vec()).is_err());
    }

    #[test]
    fn the_null_text_is_null() {
        let record = lines(Input::KeyValue).record(b"a:NULL".to_vec()).unwrap();
        assert_eq!(record.value, None);
        let record = lines(Input::Value).record(b"".to_vec()).unwrap();
        assert_eq!(record.value.as_deref(), Some(&b""[..]));
    }

    #[test]
    fn json_gives_all_of_a_record() {
        let line =
            br#"{"key":"k","value":{"a":1},"headers":{"h":"v"},"partition":3,"timestamp":9}"#;
        let record = lines(Input::Json).record(line.to_vec()).unwrap();
        assert_eq!(record.value.as_deref(), Some(&br#"{"a":1}"#[..]));
        assert_eq!((record.partition, record.timestamp), (Some(3), Some(9)));
        assert_eq!(record.headers[0].key, "h");
        assert!(lines(Input::Json).record(b"[]".to_vec()).is_err());
    }

    #[test]
    fn a_lines_end_is_not_part_of_it() {
        assert_eq!(without_newline(b"a\r\n".to_vec()), b"a");
        assert_eq!(without_newline(b"a\r".to_vec()), b"a\r");
    }
}
