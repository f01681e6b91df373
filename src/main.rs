//! The `kube-probesim` command.

fn main() {}
