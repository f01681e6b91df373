//! Exit codes of all verbs. Where one of `sysexits.h` fits, it is used.

/// Success.
pub const OK: u8 = 0;
/// The answer is no: a probe failed, or a condition of `predict` holds.
pub const FAILED: u8 = 1;
/// The awaited state is impossible: a Job has failed.
pub const NEVER: u8 = 2;
/// A probe ended with an error, which is neither success nor failure.
pub const ERROR: u8 = 3;
/// The command line is wrong (`EX_USAGE`).
pub const USAGE: u8 = 64;
/// The input is wrong (`EX_DATAERR`).
pub const DATA: u8 = 65;
/// An input file cannot be read (`EX_NOINPUT`).
pub const NO_INPUT: u8 = 66;
/// No service of ours answers (`EX_UNAVAILABLE`).
pub const UNAVAILABLE: u8 = 69;
/// The system refuses a resource, such as a port (`EX_OSERR`).
pub const OS: u8 = 71;
/// Standard output cannot be written, for example because the disk is full (`EX_IOERR`).
pub const IO: u8 = 74;
/// The service denies this caller (`EX_NOPERM`).
pub const PERMISSION: u8 = 77;
/// The configuration is wrong (`EX_CONFIG`).
pub const CONFIG: u8 = 78;

/// Exit code of a process that was ended by a signal, as shells report it.
pub const fn signalled(signal: u8) -> u8 {
    128_u8.saturating_add(signal)
}
