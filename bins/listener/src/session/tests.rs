//! Reading, without TLS.
