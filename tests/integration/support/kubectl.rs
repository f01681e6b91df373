//! The plugin of kubectl in a folder of its own, with a script in place of kubectl.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kube-probesim");

/// A folder with the plugin and the script, which is called as kubectl.
pub struct PluginFolder(TempDir);

impl PluginFolder {
    pub fn new(script: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let kubectl = folder.path().join("kubectl");
        fs::write(&kubectl, script).unwrap();
        fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).unwrap();
        symlink(PROGRAM, folder.path().join("kubectl-probesim")).unwrap();
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The plugin, with these arguments. The script finds the program in `PROGRAM` and this machine's kubectl in `REAL`.
    pub fn command(&self, args: &str) -> Command {
        let mut command = Command::new(self.path().join("kubectl-probesim"));
        command.env_clear().env("PATH", format!("{}:/usr/bin:/bin", self.path().display()));
        command.env("PROGRAM", PROGRAM);
        let paths = std::env::var("PATH").unwrap();
        let mut kubectl = paths.split(':').map(|folder| Path::new(folder).join("kubectl"));
        command.envs(kubectl.find(|path| path.exists()).map(|real| ("REAL", real)));
        command.args(args.split_whitespace()).stdin(Stdio::null());
        command
    }

    /// The calls of kubectl, as the script wrote them down.
    pub fn calls(&self) -> String {
        fs::read_to_string(self.path().join("calls")).unwrap_or_default()
    }
}

/// How the plugin ended.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// The words of each line of the output.
    pub fn rows(&self) -> Vec<Vec<&str>> {
        self.out.lines().map(|line| line.split_whitespace().collect()).collect()
    }
}
