//! The programs under test, built once per process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, bail};

/// Where the built programs lie.
#[derive(Debug, Clone)]
pub struct Programs {
    dir: PathBuf,
}

static BUILT: OnceLock<Result<Programs, String>> = OnceLock::new();
static DECOY: OnceLock<Result<PathBuf, String>> = OnceLock::new();

impl Programs {
    /// Builds audit proxy, collector, forwarder and listener in release, as an operator runs them, or takes the folder that
    /// `LOGFERRY_BIN_DIR` names.
    ///
    /// # Errors
    /// The build fails.
    pub fn build() -> anyhow::Result<Programs> {
        if let Some(dir) = std::env::var_os("LOGFERRY_BIN_DIR") {
            return Ok(Programs { dir: dir.into() });
        }
        let built = BUILT.get_or_init(|| {
            let args = [
                "-p",
                "audit-proxy",
                "-p",
                "collector",
                "-p",
                "forwarder",
                "-p",
                "listener",
                "--bins",
            ];
            let paths = cargo_build(&args, None).map_err(|e| format!("{e:#}"))?;
            match paths.first().and_then(|p| p.parent()) {
                Some(dir) => Ok(Programs {
                    dir: dir.to_path_buf(),
                }),
                None => Err("cargo named no program".to_owned()),
            }
        });
        built.clone().map_err(anyhow::Error::msg)
    }

    /// The decoy, linked statically, so that it is an image's only file; or the one in the folder that
    /// `LOGFERRY_BIN_DIR` names.
    ///
    /// # Errors
    /// The build fails.
    pub fn decoy() -> anyhow::Result<PathBuf> {
        if let Some(dir) = std::env::var_os("LOGFERRY_BIN_DIR") {
            return Ok(Path::new(&dir).join("logferry-decoy"));
        }
        let built = DECOY.get_or_init(|| {
            let args = ["-p", "decoy", "--bin", "logferry-decoy"];
            let paths = cargo_build(&args, Some("-C target-feature=+crt-static"))
                .map_err(|e| format!("{e:#}"))?;
            paths
                .into_iter()
                .next()
                .ok_or_else(|| "cargo named no decoy".to_owned())
        });
        built.clone().map_err(anyhow::Error::msg)
    }

    /// The path of a program, such as `logferry-listener`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Runs a command of a program to its end and gives its standard output.
    ///
    /// # Errors
    /// It can't be started, or exits with another code than 0; the error holds what it printed.
    pub fn run(&self, name: &str, args: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(self.path(name))
            .args(args)
            .stdin(Stdio::null())
            .output();
        let output = output.with_context(|| format!("start {name}"))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!(
                "{name} {} ended with {}: {stderr}",
                args.join(" "),
                output.status
            );
        }
        String::from_utf8(output.stdout)
            .with_context(|| format!("{name} printed something that is not UTF-8"))
    }
}

/// Builds in release and gives the paths of the programs built. With `rustflags` the host's triple is given as target,
/// so that the flags reach our program alone and not build scripts.
fn cargo_build(args: &[&str], rustflags: Option<&str>) -> anyhow::Result<Vec<PathBuf>> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--release",
            "--message-format=json",
            "--manifest-path",
        ])
        .arg(manifest)
        .args(args);
    if let Some(flags) = rustflags {
        command
            .env("RUSTFLAGS", flags)
            .args(["--target", &host_triple()?]);
    }
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo")?;
    if !output.status.success() {
        bail!(
            "cargo build {} ended with {}",
            args.join(" "),
            output.status
        );
    }
    let mut paths = Vec::new();
    for line in output
        .stdout
        .split(|&b| b == b'\n')
        .filter(|l| l.starts_with(b"{"))
    {
        let message: serde_json::Value = serde_json::from_slice(line)?;
        if let Some(path) = message["executable"].as_str() {
            paths.push(PathBuf::from(path));
        }
    }
    Ok(paths)
}

fn host_triple() -> anyhow::Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("start rustc")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|l| l.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}
