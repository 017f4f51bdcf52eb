//! syslog-ng at both ends, its buffer in memory or on disk.

use std::path::{Path, PathBuf};

use swarm::{Child, free_port};

use crate::pipeline::Pipeline;
use crate::stage::{Turn, listens, text};

/// syslog-ng, installed or unpacked: its package and rsyslog's exclude each other.
#[derive(Debug)]
pub(crate) struct SyslogNg {
    program: PathBuf,
    /// Of an unpacked one: folders of libraries, separated by colons, and the folder of modules.
    unpacked: Option<(String, PathBuf)>,
    disk: bool,
}

impl SyslogNg {
    /// Looks for an unpacked one below `root`, then for an installed one; with the buffer on disk, or in memory.
    ///
    /// # Errors
    /// What is missing.
    pub(crate) fn find(root: &Path, disk: bool) -> Result<Self, String> {
        let program = root.join("usr/sbin/syslog-ng");
        if program.exists() {
            let unpacked =
                Some(unpacked(root).map_err(|error| format!("{}: {error:#}", root.display()))?);
            return Ok(Self {
                program,
                unpacked,
                disk,
            });
        }
        let program = PathBuf::from("/usr/sbin/syslog-ng");
        match program.exists() {
            true => Ok(Self {
                program,
                unpacked: None,
                disk,
            }),
            false => Err(format!(
                "syslog-ng is neither installed nor unpacked in {}",
                root.display()
            )),
        }
    }

    fn start(&self, turn: &Turn<'_>, name: &str, config: &Path) -> anyhow::Result<Child> {
        let dir = turn.folder(name)?;
        let own = |file: &str| Ok::<_, anyhow::Error>(text(&dir.join(file))?.to_owned());
        let mut args = vec!["-F".to_owned(), "--no-caps".to_owned()];
        for (option, value) in [
            ("-f", text(config)?.to_owned()),
            ("-R", own("persist")?),
            ("-p", own("pid")?),
            ("-c", own("control")?),
        ] {
            args.extend([option.to_owned(), value]);
        }
        let mut env = Vec::new();
        if let Some((libraries, modules)) = &self.unpacked {
            env.push(("LD_LIBRARY_PATH", libraries.as_str()));
            args.push(format!("--module-path={}", text(modules)?));
        }
        Child::start(
            &self.program,
            args,
            &env,
            &turn.dir.join(format!("{name}.messages")),
        )
    }
}

/// Where an unpacked package has its libraries and modules.
fn unpacked(root: &Path) -> anyhow::Result<(String, PathBuf)> {
    let mut libraries = vec![root.join("usr/lib/syslog-ng")];
    for above in ["usr/lib", "lib"] {
        let Ok(entries) = std::fs::read_dir(root.join(above)) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            if path.to_string_lossy().ends_with("-linux-gnu") {
                libraries.push(path);
            }
        }
    }
    let mut modules = None;
    for entry in std::fs::read_dir(&libraries[0])? {
        let path = entry?.path();
        if path.is_dir() && path.join("libaffile.so").exists() {
            modules = Some(path);
        }
    }
    let libraries: Vec<_> = libraries
        .iter()
        .map(|path| path.to_string_lossy())
        .collect();
    let modules = modules.ok_or_else(|| anyhow::format_err!("no folder of modules"))?;
    Ok((libraries.join(":"), modules))
}

impl Pipeline for SyslogNg {
    fn receive(&self, turn: &Turn<'_>) -> anyhow::Result<(Child, u16)> {
        let port = free_port()?;
        let (output, number) = (turn.output(), port.to_string());
        let values = [
            ("IDENTITY", text(&turn.stage.master)?),
            ("OUT", text(&output)?),
            ("PORT", &number),
        ];
        let config = turn.configure(
            "receive.conf",
            include_str!("../peers/syslog-ng-receive.conf"),
            &values,
        )?;
        let mut child = self.start(turn, "receive", &config)?;
        listens(&mut child, port)?;
        Ok((child, port))
    }

    fn send(&self, turn: &Turn<'_>, port: u16) -> anyhow::Result<Child> {
        let (dir, number) = (turn.folder("send")?, port.to_string());
        let buffer = match self.disk {
            true => format!("{DISK_BUFFER} dir(\"{}\"))", text(&dir)?),
            false => String::new(),
        };
        let values = [
            ("IDENTITY", text(&turn.stage.worker)?),
            ("IN", text(&turn.stage.input)?),
            ("PORT", &number),
            ("BUFFER", &buffer),
        ];
        let config = turn.configure(
            "send.conf",
            include_str!("../peers/syslog-ng-send.conf"),
            &values,
        )?;
        self.start(turn, "send", &config)
    }
}

/// Reliable: every line goes through the file.
const DISK_BUFFER: &str =
    "disk-buffer(reliable(yes) disk-buf-size(1073741824) mem-buf-size(16777216)";
