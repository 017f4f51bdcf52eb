//! Readers started, ended and started again.
