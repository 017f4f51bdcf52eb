//! The archive over real files: windows that stand or are void, and what is left after a crash at each step.

mod recovery;
mod support;
mod window;
