//! From one codec to another without holding what is between them: a batch that opens to hundreds of times its size
//! costs no more memory than another.
//!
//! gzip and zstd are read as streams. What snappy and lz4 wrote is opened whole, and so is what snappy shall write: their
//! blocks are cut from the whole, and refer to it.

use std::io::{Read, Write};

use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder;

use super::{Codec, CompressionProblem, Lz4Header, compress, decompress, gzip, lz4, zstd as zstds};
use crate::records::Compression;

/// Bytes between the two codecs at a time.
const STEP_SIZE: usize = 32 * 1024;

/// What is opened whole without asking, which is quicker: more than what most batches hold.
const WHOLE_SIZE_MAX: usize = 1024 * 1024;

/// Appends what `input` holds under `from` to `out`, compressed by `to`. What is between may have `limit` bytes.
pub fn recode(
    from: Compression,
    input: &[u8],
    to: Codec,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), CompressionProblem> {
    if from == Compression::None {
        return compress(to, Lz4Header::Standard, input, out);
    }
    let recoding = Recoding { from, input, to };
    if !recoding.can_stream() {
        return recoding.through_memory(limit, out);
    }
    match recoding.through_memory(limit.min(WHOLE_SIZE_MAX), out) {
        Err(CompressionProblem::TooLarge { .. }) if limit > WHOLE_SIZE_MAX => {
            recoding.through_stream(limit, out)
        }
        done => done,
    }
}

/// What goes from which codec to which.
struct Recoding<'a> {
    from: Compression,
    input: &'a [u8],
    to: Codec,
}

impl Recoding<'_> {
    fn can_stream(&self) -> bool {
        matches!(self.from, Compression::Gzip | Compression::Zstd)
            && self.to.compression != Compression::Snappy
    }

    fn through_memory(&self, limit: usize, out: &mut Vec<u8>) -> Result<(), CompressionProblem> {
        let mut open = Vec::new();
        decompress(self.from, Lz4Header::Standard, self.input, limit, &mut open)?;
        compress(self.to, Lz4Header::Standard, &open, out)
    }

    fn through_stream(&self, limit: usize, out: &mut Vec<u8>) -> Result<(), CompressionProblem> {
        if self.from == Compression::Gzip {
            let stream = MultiGzDecoder::new(self.input);
            return Source::new(stream, limit, gzip::CORRUPT).pour(self.to, out);
        }
        let stream = Decoder::with_buffer(self.input).map_err(|_| zstds::CORRUPT)?;
        Source::new(stream, limit, zstds::CORRUPT).pour(self.to, out)
    }
}

/// A stream that is decompressed, and how much may still come.
struct Source<R> {
    stream: R,
    left: usize,
    limit: usize,
    corrupt: CompressionProblem,
}

impl<R: Read> Source<R> {
    fn new(stream: R, limit: usize, corrupt: CompressionProblem) -> Self {
        Self {
            stream,
            left: limit,
            limit,
            corrupt,
        }
    }

    fn pour(mut self, to: Codec, out: &mut Vec<u8>) -> Result<(), CompressionProblem> {
        match to.compression {
            Compression::None => self.write_into(out, CompressionProblem::CannotCompress("memory")),
            Compression::Gzip => {
                let mut encoder = gzip::encoder(to.level, out);
                self.write_into(&mut encoder, gzip::CANNOT)?;
                encoder.finish().map(|_| ()).map_err(|_| gzip::CANNOT)
            }
            Compression::Lz4 => {
                let mut encoder = lz4::encoder(out);
                self.write_into(&mut encoder, lz4::CANNOT)?;
                encoder.finish().map(|_| ()).map_err(|_| lz4::CANNOT)
            }
            Compression::Zstd => {
                let mut encoder = zstds::encoder(to.level, out)?;
                self.write_into(&mut encoder, zstds::CANNOT)?;
                encoder.finish().map(|_| ()).map_err(|_| zstds::CANNOT)
            }
            Compression::Snappy => unreachable!("its input is opened whole"),
        }
    }

    fn write_into(
        &mut self,
        out: &mut impl Write,
        cannot: CompressionProblem,
    ) -> Result<(), CompressionProblem> {
        let mut step = vec![0; STEP_SIZE];
        loop {
            let read = self.stream.read(&mut step).map_err(|_| self.corrupt)?;
            if read == 0 {
                return Ok(());
            }
            self.left = self
                .left
                .checked_sub(read)
                .ok_or(CompressionProblem::TooLarge { limit: self.limit })?;
            out.write_all(&step[..read]).map_err(|_| cannot)?;
        }
    }
}
