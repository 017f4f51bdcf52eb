//! Metrics as a scraper sees them: the text of `/metrics`, asked for over a program's own socket.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

/// How long an endpoint may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// One answer.
#[derive(Debug, Clone)]
pub struct Metrics {
    text: String,
}

impl Metrics {
    /// Asks the endpoint behind a Unix socket.
    ///
    /// # Errors
    /// Nobody answers, or not with 200.
    pub fn ask(socket: &Path) -> anyhow::Result<Metrics> {
        let mut stream = UnixStream::connect(socket)
            .with_context(|| format!("connect to {}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        anyhow::ensure!(
            text.starts_with("HTTP/1.1 200 "),
            "{} answers {text}",
            socket.display()
        );
        Ok(Metrics { text })
    }

    /// The sum of all samples of a metric whose labels include these words, such as `cause="lag-cap"`.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let samples = self.text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let of_it = rest.starts_with('{') || rest.starts_with(' ');
            let (shown, value) = rest.rsplit_once(' ')?;
            let chosen = of_it && labels.iter().all(|label| shown.contains(label));
            chosen.then(|| value.parse::<f64>().ok())?
        });
        samples.sum()
    }
}
