//! The master's archive: segments, ledger, index.
