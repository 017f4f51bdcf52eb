//! Tests of `enrolment`.
