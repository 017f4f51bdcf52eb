//! A local swarm: one master, two workers, decoys; and the end-to-end tests.
