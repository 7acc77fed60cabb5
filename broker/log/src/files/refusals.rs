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
    /// The way to a volume on the network is to blame, and may be there again: whoever notes it looks once more.
    MayPass,
}

/// What a file that may not be used is refused with: its mode, its flags, its file system.
const FORBIDDEN: [Errno; 3] = [Errno::ACCESS, Errno::PERM, Errno::ROFS];
/// What there is instead of a file that is gone.
const GONE: [Errno; 4] = [Errno::NOENT, Errno::NOTDIR, Errno::ISDIR, Errno::LOOP];
/// A server that has begun anew knows no handle of before; one that does not answer is given up after a while.
const OF_THE_WAY: [Errno; 10] = [
    Errno::STALE,
    Errno::TIMEDOUT,
    Errno::HOSTDOWN,
    Errno::HOSTUNREACH,
    Errno::NETDOWN,
    Errno::NETUNREACH,
    Errno::NOTCONN,
    Errno::CONNABORTED,
    Errno::CONNREFUSED,
    Errno::CONNRESET,
];
/// What says nothing of what is in a file: the process or the machine is short of something, be it of room for an index
/// that a lookup makes anew, or the call is to be made again.
const OF_NO_FILE: [Errno; 9] = [
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOMEM,
    Errno::NOBUFS,
    Errno::INTR,
    Errno::AGAIN,
    Errno::NOSPC,
    Errno::DQUOT,
    Errno::FBIG,
];

fn is_among(code: i32, codes: &[Errno]) -> bool {
    codes.iter().any(|one| one.raw_os_error() == code)
}

/// Whether a call was refused because the file may not be used, by this `errno`.
pub(super) fn is_forbidden(code: i32) -> bool {
    is_among(code, &FORBIDDEN)
}

/// What a failed read, or the opening before it, says of the disk, and the error once more. A file that has become
/// shorter says nothing of it. What no list has is the disk's, for a log that can't be read must not lead.
pub(crate) fn read_fault(error: &io::Error) -> Option<(ReadFault, io::Error)> {
    let code = error.raw_os_error()?;
    let fault = if is_among(code, &OF_NO_FILE) {
        return None;
    } else if is_among(code, &GONE) || is_forbidden(code) {
        ReadFault::OutOfReach
    } else if is_among(code, &OF_THE_WAY) {
        ReadFault::MayPass
    } else {
        ReadFault::BadBlock
    };
    Some((fault, io::Error::from_raw_os_error(code)))
}

/// Whether an error of handing a file to a socket is the file's for certain: most may be the connection's.
pub(crate) fn is_no_sockets(error: &io::Error) -> bool {
    const BAD: [Errno; 3] = [Errno::IO, Errno::UCLEAN, Errno::BADMSG];
    error
        .raw_os_error()
        .is_some_and(|code| is_among(code, &BAD))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(errno: Errno) -> Option<ReadFault> {
        let error = io::Error::from_raw_os_error(errno.raw_os_error());
        read_fault(&error).map(|(fault, _)| fault)
    }

    #[test]
    fn what_a_read_is_refused_with_is_the_disks_unless_the_process_is_short_of_something() {
        let of_disks = [
            Errno::IO,
            Errno::UCLEAN,
            Errno::BADMSG,
            // A disk that was pulled, or a target that is gone.
            Errno::NXIO,
            Errno::NODEV,
            Errno::REMOTEIO,
            Errno::NODATA,
            Errno::ILSEQ,
            Errno::NOLINK,
            Errno::INVAL,
        ];
        for errno in of_disks {
            assert_eq!(fault(errno), Some(ReadFault::BadBlock), "{errno}");
        }
        for errno in GONE.iter().chain(&FORBIDDEN) {
            assert_eq!(fault(*errno), Some(ReadFault::OutOfReach), "{errno}");
        }
        for errno in OF_THE_WAY {
            assert_eq!(fault(errno), Some(ReadFault::MayPass), "{errno}");
        }
        for errno in OF_NO_FILE {
            assert_eq!(fault(errno), None, "{errno}");
        }
        assert!(read_fault(&io::ErrorKind::UnexpectedEof.into()).is_none());
    }

    #[test]
    fn a_client_that_has_gone_is_no_fault_of_the_file_that_was_being_sent() {
        let ends = [Errno::PIPE, Errno::CONNRESET, Errno::TIMEDOUT, Errno::AGAIN];
        for errno in ends {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            assert!(!is_no_sockets(&error), "{errno}");
        }
    }
}
