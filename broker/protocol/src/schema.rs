//! How schemas are declared, and what each declaration turns into.
//!
//! ```text
//! api!(1, Fetch, FetchRequest => FetchResponse, versions 0..=18, flexible 12);
//!
//! schema! {
//!     /// What it is.
//!     pub struct FetchRequest {
//!         topic: Str, in ..=12;                               // present in these versions only
//!         max_bytes: i32 = i32::MAX, in 3..;                  // value where absent
//!         forgotten: Option<Vec<i32>>, in 7.., nullable 9..;  // null is refused before 9
//!         cluster_id: Option<Str>, tagged 0 in 12..;          // tagged field (KIP-482), ascending
//!         cursor: Option<Box<Cursor>>;                        // struct that may be absent (KIP-893)
//!     }
//! }
//! ```
//!
//! The rules are those of Kafka's generator, but for three:
//! - Null in a version that doesn't know it is written as an empty value, where Kafka fails.
//! - A value whose field is not in the version is dropped, where Kafka fails unless the field is
//!   `ignorable`: whoever fills a message knows its version.
//! - Unknown tagged fields are skipped and not kept.
//!
//! A field that is tagged in some versions and plain in others can't be declared: Kafka has none.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::reader::Problem;
use crate::{DecodeError, Nullable, Reader, Wire};

/// One Kafka API: its request, and by it its response, versions and key.
pub trait Request: Wire {
    /// Kafka's number for the API.
    const KEY: i16;
    /// Kafka's name for the API.
    const NAME: &'static str;
    /// The versions that the schema describes.
    const VERSIONS: RangeInclusive<i16>;
    /// The first version with compact lengths and tagged fields; `i16::MAX` where none has.
    const FLEXIBLE_FROM: i16;
    /// What it is answered with.
    type Response: Wire + Default;

    /// Whether `version` has compact lengths and tagged fields.
    fn flexible(version: i16) -> bool {
        version >= Self::FLEXIBLE_FROM
    }

    /// Reads a request body. Bytes behind it are ignored: Kafka ignores them, so a client may send some.
    fn decode(body: Bytes, version: i16) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::new(body, version, Self::flexible(version)))
    }

    /// Reads a response body to its end.
    fn decode_response(body: Bytes, version: i16) -> Result<Self::Response, DecodeError> {
        let mut r = Reader::new(body, version, Self::flexible(version));
        let response = Self::Response::read(&mut r)?;
        r.finish()?;
        Ok(response)
    }
}

/// Declares structs with their wire format in each version; see the module's text.
macro_rules! schema {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $(
                $(#[$field_meta:meta])*
                $field:ident : $type:ty
                    $(= $default:expr)?
                    $(, in $range:expr)?
                    $(, nullable $nullable:expr)?
                    $(, tagged $tag:literal in $tag_range:expr)?
                ;
            )*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)] // the fields' names are Kafka's own, documented by its protocol page
        pub struct $name { $( $(#[$field_meta])* pub $field: $type, )* }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $crate::schema::field!(@default $($default)?), )* }
            }
        }

        #[cfg(feature = "sample")]
        impl $crate::sample::Sample for $name {
            #[allow(unused_variables, clippy::field_reassign_with_default)]
            fn sample(source: &mut $crate::sample::Source) -> Self {
                let version = source.version();
                let mut value = Self::default();
                $( $crate::schema::field!(
                    @sample source, version, value.$field, [$($range)?] [$($nullable)?] [$($tag_range)?]
                ); )*
                value
            }
        }

        impl $crate::Wire for $name {
            #[allow(unused_mut, unused_variables)]
            fn read(r: &mut $crate::Reader) -> Result<Self, $crate::DecodeError> {
                let version = r.version();
                let mut value = Self::default();
                $( $crate::schema::field!(
                    @read r, version, value.$field, concat!(stringify!($name), ".", stringify!($field)),
                    [$($range)?] [$($nullable)?] [$($tag)?]
                ); )*
                if r.flexible() {
                    let count = r.uvarint().map_err(|e| e.within(concat!(stringify!($name), " tags")))?;
                    for _ in 0..count {
                        let (tag, content) = r.tag().map_err(|e| e.within(concat!(stringify!($name), " tags")))?;
                        $( $crate::schema::field!(
                            @read_tag r, tag, content, version, value.$field,
                            concat!(stringify!($name), ".", stringify!($field)), [$($tag, $tag_range)?]
                        ); )*
                    }
                }
                Ok(value)
            }

            #[allow(unused_mut, unused_variables)]
            fn write(&self, w: &mut $crate::Writer) {
                let version = w.version();
                $( $crate::schema::field!(
                    @write w, version, self.$field, [$($range)?] [$($nullable)?] [$($tag)?]
                ); )*
                if w.flexible() {
                    let mut count = 0;
                    $( $crate::schema::field!(
                        @count count, version, self.$field, ($($default)?), [$($tag, $tag_range)?]
                    ); )*
                    w.uvarint(count);
                    $( $crate::schema::field!(
                        @write_tag w, version, self.$field, ($($default)?), [$($tag, $tag_range)?]
                    ); )*
                }
            }
        }
    )*};
}

/// What [`schema!`] makes of one field in each of its places.
macro_rules! field {
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };

    (@holds $version:ident, []) => { true };
    (@holds $version:ident, [$range:expr]) => { std::ops::RangeBounds::contains(&($range), &$version) };

    (@is_default $value:expr, ()) => { $crate::schema::same(&$value, Default::default()) };
    (@is_default $value:expr, ($default:expr)) => { $crate::schema::same(&$value, $default) };

    (@read $r:ident, $version:ident, $value:expr, $name:expr, [$($range:expr)?] [$($nullable:expr)?] []) => {
        if $crate::schema::field!(@holds $version, [$($range)?]) {
            $value = $crate::Wire::read($r).map_err(|e| e.within($name))?;
            $(
                let allowed = std::ops::RangeBounds::contains(&($nullable), &$version);
                $crate::schema::refuse_null(&$value, allowed).map_err(|e| e.within($name))?;
            )?
        }
    };
    (@read $r:ident, $version:ident, $value:expr, $name:expr, [] [] [$tag:literal]) => {};

    (@read_tag $r:ident, $found:ident, $content:ident, $version:ident, $value:expr, $name:expr, []) => {};
    (
        @read_tag $r:ident, $found:ident, $content:ident, $version:ident, $value:expr, $name:expr,
        [$tag:literal, $range:expr]
    ) => {
        if $found == $tag && std::ops::RangeBounds::contains(&($range), &$version) {
            $value = $r.all_of(&$content).map_err(|e| e.within($name))?;
        }
    };

    (@sample $source:ident, $version:ident, $value:expr, [$($range:expr)?] [] []) => {
        if $crate::schema::field!(@holds $version, [$($range)?]) {
            $value = $crate::sample::Sample::sample($source);
        }
    };
    (@sample $source:ident, $version:ident, $value:expr, [$($range:expr)?] [$nullable:expr] []) => {
        if $crate::schema::field!(@holds $version, [$($range)?]) {
            let allowed = std::ops::RangeBounds::contains(&($nullable), &$version);
            $value = $source.nullable(allowed);
        }
    };
    (@sample $source:ident, $version:ident, $value:expr, [] [] [$range:expr]) => {
        if std::ops::RangeBounds::contains(&($range), &$version) {
            $value = $crate::sample::Sample::sample($source);
        }
    };

    (@write $w:ident, $version:ident, $value:expr, [$($range:expr)?] [] []) => {
        if $crate::schema::field!(@holds $version, [$($range)?]) {
            $crate::Wire::write(&$value, $w);
        }
    };
    (@write $w:ident, $version:ident, $value:expr, [$($range:expr)?] [$nullable:expr] []) => {
        if $crate::schema::field!(@holds $version, [$($range)?]) {
            let allowed = std::ops::RangeBounds::contains(&($nullable), &$version);
            $crate::Nullable::write_nullable(&$value, $w, allowed);
        }
    };
    (@write $w:ident, $version:ident, $value:expr, [] [] [$tag:literal]) => {};

    (@count $count:ident, $version:ident, $value:expr, $default:tt, []) => {};
    (@count $count:ident, $version:ident, $value:expr, $default:tt, [$tag:literal, $range:expr]) => {
        if std::ops::RangeBounds::contains(&($range), &$version)
            && !$crate::schema::field!(@is_default $value, $default)
        {
            $count += 1;
        }
    };

    (@write_tag $w:ident, $version:ident, $value:expr, $default:tt, []) => {};
    (@write_tag $w:ident, $version:ident, $value:expr, $default:tt, [$tag:literal, $range:expr]) => {
        if std::ops::RangeBounds::contains(&($range), &$version)
            && !$crate::schema::field!(@is_default $value, $default)
        {
            $w.tagged($tag, |w| $crate::Wire::write(&$value, w));
        }
    };
}

/// Joins `XRequest` and `XResponse` under the API's key, versions and first flexible version.
macro_rules! api {
    ($key:literal, $name:ident, $request:ident => $response:ident, versions $versions:expr, flexible $flexible:expr) => {
        impl $crate::Request for $request {
            const KEY: i16 = $key;
            const NAME: &'static str = stringify!($name);
            const VERSIONS: std::ops::RangeInclusive<i16> = $versions;
            const FLEXIBLE_FROM: i16 = $flexible;
            type Response = $response;
        }
    };
}

pub(crate) use {api, field, schema};

pub(crate) fn same<T: PartialEq>(value: &T, default: T) -> bool {
    *value == default
}

pub(crate) fn refuse_null(value: &impl Nullable, allowed: bool) -> Result<(), DecodeError> {
    if value.is_null() && !allowed {
        Err(Problem::UnexpectedNull.into())
    } else {
        Ok(())
    }
}
