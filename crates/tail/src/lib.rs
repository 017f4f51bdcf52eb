//! Follow a file through rotation, copytruncate and restart.
