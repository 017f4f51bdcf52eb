//! Exit codes of each kind of failure.

use anyhow::anyhow;

use super::Failure;
use crate::config::Problems;

#[test]
fn codes_are_those_of_the_interface() {
    assert_eq!(Failure::Closed.code(), 0);
    assert_eq!(Failure::from(anyhow!("port taken")).code(), 1);
    assert_eq!(Failure::not_built("join").code(), 2);
    assert_eq!(Failure::from(Problems::new()).code(), 78);
}
