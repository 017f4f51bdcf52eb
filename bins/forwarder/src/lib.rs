//! Tails log files and delivers them to the master over mutual TLS.
