//! Receives syslog over mutual TLS and keeps it per worker.
