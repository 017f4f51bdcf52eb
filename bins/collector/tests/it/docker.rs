//! On a real daemon.
