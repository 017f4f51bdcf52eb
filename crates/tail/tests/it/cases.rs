//! One case after the other.
