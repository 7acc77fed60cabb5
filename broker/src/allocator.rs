//! How much of what was freed the process keeps.

/// Blocks of this size and more are the system's again as soon as they are freed: a compressed batch that opens to tens
/// of MiB, a request of as much. Smaller ones, and so the usual requests, are kept for the next.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const RETURNED_SIZE_MIN: i32 = 2 * 1024 * 1024;

/// Sets that bound. glibc's own moves up to the largest block that was freed, to 32 MiB: what is freed below it stays
/// with each thread that had it, 60 MiB after four bombs. To be called before the first thread is made.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "mallopt has no safe wrapper")]
pub fn return_large_blocks() {
    // SAFETY: mallopt may race with allocations of other threads only, and there are none yet. It is given constants.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, RETURNED_SIZE_MIN) };
}

/// Another allocator has its own rules.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn return_large_blocks() {}
