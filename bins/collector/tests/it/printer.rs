//! What the test containers run: does its arguments one after the other. Compiled by the tests
//! themselves, without dependencies.
//!
//! `out:TEXT` `err:TEXT` a line · `bare:TEXT` no LF · `hex:DIGITS` octets · `long:N` a line of N octets ·
//! `many:COUNT:PREFIX` numbered lines · `pace:COUNT:PREFIX` the same, one a millisecond · `sleep:MS` · `wait` for ever

use std::{
    io::Write,
    thread::{park, sleep},
    time::Duration,
};

fn main() {
    let mut out = std::io::stdout().lock();
    for argument in std::env::args().skip(1) {
        let (word, rest) = argument.split_once(':').unwrap_or((&argument, ""));
        match word {
            "out" => writeln!(out, "{rest}").expect("stdout"),
            "err" => writeln!(std::io::stderr(), "{rest}").expect("stderr"),
            "bare" => write!(out, "{rest}").expect("stdout"),
            "hex" => {
                let octet = |at| u8::from_str_radix(&rest[at..at + 2], 16).expect("hex digits");
                let octets: Vec<u8> = (0..rest.len()).step_by(2).map(octet).collect();
                out.write_all(&octets).expect("stdout");
            }
            "long" => writeln!(out, "{}", "x".repeat(rest.parse().expect("a number"))).expect("stdout"),
            "many" | "pace" => {
                let (count, prefix) = rest.split_once(':').expect("COUNT:PREFIX");
                for n in 0..count.parse::<u64>().expect("a number") {
                    writeln!(out, "{prefix}{n}").expect("stdout");
                    if word == "pace" {
                        sleep(Duration::from_millis(1));
                    }
                }
            }
            "sleep" => sleep(Duration::from_millis(rest.parse().expect("a number"))),
            _ => loop {
                park();
            },
        }
        out.flush().expect("stdout");
    }
}
