//! Standard output of the verbs, with the first error of a write.

use std::io::{self, ErrorKind, Write};

use super::exit;

/// A writer that remembers that a write failed, so that verbs may ignore errors of writes.
///
/// A closed pipe does not count: its reader has seen what it wanted.
pub(super) struct Output<W> {
    inner: W,
    written: bool,
    error: Option<io::Error>,
}

impl<W: Write> Output<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, written: false, error: None }
    }

    /// The exit code of a verb that ended with `code`: [`exit::IO`] instead of success if its output is incomplete.
    pub(super) fn finish(mut self, code: u8, err: &mut dyn Write) -> u8 {
        if self.written {
            let _ = self.flush();
        }
        let Some(error) = self.error else { return code };
        // Ignore write errors: there is nowhere else to report this.
        let _ = writeln!(err, "kube-probesim: cannot write to standard output: {error}");
        if code == exit::OK { exit::IO } else { code }
    }

    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && self.error.is_none()
            && !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted)
        {
            self.error = Some(match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => error.kind().into(),
            });
        }
        result
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written = true;
        let result = self.inner.write(bytes);
        self.note(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.inner.flush();
        self.note(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Buffers everything, and fails to flush.
    struct Full(ErrorKind);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    fn finished(kind: ErrorKind, text: &str, code: u8) -> (u8, String) {
        let (mut output, mut err) = (Output::new(Full(kind)), Vec::new());
        output.write_all(text.as_bytes()).unwrap();
        let code = output.finish(code, &mut err);
        (code, String::from_utf8(err).unwrap())
    }

    #[test]
    fn output_that_cannot_be_written_is_an_error_and_a_closed_pipe_is_not() {
        let (code, error) = finished(ErrorKind::StorageFull, "text", exit::OK);
        assert_eq!(code, exit::IO);
        assert_eq!(error, "kube-probesim: cannot write to standard output: no storage space\n");
        assert_eq!(finished(ErrorKind::StorageFull, "text", exit::FAILED).0, exit::FAILED);
        assert_eq!(finished(ErrorKind::BrokenPipe, "text", exit::OK), (exit::OK, String::new()));
        assert_eq!(finished(ErrorKind::StorageFull, "", exit::OK), (exit::OK, String::new()));
    }
}
