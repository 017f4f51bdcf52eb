//! A network that fails on demand, between forwarder and listener: it cuts connections at any octet, leaves them
//! half open, and delivers an old connection's octets after a new one has begun.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;

/// How long a read waits before it looks at its orders again.
const LOOK: Duration = Duration::from_millis(20);
/// Connections kept in mind.
const KEPT: usize = 64;

/// The network.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    wires: Arc<Mutex<Vec<Arc<Wire>>>>,
    made: Arc<AtomicU64>,
}

/// One connection through it.
#[derive(Debug)]
struct Wire {
    near: TcpStream,
    far: TcpStream,
    /// Octets, of both directions, after which it is cut; below zero: none.
    cut_after: AtomicI64,
    /// Nothing passes while this holds: what arrives waits, and nobody is told.
    held: AtomicBool,
    over: AtomicBool,
}

impl Proxy {
    /// Listens on a port of its own.
    ///
    /// # Errors
    /// There is no port.
    pub fn start() -> anyhow::Result<Proxy> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("bind the proxy")?;
        let proxy = Proxy {
            addr: listener.local_addr()?,
            target: Arc::default(),
            wires: Arc::default(),
            made: Arc::default(),
        };
        let (target, wires, made) = (
            proxy.target.clone(),
            proxy.wires.clone(),
            proxy.made.clone(),
        );
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Some(target) = *lock(&target) else {
                    continue;
                };
                // Without a listener behind it the connection ends as it would with it.
                let Ok(far) = TcpStream::connect(target) else {
                    continue;
                };
                if let Some(wire) = Wire::new(near, far) {
                    made.fetch_add(1, Ordering::Relaxed);
                    let mut wires = lock(&wires);
                    wires.retain(|wire| !wire.over.load(Ordering::Relaxed));
                    if wires.len() < KEPT {
                        wires.push(wire);
                    }
                }
            }
        });
        Ok(proxy)
    }

    /// Where forwarders connect.
    pub fn addr(&self) -> String {
        self.addr.to_string()
    }

    /// Where connections lead.
    ///
    /// # Errors
    /// `target` is no address.
    pub fn lead_to(&self, target: &str) -> anyhow::Result<()> {
        *lock(&self.target) = Some(target.parse().context("the listener's address")?);
        Ok(())
    }

    /// Leads nowhere from now on: every connection is cut at once, and new ones end as soon as they are made.
    pub fn part(&self) {
        *lock(&self.target) = None;
        for wire in lock(&self.wires).iter() {
            wire.cut();
        }
    }

    /// Cuts every connection after so many more octets.
    pub fn cut_after(&self, octets: u32) {
        for wire in lock(&self.wires).iter() {
            wire.cut_after.store(i64::from(octets), Ordering::SeqCst);
        }
    }

    /// Holds back all that the connections of now carry, and tells neither end.
    pub fn hold(&self) -> Held {
        let wires: Vec<Arc<Wire>> = lock(&self.wires).clone();
        for wire in &wires {
            wire.held.store(true, Ordering::SeqCst);
        }
        Held { wires }
    }

    /// How many connections were made.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }
}

/// Connections that are held back.
#[derive(Debug)]
pub struct Held {
    wires: Vec<Arc<Wire>>,
}

impl Held {
    /// Lets them go on, with what waited.
    pub fn release(self) {
        for wire in &self.wires {
            wire.held.store(false, Ordering::SeqCst);
        }
    }

    /// Ends them at the forwarder's side only: for the listener they stay as they are, for as long as it lives.
    pub fn leave_half_open(self) {
        for wire in &self.wires {
            let _ = wire.near.shutdown(Shutdown::Both);
        }
    }

    /// Ends them at the listener's side only: the forwarder has to find out by itself.
    pub fn leave_deaf(self) {
        for wire in &self.wires {
            let _ = wire.far.shutdown(Shutdown::Both);
        }
    }
}

impl Wire {
    fn new(near: TcpStream, far: TcpStream) -> Option<Arc<Wire>> {
        for stream in [&near, &far] {
            stream.set_nodelay(true).ok()?;
            stream.set_read_timeout(Some(LOOK)).ok()?;
        }
        let wire = Arc::new(Wire {
            near,
            far,
            cut_after: AtomicI64::new(-1),
            held: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        for there in [true, false] {
            let wire = Arc::clone(&wire);
            std::thread::spawn(move || wire.pump(there));
        }
        Some(wire)
    }

    /// Carries one direction until either end is gone or the wire is cut.
    fn pump(&self, there: bool) {
        let (mut from, mut to) = if there {
            (&self.near, &self.far)
        } else {
            (&self.far, &self.near)
        };
        let mut buf = vec![0; 64 << 10];
        while !self.over.load(Ordering::SeqCst) {
            if self.held.load(Ordering::SeqCst) {
                std::thread::park_timeout(LOOK);
                continue;
            }
            let len = match from.read(&mut buf) {
                Ok(0) => break,
                Ok(len) => len,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    continue;
                }
                Err(_) => break,
            };
            while self.held.load(Ordering::SeqCst) && !self.over.load(Ordering::SeqCst) {
                std::thread::park_timeout(LOOK);
            }
            let pass = self.allowed(len);
            if to.write_all(&buf[..pass]).is_err() || pass < len {
                break;
            }
        }
        self.cut();
    }

    /// How many of so many octets may pass.
    fn allowed(&self, len: usize) -> usize {
        let before = self.cut_after.load(Ordering::SeqCst);
        if before < 0 {
            return len;
        }
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        let left = self.cut_after.fetch_sub(len, Ordering::SeqCst);
        usize::try_from(left.clamp(0, len)).unwrap_or(0)
    }

    fn cut(&self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = self.near.shutdown(Shutdown::Both);
        let _ = self.far.shutdown(Shutdown::Both);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
