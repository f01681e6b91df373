//! Compresses the files of the admin listener's page, so that the binary holds them as they are sent, and the
//! description of the API.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use flate2::write::{DeflateEncoder, GzEncoder};
use flate2::{Compression, Crc};

/// Where the files are.
const PAGE: &str = "src/admin/page";

/// The description of the API.
const OPENAPI: &str = "src/admin/openapi.json";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PAGE}");
    println!("cargo::rerun-if-changed={OPENAPI}");
    println!("cargo::rerun-if-changed=build.rs");
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let root = manifest.join(PAGE);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    // The order of a directory differs between machines, and builds must not.
    files.sort();
    let mut table = "static FILES: &[File] = &[\n".to_owned();
    for (index, path) in files.iter().enumerate() {
        let name = path.strip_prefix(&root)?.to_str().ok_or("a file name is not UTF-8")?;
        let kind = kind(path).ok_or_else(|| format!("{name}: no media type is known for it"))?;
        // The header has neither a time nor a name.
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&fs::read(path)?)?;
        let bytes = encoder.finish()?;
        let mut sum = Crc::new();
        sum.update(&bytes);
        let compressed = out.join(format!("page-{index}.gz"));
        fs::write(&compressed, &bytes)?;
        writeln!(
            table,
            "File {{ name: {name:?}, kind: {kind:?}, etag: \"\\\"{:08x}-{:x}\\\"\", gzip: include_bytes!({:?}) }},",
            sum.sum(),
            bytes.len(),
            compressed.to_str().ok_or("OUT_DIR is not UTF-8")?
        )?;
    }
    table.push_str("];\n");
    fs::write(out.join("page.rs"), table)?;
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&fs::read(manifest.join(OPENAPI))?)?;
    fs::write(out.join("openapi.deflate"), encoder.finish()?)?;
    Ok(())
}

/// All files below a directory.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The media type of a file, by the end of its name.
fn kind(path: &Path) -> Option<&'static str> {
    Some(match path.extension()?.to_str()? {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        _ => return None,
    })
}
