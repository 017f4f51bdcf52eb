//! Durable checkpoints on SQLite, and the planned append.
