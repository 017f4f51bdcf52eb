//! Dedupe window, back-off and token bucket with the clock as an argument.
