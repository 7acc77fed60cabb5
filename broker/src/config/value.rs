//! The Rust types that settings have, and how each is read from text.

use milena_protocol::Uuid;

use super::setting::{Type, items};

/// A type that a setting can have.
pub(super) trait Value: Sized {
    /// Its name in Kafka.
    const TYPE: Type;

    /// `None` is a setting without a value; the error says what is wrong with the text.
    fn read(text: Option<&str>) -> Result<Self, String>;
}

const MISSING: &str = "it needs a value";

impl<T: Value> Value for Option<T> {
    const TYPE: Type = T::TYPE;

    fn read(text: Option<&str>) -> Result<Self, String> {
        text.map(|text| T::read(Some(text))).transpose()
    }
}

macro_rules! parsed {
    ($($type:ty = $kind:ident),+) => {
        $(impl Value for $type {
            const TYPE: Type = Type::$kind;

            fn read(text: Option<&str>) -> Result<Self, String> {
                let text = text.ok_or(MISSING)?;
                Type::$kind.check(text)?;
                text.parse().map_err(|problem| format!("{text:?}: {problem}"))
            }
        })+
    };
}

parsed!(
    bool = Boolean,
    String = String,
    i16 = Short,
    i32 = Int,
    i64 = Long,
    f64 = Double
);

impl Value for Vec<String> {
    const TYPE: Type = Type::List;

    fn read(text: Option<&str>) -> Result<Self, String> {
        Ok(items(text.ok_or(MISSING)?).map(str::to_owned).collect())
    }
}

/// Whether the text is ids, separated by commas.
pub(super) fn are_ids(text: &str) -> bool {
    items(text).all(|item| Uuid::parse(item).is_some())
}

/// Words that stand for the variants of an enum.
macro_rules! words {
    (
        $(#[doc = $about:literal])+
        $type:ident { $($(#[doc = $doc:literal])+ $variant:ident = $word:literal,)+ }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $type {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl $type {
            /// The words that are allowed.
            pub const WORDS: &'static [&'static str] = &[$($word),+];
        }

        impl Value for $type {
            const TYPE: Type = Type::String;

            fn read(text: Option<&str>) -> Result<Self, String> {
                match text.ok_or(MISSING)? {
                    $($word => Ok(Self::$variant),)+
                    other => Err(format!("{other:?} is none of {}", Self::WORDS.join(", "))),
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $word,)+
                })
            }
        }
    };
}

words! {
    /// How a topic's batches are compressed on disk.
    CompressionType {
        /// As the producer sent them.
        Producer = "producer",
        /// Not at all.
        Uncompressed = "uncompressed",
        /// By gzip.
        Gzip = "gzip",
        /// By snappy.
        Snappy = "snappy",
        /// By LZ4.
        Lz4 = "lz4",
        /// By Zstandard.
        Zstd = "zstd",
    }
}

words! {
    /// Whose clock a record's timestamp is from.
    TimestampType {
        /// The producer's.
        CreateTime = "CreateTime",
        /// The broker's, when it appends.
        LogAppendTime = "LogAppendTime",
    }
}

words! {
    /// How the process writes its own log.
    LogFormat {
        /// Lines for people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

/// What happens to old records; neither means that they stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// All but the last record of each key go.
    pub compact: bool,
    /// Segments past the retention go.
    pub delete: bool,
}

impl CleanupPolicy {
    /// The words that are allowed.
    pub const WORDS: &'static [&'static str] = &["compact", "delete"];
}

impl Value for CleanupPolicy {
    const TYPE: Type = Type::List;

    fn read(text: Option<&str>) -> Result<Self, String> {
        let words = Vec::<String>::read(text)?;
        if let Some(other) = words
            .iter()
            .find(|word| !Self::WORDS.contains(&word.as_str()))
        {
            return Err(format!("{other:?} is neither compact nor delete"));
        }
        let has = |word: &str| words.iter().any(|given| given == word);
        Ok(Self {
            compact: has("compact"),
            delete: has("delete"),
        })
    }
}
