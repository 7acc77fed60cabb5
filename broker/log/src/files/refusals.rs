//! What the errors of files say: of the disk, of the file system, and of the process that is short of descriptors.

use std::io;

use rustix::io::Errno;

/// Whether an opening failed for want of descriptors, which idle files give back: it is no fault of the disk.
pub(crate) fn is_short_of_descriptors(error: &io::Error) -> bool {
    let codes = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error
        .raw_os_error()
        .is_some_and(|code| codes.contains(&code))
}

/// Why a file that a log holds could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadFault {
    /// The disk is to blame, or the file system that has found its own blocks damaged.
    BadBlock,
    /// It can't be opened: it is gone, or may not be read.
    OutOfReach,
}

/// What a file that may not be used is refused with: its mode, its flags, its file system.
const FORBIDDEN: [Errno; 3] = [Errno::ACCESS, Errno::PERM, Errno::ROFS];

fn is_among(code: i32, codes: &[Errno]) -> bool {
    codes.iter().any(|one| one.raw_os_error() == code)
}

/// Whether a call was refused because the file may not be used, by this `errno`.
pub(super) fn is_forbidden(code: i32) -> bool {
    is_among(code, &FORBIDDEN)
}

/// What a failed read, or the opening before it, says of the disk, and the error once more. A file that has become
/// shorter and a lack of descriptors say nothing of it.
pub(crate) fn read_fault(error: &io::Error) -> Option<(ReadFault, io::Error)> {
    const BAD: [Errno; 3] = [Errno::IO, Errno::UCLEAN, Errno::BADMSG];
    let code = error.raw_os_error()?;
    let fault = if is_among(code, &BAD) {
        ReadFault::BadBlock
    } else if code == Errno::NOENT.raw_os_error() || is_forbidden(code) {
        ReadFault::OutOfReach
    } else {
        return None;
    };
    Some((fault, io::Error::from_raw_os_error(code)))
}
