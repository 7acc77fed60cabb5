//! The four codecs of record batches, each as Kafka's clients write and read it.
//!
//! | codec | written | read |
//! | --- | --- | --- |
//! | gzip | one member | any number of members |
//! | snappy | xerial framing, blocks of 32 KiB | xerial framing (also several one after the other), or one raw block |
//! | lz4 | one frame, independent blocks of 64 KiB, no checksums | frames with linked blocks, checksums, content size |
//! | zstd | one frame | any number of frames |
//!
//! Output grows as it comes and never beyond the caller's limit: what a header claims allocates nothing.

use thiserror::Error;

use super::Compression;

mod gzip;
mod lz4;
mod recode;
mod snappy;
mod zstd;

pub use recode::recode;

/// What a compressed batch is opened to at most, however large it claims to be: room for the default
/// `max.request.size` of 1 MiB, compressed 1:40. A broker that holds one stays below 100 MiB.
pub const DECOMPRESSED_SIZE_MAX: usize = 40 * 1024 * 1024;

/// Why compressed bytes can't be opened, or bytes not compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CompressionProblem {
    /// The output would exceed the caller's limit.
    #[error("the records take more than {limit} bytes when decompressed")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The bytes are not what the codec writes.
    #[error("the {codec} data is corrupt: {what}")]
    Corrupt {
        /// The codec's name.
        codec: &'static str,
        /// Which part of it.
        what: &'static str,
    },
    /// The attributes name a codec that does not exist.
    #[error("codec {0} is unknown")]
    UnknownCodec(i16),
    /// The codec's library failed to compress, for want of memory.
    #[error("{0} could not compress the records")]
    CannotCompress(&'static str),
}

/// A codec and how hard it tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codec {
    /// The codec.
    pub compression: Compression,
    /// Its level, brought into the codec's range (`compression.gzip.level` 1 to 9, `compression.zstd.level`
    /// -131072 to 22); `None` is the codec's default. snappy has none; lz4 is always written at its
    /// fastest, which every `compression.lz4.level` reads alike.
    pub level: Option<i32>,
}

impl From<Compression> for Codec {
    fn from(compression: Compression) -> Self {
        Self {
            compression,
            level: None,
        }
    }
}

/// Which lz4 frame header a message format has: magic 0's checksum covers the frame's magic as well,
/// an error that its readers and writers share (KAFKA-3160).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lz4Header {
    /// As the lz4 frame format says: magic 1 and 2.
    Standard,
    /// As magic 0 has it.
    Magic0,
}

/// Appends `input`, compressed, to `out`.
pub fn compress(
    codec: Codec,
    lz4_header: Lz4Header,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CompressionProblem> {
    match codec.compression {
        Compression::None => {
            out.extend_from_slice(input);
            Ok(())
        }
        Compression::Gzip => gzip::compress(codec.level, input, out),
        Compression::Snappy => snappy::compress(input, out),
        Compression::Lz4 => lz4::compress(lz4_header, input, out),
        Compression::Zstd => zstd::compress(codec.level, input, out),
    }
}

/// Appends what `input` holds to `out`, at most `limit` bytes of it. After an error `out` may have grown.
pub fn decompress(
    compression: Compression,
    lz4_header: Lz4Header,
    input: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), CompressionProblem> {
    let mut sink = Sink::new(out, limit);
    match compression {
        Compression::None => sink.extend(input),
        Compression::Gzip => gzip::decompress(input, &mut sink),
        Compression::Snappy => snappy::decompress(input, &mut sink),
        Compression::Lz4 => lz4::decompress(lz4_header, input, &mut sink),
        Compression::Zstd => zstd::decompress(input, &mut sink),
    }
}

/// Where decompressed bytes go: refuses to grow beyond its limit.
struct Sink<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    limit: usize,
}

/// How much a stream decompressor is given room for at a time.
const STEP_SIZE: usize = 32 * 1024;

/// From here on room is asked for in one piece, up to the limit: the system gives it page by page as it is
/// filled, and takes it back whole, where vectors that double would leave their old halves in the heap.
const LARGE_SIZE: usize = 4 * 1024 * 1024;
/// Above this a limit is no bound worth asking room for.
const RESERVED_SIZE_MAX: usize = 256 * 1024 * 1024;

impl<'a> Sink<'a> {
    fn new(out: &'a mut Vec<u8>, limit: usize) -> Self {
        let start = out.len();
        Self { out, start, limit }
    }

    fn len(&self) -> usize {
        self.out.len() - self.start
    }

    fn left(&self) -> usize {
        self.limit - self.len()
    }

    fn too_large(&self) -> CompressionProblem {
        CompressionProblem::TooLarge { limit: self.limit }
    }

    fn reserve(&mut self, room: usize) {
        let large = self.len() + room > LARGE_SIZE && self.limit <= RESERVED_SIZE_MAX;
        if large && self.out.capacity() - self.out.len() < room {
            self.out.reserve_exact(self.left() + 1);
        }
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), CompressionProblem> {
        if bytes.len() > self.left() {
            return Err(self.too_large());
        }
        self.reserve(bytes.len());
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Lets `fill` write a block of at most `size_max` bytes behind what is there, which it is also given.
    /// It returns how many it wrote; `None` means that the block is corrupt.
    fn block(
        &mut self,
        size_max: usize,
        corrupt: CompressionProblem,
        fill: impl FnOnce(&[u8], &mut [u8]) -> Option<usize>,
    ) -> Result<(), CompressionProblem> {
        let room = size_max.min(self.left());
        let end = self.out.len();
        self.reserve(room);
        self.out.resize(end + room, 0);
        let (before, block) = self.out.split_at_mut(end);
        let filled = fill(&before[self.start..], block);
        self.out.truncate(end + filled.unwrap_or(0));
        match filled {
            Some(_) => Ok(()),
            // A block that is too small for its content fails as a corrupt one does.
            None if room < size_max => Err(self.too_large()),
            None => Err(corrupt),
        }
    }

    /// Reads `stream` to its end.
    fn drain(
        &mut self,
        mut stream: impl std::io::Read,
        corrupt: CompressionProblem,
    ) -> Result<(), CompressionProblem> {
        loop {
            // One byte more than is allowed tells an end from an excess.
            let room = STEP_SIZE.max(self.len()).min(self.left() + 1);
            let end = self.out.len();
            self.reserve(room);
            self.out.resize(end + room, 0);
            let read = stream.read(&mut self.out[end..]);
            self.out.truncate(end + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Ok(()),
                Ok(_) if self.len() > self.limit => return Err(self.too_large()),
                Ok(_) => {}
                Err(_) => return Err(corrupt),
            }
        }
    }
}
