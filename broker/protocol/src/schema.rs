//! How schemas are declared, and what each declaration turns into.
//!
//! ```text
//! schema! {
//!     /// What it is.
//!     pub struct FetchTopic {
//!         topic: Str, in ..=12;                           // present in these versions only
//!         topic_id: Uuid, in 13..;
//!         max_bytes: i32 = i32::MAX, in 3..;              // value when absent
//!         forgotten: Option<Vec<i32>>, in 7.., nullable 9..;
//!         cluster_id: Option<Str>, tagged 0 in 12..;      // tagged field (KIP-482)
//!     }
//! }
//! api!(1, Fetch, versions 0..=18, flexible 12..);         // joins FetchRequest and FetchResponse
//! ```

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::reader::Problem;
use crate::{DecodeError, ErrorCode, Reader, Str, Uuid, Writer};

/// A value that has a place in Kafka's wire format. Reading fails with the field that is wrong.
pub trait Wire: Sized {
    /// Reads the value in the reader's version.
    fn read(r: &mut Reader) -> Result<Self, DecodeError>;
    /// Writes the value in the writer's version.
    fn write(&self, w: &mut Writer);
}

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

    /// Reads a request body to its end.
    fn decode(body: Bytes, version: i16) -> Result<Self, DecodeError> {
        decode(body, version, Self::flexible(version))
    }

    /// Reads a response body to its end.
    fn decode_response(body: Bytes, version: i16) -> Result<Self::Response, DecodeError> {
        decode(body, version, Self::flexible(version))
    }
}

fn decode<T: Wire>(body: Bytes, version: i16, flexible: bool) -> Result<T, DecodeError> {
    let mut r = Reader::new(body, version, flexible);
    let value = T::read(&mut r)?;
    r.finish()?;
    Ok(value)
}

/// A value that can be null in some versions.
pub trait Nullable {
    /// Whether it is null.
    fn is_null(&self) -> bool;
    /// Writes it, an empty value for a null where null is not `allowed`.
    fn write_nullable(&self, w: &mut Writer, allowed: bool);
}

impl<T: Default> Nullable for Option<T>
where
    Self: Wire,
    T: Wire,
{
    fn is_null(&self) -> bool {
        self.is_none()
    }
    fn write_nullable(&self, w: &mut Writer, allowed: bool) {
        if self.is_none() && !allowed {
            T::default().write(w)
        } else {
            self.write(w)
        }
    }
}

macro_rules! wire_numbers {
    ($($number:ty),*) => {$(
        impl Wire for $number {
            fn read(r: &mut Reader) -> Result<Self, DecodeError> {
                r.array().map(Self::from_be_bytes)
            }
            fn write(&self, w: &mut Writer) {
                w.put(&self.to_be_bytes());
            }
        }
    )*};
}
wire_numbers!(i8, i16, u16, i32, u32, i64, f64);

impl Wire for bool {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        Ok(i8::read(r)? != 0)
    }
    fn write(&self, w: &mut Writer) {
        i8::from(*self).write(w);
    }
}

impl Wire for Uuid {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        r.array().map(Self)
    }
    fn write(&self, w: &mut Writer) {
        w.put(&self.0);
    }
}

impl Wire for ErrorCode {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        i16::read(r).map(Self::from)
    }
    fn write(&self, w: &mut Writer) {
        w.note_error(*self);
        (*self as i16).write(w);
    }
}

fn length_i16(r: &mut Reader) -> Result<i64, DecodeError> {
    i16::read(r).map(i64::from)
}

fn length_i32(r: &mut Reader) -> Result<i64, DecodeError> {
    i32::read(r).map(i64::from)
}

fn write_i16(w: &mut Writer, len: i32) {
    // A string longer than an i16 can say is cut nowhere on the way in; ours are error texts and names.
    i16::try_from(len).unwrap_or(i16::MAX).write(w);
}

pub(crate) fn write_i32(w: &mut Writer, len: i32) {
    len.write(w);
}

impl Wire for Option<Str> {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        let Some(len) = r.length(length_i16)? else {
            return Ok(None);
        };
        let text = Str::from_utf8(r.take(len)?).map_err(|_| Problem::NotUtf8)?;
        Ok(Some(text))
    }
    fn write(&self, w: &mut Writer) {
        let limit = if w.flexible() {
            usize::MAX
        } else {
            i16::MAX as usize
        };
        let text = self
            .as_deref()
            .map(|text| &text[..text.floor_char_boundary(limit.min(text.len()))]);
        w.length(text.map(str::len), write_i16);
        w.put(text.unwrap_or_default().as_bytes());
    }
}

impl Wire for Option<Bytes> {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        let Some(len) = r.length(length_i32)? else {
            return Ok(None);
        };
        r.take(len).map(Some)
    }
    fn write(&self, w: &mut Writer) {
        w.length(self.as_ref().map(Bytes::len), write_i32);
        if let Some(bytes) = self {
            w.put_shared(bytes);
        }
    }
}

impl<T: Wire> Wire for Option<Vec<T>> {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        let Some(len) = r.length(length_i32)? else {
            return Ok(None);
        };
        // An element takes at least a byte, so `len` is bounded by the frame; memory is charged as it is used.
        let mut list = Vec::with_capacity(len.min(64));
        for _ in 0..len {
            r.charge_element(size_of::<T>())?;
            list.push(T::read(r)?);
        }
        Ok(Some(list))
    }
    fn write(&self, w: &mut Writer) {
        w.length(self.as_ref().map(Vec::len), write_i32);
        self.iter().flatten().for_each(|element| element.write(w));
    }
}

macro_rules! wire_not_null {
    ($($type:ty),*) => {$(
        impl Wire for $type {
            fn read(r: &mut Reader) -> Result<Self, DecodeError> {
                Option::<Self>::read(r)?.ok_or(Problem::UnexpectedNull.into())
            }
            fn write(&self, w: &mut Writer) {
                // The clone shares the bytes.
                Some(self.clone()).write(w);
            }
        }
    )*};
}
wire_not_null!(Str, Bytes);

impl<T: Wire> Wire for Vec<T> {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        Option::<Self>::read(r)?.ok_or(Problem::UnexpectedNull.into())
    }
    fn write(&self, w: &mut Writer) {
        w.length(Some(self.len()), write_i32);
        self.iter().for_each(|element| element.write(w));
    }
}

/// A struct that may be absent: one byte, -1 for null and 1 otherwise, before it (KIP-893).
impl<T: Wire> Wire for Option<Box<T>> {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        if i8::read(r)? < 0 {
            return Ok(None);
        }
        r.charge_element(size_of::<T>())?;
        T::read(r).map(|value| Some(Box::new(value)))
    }
    fn write(&self, w: &mut Writer) {
        match self {
            None => (-1i8).write(w),
            Some(value) => {
                1i8.write(w);
                value.write(w);
            }
        }
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
                        let (tag, mut content) = $crate::schema::read_tag(r)
                            .map_err(|e| e.within(concat!(stringify!($name), " tags")))?;
                        $( $crate::schema::field!(
                            @read_tag tag, content, version, value.$field,
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

/// What [`schema!`] makes of one field in each of its places. Tagged fields must be in ascending order.
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

    (@read_tag $found:ident, $content:ident, $version:ident, $value:expr, $name:expr, []) => {};
    (@read_tag $found:ident, $content:ident, $version:ident, $value:expr, $name:expr, [$tag:literal, $range:expr]) => {
        if $found == $tag && std::ops::RangeBounds::contains(&($range), &$version) {
            $value = $crate::Wire::read(&mut $content).map_err(|e| e.within($name))?;
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

/// One tagged field: its tag and a reader bounded to its bytes.
pub(crate) fn read_tag(r: &mut Reader) -> Result<(u32, Reader), DecodeError> {
    let tag = r.uvarint()?;
    let len = r.uvarint()? as usize;
    let content = r.take(len)?;
    Ok((tag, Reader::new(content, r.version(), r.flexible())))
}

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
