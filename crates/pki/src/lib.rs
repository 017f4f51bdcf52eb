//! Who may speak to whom: the CA and its certificates, the registry of workers, and the TLS configurations
//! made from them.
//!
//! An edge crate: it reads and writes key files and one SQLite file, and takes the time as an argument
//! wherever a certificate is made. What it holds to:
//!
//! - Certificates lie in DECNET's layout (`ca.key ca.crt master/… workers/NAME/…`), directories 0700, files
//!   0600, each written whole (temporary file, fsync, rename, directory fsync). A private key is never
//!   readable by others, not for a moment.
//! - New keys are ECDSA P-256. DECNET's RSA certificates (no SKI, no AKI, critical EKU) keep working.
//! - A peer is the subject CN of its certificate, checked by pattern, and the SHA-256 of its DER. No name
//!   from a message is ever believed.
//! - TLS 1.3 and 1.2 with the suites of rustls, no session tickets, no resumption, no early data.
//!
//! Deviations from the standards, on purpose:
//!
//! - RFC 9662 §4: `TLS_RSA_WITH_AES_128_CBC_SHA` is not offered (no forward secrecy; rustls has no static
//!   RSA). `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256` needs an RSA master key: with the P-256 identity that
//!   `init` makes, a TLS 1.2 peer must know the ECDSA suites. An RSA identity put in its place is served.
//! - RFC 5425 §5.2: the common name is never matched against a host name, only a SAN is.
//! - RFC 5280 §4.2.1.12: a leaf without extended key usage passes for any purpose, as the RFC says; one
//!   with it must name the purpose. Key usage is checked here, since webpki 0.103 does not.
//!
//! ```no_run
//! # async fn example(tcp: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
//! use pki::{ServerTls, Trust};
//! let tls = ServerTls::open("/var/lib/logferry".as_ref(), Trust::Registry).await?;
//! let accepted = tls.accept(tcp, std::time::Duration::from_secs(10)).await?;
//! println!("{} is here", accepted.peer.name);
//! # Ok(()) }
//! ```
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")
)]

mod authority;
mod certificate;
mod client;
mod crypto;
mod enrolment;
mod files;
mod fingerprint;
mod gate;
mod identity;
mod import;
mod layout;
mod loaded;
mod name;
mod peer;
mod refusal;
mod registry;
mod reload;
mod server;
mod watch;

pub use authority::{Authority, AuthorityError, InitOptions, Initialised, Issued};
pub use certificate::{CA_LIFETIME, LEAF_LIFETIME};
pub use client::{ConnectProblem, MasterCheck, MasterNameError, client_config, server_name};
pub use enrolment::{EnrolError, Enrolment, enrol};
pub use files::FileError;
pub use fingerprint::{BadFingerprint, Fingerprint};
pub use identity::{Identity, IdentityError, IdentityProblem};
pub use import::{ImportError, Imported, SkipReason, Skipped, import};
pub use loaded::{Expiry, ServerTlsError};
pub use name::{NameError, SubjectName, SubjectNameError, WorkerName};
pub use peer::{Peer, PeerError, peer};
pub use refusal::Refusal;
pub use registry::{Certificate, Registry, RegistryError, Revocation, Standing, Worker};
pub use server::{Accepted, Mode, ServerTls, Trust};
pub use watch::{RegistryWatch, Roster};

/// Names of the master that a forwarder accepts unless it is told otherwise: ours, and DECNET's.
pub const MASTER_NAMES: [&str; 2] = ["logferry-master", "decnet-master"];

/// ALPN identifier of acknowledged mode (docs/wire.md).
pub const ALPN_ACKNOWLEDGED: &[u8] = b"logferry/1";
