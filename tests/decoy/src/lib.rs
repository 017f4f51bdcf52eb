//! Plays DECNET services: lines of the kinds that they print, and worse, chosen from a seed.
//!
//! What a decoy prints is a pure function of its name, the seed, the profile and the sequence
//! number, so that a test can say, octet for octet, what was printed, and what record each line
//! must become, without having listened. The stamps too are made from the number.
//!
//! ```
//! use decoy::{Decoy, Profile};
//!
//! let decoy = Decoy { name: "omega-decky".to_owned(), seed: 7, profile: Profile::Hostile };
//! assert_eq!(decoy.line(12), decoy.line(12));
//! ```

mod args;
mod clean;
mod event;
mod hostile;
mod random;
mod write;

pub use args::Args;
pub use event::{Emission, Expected};
pub use write::run;

use random::Random;

/// One decoy: everything that decides what it prints.
#[derive(Debug, Clone)]
pub struct Decoy {
    /// HOSTNAME of its lines; part of every line. No blanks.
    pub name: String,
    /// Another seed, other lines.
    pub seed: u64,
    /// What kinds of lines.
    pub profile: Profile,
}

/// Kinds of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// Syslog messages in UTF-8, at most 8 KiB, one line each, no control octets.
    Clean,
    /// Those, and everything that has broken a pipeline: see the module `hostile`.
    Hostile,
    /// The same line over and over; each 64th carries its number.
    Identical,
    /// Lines of 16 KiB to 2.5 MiB, most below 64 KiB, often one octet off a limit.
    Big,
}

impl Decoy {
    /// What is printed for a sequence number: one line, or several if an LF stands inside, or a
    /// blank one before it. Ends with an LF. Carries `seq="N"` (`seq=N` in text without
    /// parameters) and the decoy's name, but for most lines of [`Profile::Identical`].
    #[must_use]
    pub fn line(&self, seq: u64) -> Vec<u8> {
        self.emission(seq).bytes
    }

    /// The same, and the record that it must become, if it must.
    #[must_use]
    pub fn emission(&self, seq: u64) -> Emission {
        let mut random = Random::new(self.seed, seq);
        match self.profile {
            Profile::Clean => clean::emission(&self.name, seq, &mut random),
            Profile::Hostile => hostile::emission(&self.name, seq, &mut random),
            Profile::Big => hostile::big(&self.name, seq, &mut random),
            Profile::Identical if seq.is_multiple_of(64) => {
                clean::emission(&self.name, seq, &mut random)
            }
            Profile::Identical => clean::same(&self.name),
        }
    }

    /// What a noisy decoy prints on standard error beside line `seq`: something beside each tenth.
    #[must_use]
    pub fn noise(&self, seq: u64) -> Option<Vec<u8>> {
        seq.is_multiple_of(10).then(|| {
            format!(
                "Traceback (most recent call last): noise={seq} {}\n",
                self.name
            )
            .into_bytes()
        })
    }
}

#[cfg(test)]
mod tests;
