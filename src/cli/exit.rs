//! Exit codes of all verbs. Those from 64 on are of `sysexits.h`.

/// The result is a failure: of a probe, or of a condition of `predict`.
pub const EXIT_FAILURE: u8 = 1;
/// The attempt of a probe ended with an error, which the kubelet counts neither way.
pub const EXIT_ERROR: u8 = 3;
/// The command line is wrong (`EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;
/// The input is wrong, or the service refused it (`EX_DATAERR`).
pub const EXIT_DATA: u8 = 65;
/// A file cannot be read (`EX_NOINPUT`).
pub const EXIT_NO_INPUT: u8 = 66;
/// No service of ours answers (`EX_UNAVAILABLE`).
pub const EXIT_UNAVAILABLE: u8 = 69;
/// The system refuses what is needed, such as a port (`EX_OSERR`).
pub const EXIT_OS: u8 = 71;
/// The service does not admit the caller (`EX_NOPERM`).
pub const EXIT_PERMISSION: u8 = 77;
/// The configuration is wrong (`EX_CONFIG`).
pub const EXIT_CONFIG: u8 = 78;
