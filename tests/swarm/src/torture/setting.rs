//! The setting of a torture: disks, identities, configurations, writers.

use std::fs;
use std::path::Path;

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::docker::{self, Log};
use super::voice::Voice;
use super::{
    CLIENTS, CONTAINERS, Disk, Kind, Logs, OwnLog, Rotator, Scribe, Swarm, Tally, Torture, WORKER,
};
use crate::audit::client::Client;
use crate::house::{Program, enrol};
use crate::peers::free_port;
use crate::programs::Programs;
use crate::proxy::Proxy;

impl Swarm {
    /// Everything in its place below `dir`, nothing running but the writers, which may not write yet.
    pub(super) fn build(
        programs: &Programs,
        dir: &Path,
        torture: &Torture,
    ) -> anyhow::Result<Swarm> {
        let mut random = SmallRng::seed_from_u64(torture.seed);
        let worker_disk = Disk::mount(
            &dir.join("worker-disk"),
            torture.lines * 1_100 + (512 << 20),
        )?;
        let master_disk = Disk::mount(&dir.join("master-disk"), torture.lines * 450 + (512 << 20))?;
        let fills = worker_disk.can_fill() && master_disk.can_fill();
        if !fills && !torture.without.contains(&Kind::Full) {
            let missing = "no disk is ever full in this run: small ones can't be mounted (run as root, with mkfs.ext4 \
                           and loop devices, or leave the fault out: --without full)";
            service::testing::skip("torture: full disks", missing);
        }
        let merged = dir.join("merged");
        let (log_dir, app_dir) = (worker_disk.dir().join("log"), dir.join("app"));
        for dir in [&merged, &log_dir, &app_dir] {
            fs::create_dir_all(dir)?;
        }
        let (decky, app) = (log_dir.join("decky.log"), app_dir.join("app.log"));
        let audit = log_dir.join("audit.log");
        let rotator = |live: &Path| {
            Rotator::new(
                live,
                &live
                    .with_file_name("kept")
                    .join(live.file_name().unwrap_or_default()),
            )
        };
        let logs = Logs {
            decky: rotator(&decky)?,
            json: rotator(&decky.with_extension("json"))?,
            audit: rotator(&audit)?,
            audit_json: rotator(&audit.with_extension("json"))?,
            app: rotator(&app)?,
            merged_log: rotator(&merged.join("master.log"))?,
            merged_json: rotator(&merged.join("master.json"))?,
        };

        let proxy = Proxy::start()?;
        let addr = format!("127.0.0.1:{}", free_port()?);
        proxy.lead_to(&addr)?;
        let data = master_disk.dir().join("data");
        let identity = dir.join("identity");
        enrol(programs, &data, &identity, WORKER)?;
        let listener = format!(
            "listen = \"{addr}\"\ndata = {data:?}\n[segment]\nmax_bytes = \"8MiB\"\n[merged]\nlog = {:?}\njson = {:?}\n",
            merged.join("master.log"),
            merged.join("master.json")
        );
        let forwarder = format!(
            "masters = [{:?}]\nidentity = {identity:?}\nstate = {:?}\ndelivery = \"acknowledged\"\n\
             [[stream]]\nname = \"decky\"\npath = {decky:?}\n[[stream]]\nname = \"audit\"\npath = {audit:?}\n\
             [[stream]]\nname = \"app\"\npath = {app:?}\n",
            proxy.addr(),
            dir.join("forwarder-state")
        );
        let socket = dir.join("docker.sock");
        let collector = format!(
            "log = {decky:?}\nstate = {:?}\ndocker = \"unix://{}\"\nread = \"file\"\nlabels = [{:?}]\n[dedupe]\nwindow = \"0s\"\n",
            worker_disk.dir().join("collector-state"),
            socket.display(),
            docker::LABEL
        );
        // A disk is full for a moment only: clients are held up, and nothing is dropped.
        let audit_socket = dir.join("audit.sock");
        let audit_proxy = format!(
            "socket = {audit_socket:?}\nlog = {audit:?}\nstate = {:?}\n[limits]\nfull_wait = \"60s\"\n",
            worker_disk.dir().join("audit-state")
        );

        let containers = dir.join("containers");
        let names: Vec<String> = (0..CONTAINERS).map(|n| format!("torture-{n}")).collect();
        let own = OwnLog {
            path: app.clone(),
            writing: Default::default(),
        };
        let mut scribes = Vec::new();
        for (n, name) in names.iter().enumerate() {
            let log = Log::create(
                &containers,
                &docker::id(n),
                random.random_range(1 << 20..16 << 20),
            )?;
            scribes.push(Scribe::container(
                Voice::new(name, true, random.random()),
                log,
                random.random(),
            ));
        }
        let voice = Voice::new(&format!("torture-{CONTAINERS}"), false, random.random());
        scribes.push(Scribe::program(voice, own.clone(), random.random()));
        let clients = (0..CLIENTS).map(|n| Client::start(n, &audit_socket, random.random()));
        let clients = clients.collect();
        Ok(Swarm {
            lines: torture.lines,
            without: torture.without.clone(),
            collector: Program::new(programs, "collector", dir, &collector)?,
            audit_proxy: Program::new(programs, "audit-proxy", dir, &audit_proxy)?,
            forwarder: Program::new(programs, "forwarder", dir, &forwarder)?,
            listener: Program::new(programs, "listener", dir, &listener)?,
            proxy,
            _docker: docker::Daemon::start(&socket, &containers, &names)?,
            scribes,
            own,
            clients,
            logs,
            data,
            worker_disk,
            master_disk,
            tally: Tally::default(),
            random,
        })
    }
}
