//! How a consumed record is printed.

use milena_protocol::records::Record;
use serde_json::{Value, json};

use crate::cli::output::{json_headers, json_text};

/// A record's form on standard output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordFormat {
    /// The value and a newline.
    Value,
    /// The key, a colon, the value and a newline.
    KeyValue,
    /// One JSON object a line.
    Json,
    /// As kcat's `-f`.
    Text(Vec<Piece>),
}

/// A piece of a format text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes as they stand.
    Literal(Vec<u8>),
    /// A field of the record.
    Field(Field),
}

/// What `%` and a letter stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Field {
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    KeyLength,
    Value,
    ValueLength,
    /// The value's length as four bytes, the highest first.
    ValueLengthBinary,
    Headers,
}

impl RecordFormat {
    /// Reads `value`, `key:value`, `json`, or a text with `%` fields.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "value" => Ok(Self::Value),
            "key:value" => Ok(Self::KeyValue),
            "json" => Ok(Self::Json),
            _ if text.contains(['%', '\\']) => pieces(text).map(Self::Text),
            _ => {
                Err("give value, key:value, json, or a text with fields such as '%k %s\\n'".into())
            }
        }
    }

    /// Appends the record to `out`. A null is printed as nothing, its length as -1.
    pub fn write(&self, out: &mut Vec<u8>, topic: &str, partition: i32, record: &Record) {
        match self {
            Self::Value => {
                out.extend_from_slice(record.value.as_deref().unwrap_or_default());
                out.push(b'\n');
            }
            Self::KeyValue => {
                out.extend_from_slice(record.key.as_deref().unwrap_or_default());
                out.push(b':');
                out.extend_from_slice(record.value.as_deref().unwrap_or_default());
                out.push(b'\n');
            }
            Self::Json => {
                out.extend_from_slice(as_json(topic, partition, record).to_string().as_bytes());
                out.push(b'\n');
            }
            Self::Text(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Literal(bytes) => out.extend_from_slice(bytes),
                        Piece::Field(field) => field.write(out, topic, partition, record),
                    }
                }
            }
        }
    }
}

impl Field {
    fn of(letter: char) -> Option<Self> {
        Some(match letter {
            't' => Self::Topic,
            'p' => Self::Partition,
            'o' => Self::Offset,
            'T' => Self::Timestamp,
            'k' => Self::Key,
            'K' => Self::KeyLength,
            's' => Self::Value,
            'S' => Self::ValueLength,
            'R' => Self::ValueLengthBinary,
            'h' => Self::Headers,
            _ => return None,
        })
    }

    fn write(self, out: &mut Vec<u8>, topic: &str, partition: i32, record: &Record) {
        let length = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let number = match self {
            Self::Topic => return out.extend_from_slice(topic.as_bytes()),
            Self::Key => return out.extend_from_slice(key.unwrap_or_default()),
            Self::Value => return out.extend_from_slice(value.unwrap_or_default()),
            Self::Headers => return write_headers(out, record),
            Self::ValueLengthBinary => {
                return out.extend_from_slice(&(length(value) as i32).to_be_bytes());
            }
            Self::Partition => i64::from(partition),
            Self::Offset => record.offset,
            Self::Timestamp => record.timestamp,
            Self::KeyLength => length(key),
            Self::ValueLength => length(value),
        };
        out.extend_from_slice(number.to_string().as_bytes());
    }
}

fn write_headers(out: &mut Vec<u8>, record: &Record) {
    for (index, header) in record.headers.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&header.key);
        out.push(b'=');
        out.extend_from_slice(header.value.as_deref().unwrap_or(b"NULL"));
    }
}

fn as_json(topic: &str, partition: i32, record: &Record) -> Value {
    json!({
        "topic": topic,
        "partition": partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": json_text(record.key.as_deref()),
        "value": json_text(record.value.as_deref()),
        "headers": json_headers(&record.headers),
    })
}

fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut literal = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '%' => match letters.next() {
                Some('%') => literal.push(b'%'),
                other => {
                    let field = other.and_then(Field::of).ok_or_else(|| {
                        format!(
                            "%{} is no field: %t %p %o %T %k %K %s %S %R %h are",
                            other.unwrap_or(' ')
                        )
                    })?;
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    }
                    pieces.push(Piece::Field(field));
                }
            },
            '\\' => literal.push(escaped(&mut letters)?),
            other => literal.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

fn escaped(letters: &mut std::str::Chars) -> Result<u8, String> {
    Ok(match letters.next() {
        Some('n') => b'\n',
        Some('r') => b'\r',
        Some('t') => b'\t',
        Some('0') => 0,
        Some('\\') => b'\\',
        Some('x') => {
            let digits: String = letters.by_ref().take(2).collect();
            u8::from_str_radix(&digits, 16)
                .map_err(|_| format!("\\x{digits} is no byte: \\x41 is one"))?
        }
        other => {
            return Err(format!(
                "\\{} is not known: \\n \\r \\t \\0 \\\\ \\xNN are",
                other.unwrap_or(' ')
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use milena_protocol::records::Header;

    fn record() -> Record {
        Record {
            offset: 42,
            timestamp: 1000,
            key: Some("k".into()),
            value: None,
            headers: vec![Header {
                key: "h".into(),
                value: Some("v".into()),
            }],
        }
    }

    fn printed(format: &str) -> Vec<u8> {
        let mut out = Vec::new();
        RecordFormat::parse(format)
            .unwrap()
            .write(&mut out, "t", 3, &record());
        out
    }

    #[test]
    fn a_format_text_prints_every_field() {
        assert_eq!(
            printed(r"%t-%p@%o %T %k(%K) %s(%S) %h %%\n\x41"),
            b"t-3@42 1000 k(1) (-1) h=v %\nA"
        );
        assert_eq!(printed("%R"), [255; 4]);
    }

    #[test]
    fn the_named_formats_print_what_they_say() {
        assert_eq!(printed("value"), b"\n");
        assert_eq!(printed("key:value"), b"k:\n");
        let json: Value = serde_json::from_slice(&printed("json")).unwrap();
        assert_eq!(json["headers"]["h"], "v");
        assert_eq!(json["value"], Value::Null);
    }

    #[test]
    fn an_unknown_format_is_refused() {
        for text in ["%q", "%", "xml", r"\q", r"\xZZ"] {
            assert!(RecordFormat::parse(text).is_err(), "{text}");
        }
    }
}
