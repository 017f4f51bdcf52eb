//! Docker through its command: the machine's daemon, or one of our own that may be restarted; images made from our
//! static programs, so that no registry is needed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::child::Child;
use crate::wait::until;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A Docker daemon.
#[derive(Debug)]
pub struct Daemon {
    host: String,
    own: Option<Own>,
}

/// What a daemon of our own needs to be started again.
#[derive(Debug)]
struct Own {
    dir: PathBuf,
    child: Option<Child>,
}

impl Daemon {
    /// The machine's daemon, if one answers.
    pub fn system() -> Option<Daemon> {
        let host = std::env::var("DOCKER_HOST")
            .unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
        let daemon = Daemon { host, own: None };
        daemon
            .docker(&["version", "--format", "{{.Server.Version}}"])
            .ok()?;
        Some(daemon)
    }

    /// A daemon of our own below `dir`: own data root, socket and pid file, no network, no shared containerd state.
    ///
    /// # Errors
    /// dockerd is not installed, or does not come up; the error holds its last messages.
    pub fn own(dir: &Path) -> anyhow::Result<Daemon> {
        std::fs::create_dir_all(dir)?;
        let host = format!("unix://{}", dir.join("docker.sock").display());
        let mut daemon = Daemon {
            host,
            own: Some(Own {
                dir: dir.to_path_buf(),
                child: None,
            }),
        };
        daemon.start()?;
        Ok(daemon)
    }

    /// Starts our own daemon and waits until it answers.
    ///
    /// # Errors
    /// As [`Daemon::own`]; or this is the machine's daemon.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let own = self
            .own
            .as_mut()
            .context("the machine's daemon is not ours to start")?;
        let path = |name: &str| own.dir.join(name).display().to_string();
        let namespace = format!("logferry-test-{}", std::process::id());
        // The machine's own configuration file would collide with these flags.
        std::fs::write(own.dir.join("daemon.json"), "{}")?;
        let args = [
            "--config-file".to_owned(),
            path("daemon.json"),
            "--data-root".to_owned(),
            path("data"),
            "--exec-root".to_owned(),
            path("exec"),
            "--pidfile".to_owned(),
            path("docker.pid"),
            "--host".to_owned(),
            self.host.clone(),
            "--containerd-namespace".to_owned(),
            namespace.clone(),
            "--containerd-plugins-namespace".to_owned(),
            format!("{namespace}-plugins"),
            "--storage-driver=vfs".to_owned(),
            "--bridge=none".to_owned(),
            "--iptables=false".to_owned(),
            "--ip-forward=false".to_owned(),
            "--shutdown-timeout=2".to_owned(),
        ];
        let mut child = Child::start(
            Path::new("dockerd"),
            args,
            &[],
            &own.dir.join("dockerd.messages"),
        )?;
        let host = self.host.clone();
        until("our dockerd answers", Duration::from_secs(60), || {
            child.check_alive()?;
            Ok(docker(&host, &["version", "--format", "{{.Server.Version}}"]).ok())
        })?;
        own.child = Some(child);
        Ok(())
    }

    /// Stops our own daemon in order (SIGTERM); its containers stop with it.
    ///
    /// # Errors
    /// It does not stop, or is not ours.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let own = self
            .own
            .as_mut()
            .context("the machine's daemon is not ours to stop")?;
        if let Some(child) = own.child.take() {
            child.stop(Duration::from_secs(60))?;
        }
        Ok(())
    }

    /// `unix://…`, as the collector's `docker` key takes it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Runs `docker ARGS` and gives its standard output, trimmed.
    ///
    /// # Errors
    /// The command fails; the error holds what it printed.
    pub fn docker(&self, args: &[&str]) -> anyhow::Result<String> {
        docker(&self.host, args)
    }

    /// Makes an image whose only file is `program`.
    ///
    /// # Errors
    /// tar or docker fails.
    pub fn image(&self, program: &Path) -> anyhow::Result<Image> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("logferry-test-decoy:{}-{number}", std::process::id());
        let dir = program.parent().context("program has no folder")?;
        let file = program.file_name().context("program has no name")?;
        let mut tar = Command::new("tar")
            .arg("-C")
            .arg(dir)
            .arg("-c")
            .arg(file)
            .stdout(Stdio::piped())
            .spawn()
            .context("start tar")?;
        let entry = format!("ENTRYPOINT [\"/{}\"]", file.to_string_lossy());
        let status = Command::new("docker")
            .args([
                "--host", &self.host, "import", "--change", &entry, "-", &name,
            ])
            .stdin(tar.stdout.take().context("tar has no output")?)
            .stdout(Stdio::null())
            .status()
            .context("start docker")?;
        if !tar.wait()?.success() || !status.success() {
            bail!("docker import of {} failed", program.display());
        }
        Ok(Image {
            host: self.host.clone(),
            name,
        })
    }

    /// Starts a container.
    ///
    /// # Errors
    /// docker refuses it.
    pub fn run(&self, image: &Image, spec: &ContainerSpec) -> anyhow::Result<Container> {
        let mut args: Vec<String> = ["run", "--detach", "--network=none", "--name"]
            .map(str::to_owned)
            .to_vec();
        args.push(spec.name.clone());
        args.push(format!("--log-driver={}", spec.driver));
        for option in &spec.log_options {
            args.push(format!("--log-opt={option}"));
        }
        for label in &spec.labels {
            args.push(format!("--label={label}"));
        }
        if spec.tty {
            args.push("--tty".to_owned());
        }
        args.push(image.name.clone());
        args.extend(spec.args.iter().cloned());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let id = self.docker(&args).inspect_err(|_| {
            // Docker leaves a container behind that it could not start.
            let _ = self.docker(&["rm", "--force", &spec.name]);
        })?;
        Ok(Container {
            host: self.host.clone(),
            id,
            name: spec.name.clone(),
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(own) = &mut self.own {
            if let Some(child) = own.child.take() {
                let _ = child.stop(Duration::from_secs(30));
            }
            // What a daemon of ours leaves mounted goes with it, so that its folder can be removed.
            let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
            let below = own.dir.display().to_string();
            for target in mounts
                .lines()
                .filter_map(|l| l.split(' ').nth(1))
                .filter(|t| t.starts_with(&below))
            {
                let _ = Command::new("umount").args(["--lazy", target]).status();
            }
        }
    }
}

fn docker(host: &str, args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("docker")
        .args(["--host", host])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .context("start docker")?;
    if !output.status.success() {
        let words = args.first().copied().unwrap_or_default();
        bail!(
            "docker {words} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// An image of ours; removed when dropped.
#[derive(Debug)]
pub struct Image {
    host: String,
    name: String,
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = docker(&self.host, &["image", "rm", "--force", &self.name]);
    }
}

/// What to start.
#[derive(Debug, Clone)]
pub struct ContainerSpec {
    /// Container name.
    pub name: String,
    /// `KEY=VALUE` labels.
    pub labels: Vec<String>,
    /// Logging driver.
    pub driver: String,
    /// `KEY=VALUE` options of the logging driver.
    pub log_options: Vec<String>,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// The program's arguments.
    pub args: Vec<String>,
}

impl ContainerSpec {
    /// A `json-file` container without rotation.
    pub fn new(name: &str, args: &[&str]) -> ContainerSpec {
        ContainerSpec {
            name: name.to_owned(),
            labels: vec!["logferry.test=true".to_owned()],
            driver: "json-file".to_owned(),
            // Said out loud, since the daemon's configuration may say otherwise.
            log_options: vec!["max-size=100g".to_owned(), "max-file=1".to_owned()],
            tty: false,
            args: args.iter().map(|a| (*a).to_owned()).collect(),
        }
    }

    /// Adds a `KEY=VALUE` label.
    pub fn label(mut self, label: &str) -> ContainerSpec {
        self.labels.push(label.to_owned());
        self
    }

    /// Chooses the logging driver and its options.
    pub fn driver(mut self, driver: &str, options: &[&str]) -> ContainerSpec {
        self.driver = driver.to_owned();
        self.log_options = options.iter().map(|o| (*o).to_owned()).collect();
        self
    }

    /// Gives it a terminal.
    pub fn tty(mut self) -> ContainerSpec {
        self.tty = true;
        self
    }
}

/// A container of ours; removed when dropped.
#[derive(Debug)]
pub struct Container {
    host: String,
    /// The 64-digit id.
    pub id: String,
    /// Its name.
    pub name: String,
}

impl Container {
    /// Runs `docker VERB ID` (`stop`, `start`, `kill`, …).
    ///
    /// # Errors
    /// docker refuses it.
    pub fn act(&self, verb: &str) -> anyhow::Result<String> {
        docker(&self.host, &[verb, &self.id])
    }

    /// Waits until its program has ended.
    ///
    /// # Errors
    /// It has not after `limit`, or it ended with a code.
    pub fn wait_exit(&self, limit: Duration) -> anyhow::Result<()> {
        let state = until(&format!("container {} ends", self.name), limit, || {
            let format = "{{.State.Status}} {{.State.ExitCode}}";
            let state = docker(&self.host, &["inspect", "--format", format, &self.id])?;
            Ok(state.starts_with("exited").then_some(state))
        })?;
        anyhow::ensure!(
            state == "exited 0",
            "container {} ended with {state}",
            self.name
        );
        Ok(())
    }

    /// The json-file driver's live file.
    ///
    /// # Errors
    /// The container is gone.
    pub fn log_path(&self) -> anyhow::Result<PathBuf> {
        Ok(docker(
            &self.host,
            &["inspect", "--format", "{{.LogPath}}", &self.id],
        )?
        .into())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = docker(&self.host, &["rm", "--force", &self.id]);
    }
}
