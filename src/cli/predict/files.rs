//! Reads the input files.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::file::{self, FileError};
use crate::order;
use crate::predict::manifest::{Input, MAX_INPUT};

/// Why an input cannot be read.
#[derive(Debug, Error)]
pub(super) enum InputError {
    #[error("{0}")]
    File(#[from] FileError),
    #[error("is a directory without .yaml, .yml or .json files")]
    NoManifests,
}

impl InputError {
    /// Whether the file could be read but its content is invalid.
    pub(super) fn is_content(&self) -> bool {
        matches!(self, Self::File(FileError::NotUtf8(_) | FileError::TooLarge(_)))
    }
}

/// Reads files, directories and standard input. Each error has the name of its input.
pub(super) fn read(
    files: &[OsString],
    stdin: &mut dyn Read,
) -> Result<Vec<Input>, Vec<(String, InputError)>> {
    let mut inputs = Vec::new();
    let mut errors = Vec::new();
    for argument in files {
        if argument == "-" {
            let name = "standard input".to_owned();
            match file::read_all(&mut *stdin, MAX_INPUT) {
                Ok(text) => inputs.push(Input { name, text }),
                Err(error) => errors.push((name, error.into())),
            }
            continue;
        }
        let path = Path::new(argument);
        let files = match if path.is_dir() { manifests_in(path) } else { Ok(vec![path.to_owned()]) } {
            Ok(files) => files,
            Err(error) => {
                errors.push((path.display().to_string(), error));
                continue;
            }
        };
        for path in files {
            let name = path.display().to_string();
            match file::read_named(&path, MAX_INPUT) {
                Ok(text) => inputs.push(Input { name, text }),
                Err(error) => errors.push((name, error.into())),
            }
        }
    }
    if errors.is_empty() { Ok(inputs) } else { Err(errors) }
}

/// The manifests of a directory in the order of their names, as with `kubectl -f`: without subdirectories and kustomizations.
fn manifests_in(directory: &Path) -> Result<Vec<PathBuf>, InputError> {
    let mut files = Vec::new();
    for entry in directory.read_dir().map_err(FileError::from)? {
        let path = entry.map_err(FileError::from)?.path();
        let is_manifest = path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json");
        let is_kustomization = path.file_stem().is_some_and(|stem| stem == "kustomization");
        if is_manifest && !is_kustomization && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(InputError::NoManifests);
    }
    order::sort(&mut files);
    Ok(files)
}
