//! How plain values, strings, lists and absent structs stand in a message.

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

/// The longest text in any version: Kafka counts it in 16 bits, and keeps to that in flexible versions.
const TEXT_SIZE_MAX: usize = i16::MAX as usize;

fn length_i16(r: &mut Reader) -> Result<i64, DecodeError> {
    i16::read(r).map(i64::from)
}

fn length_i32(r: &mut Reader) -> Result<i64, DecodeError> {
    i32::read(r).map(i64::from)
}

fn write_i16(w: &mut Writer, len: i32) {
    // A text is cut to `TEXT_SIZE_MAX` before, so its length fits.
    (len as i16).write(w);
}

pub(crate) fn write_i32(w: &mut Writer, len: i32) {
    len.write(w);
}

fn write_text(text: Option<&str>, w: &mut Writer) {
    // Kafka's clients refuse a longer text; ours are names and error messages.
    let text = text.map(|text| &text[..text.floor_char_boundary(TEXT_SIZE_MAX)]);
    w.length(text.map(str::len), write_i16);
    w.put(text.unwrap_or_default().as_bytes());
}

fn write_bytes(bytes: Option<&Bytes>, w: &mut Writer) {
    w.length(bytes.map(Bytes::len), write_i32);
    if let Some(bytes) = bytes {
        w.put_shared(bytes);
    }
}

impl Wire for Option<Str> {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        let Some(len) = r.length(length_i16)? else {
            return Ok(None);
        };
        if len > TEXT_SIZE_MAX {
            return Err(Problem::BadLength(len as i64).into());
        }
        let text = Str::from_utf8(r.take(len)?).map_err(|_| Problem::NotUtf8)?;
        Ok(Some(text))
    }
    fn write(&self, w: &mut Writer) {
        write_text(self.as_deref(), w);
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
        write_bytes(self.as_ref(), w);
    }
}

impl<T: Wire> Wire for Option<Vec<T>> {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        let Some(len) = r.length(length_i32)? else {
            return Ok(None);
        };
        // Paid for before it is allocated.
        r.charge(len, size_of::<T>())?;
        let mut list = Vec::with_capacity(len);
        for _ in 0..len {
            list.push(T::read(r)?);
        }
        Ok(Some(list))
    }
    fn write(&self, w: &mut Writer) {
        write_list(self.as_deref(), w);
    }
}

fn write_list<T: Wire>(list: Option<&[T]>, w: &mut Writer) {
    w.length(list.map(<[T]>::len), write_i32);
    for element in list.unwrap_or_default() {
        element.write(w);
    }
}

fn not_null<T>(value: Option<T>) -> Result<T, DecodeError> {
    value.ok_or(Problem::UnexpectedNull.into())
}

impl Wire for Str {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        Option::read(r).and_then(not_null)
    }
    fn write(&self, w: &mut Writer) {
        write_text(Some(self), w);
    }
}

impl Wire for Bytes {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        Option::read(r).and_then(not_null)
    }
    fn write(&self, w: &mut Writer) {
        write_bytes(Some(self), w);
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        Option::read(r).and_then(not_null)
    }
    fn write(&self, w: &mut Writer) {
        write_list(Some(self), w);
    }
}

/// A struct that may be absent: one byte, -1 for null and 1 otherwise, before it (KIP-893).
impl<T: Wire> Wire for Option<Box<T>> {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        if i8::read(r)? < 0 {
            return Ok(None);
        }
        r.charge(1, size_of::<T>())?;
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
