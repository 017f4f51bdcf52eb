//! What every program needs once: configuration, logging, metrics, status, signals, exit codes.
