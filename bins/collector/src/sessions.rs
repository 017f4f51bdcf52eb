//! Sessions of attackers: the commands of an address are remembered, and told together when its session was recorded.
//! Pure: the time is an argument.
//!
//! As in the collector that this one replaces, commands are known by the attacker's address alone (a shell names another
//! host than the recorder does), and are told again to the next session if they fall into its time. Unlike there, all of
//! it is bounded: see [`Limits`].

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, VecDeque},
    path::PathBuf,
    time::Duration,
};

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use crate::transcript::{Missing, Place};

mod command;

use command::Command;

/// The topic on which an end is told.
pub const TOPIC: &str = "attacker.session.ended";
/// The type of that event.
pub const EVENT_TYPE: &str = "session.ended";

/// Bounds on what is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a command is remembered, in its attacker's time.
    pub ttl: Duration,
    /// Addresses; the one that was silent the longest goes first.
    pub attackers: usize,
    /// Commands of one address; the oldest go first.
    pub commands: usize,
    /// Octets of one address's commands.
    pub attacker_octets: usize,
    /// Octets of all commands.
    pub octets: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            ttl: Duration::from_secs(3600),
            attackers: 10_000,
            commands: 1000,
            attacker_octets: 512 << 10,
            octets: 32 << 20,
        }
    }
}

/// What a record says about sessions.
#[derive(Debug, Deserialize)]
pub struct Record<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    decky: Cow<'a, str>,
    #[serde(borrow)]
    service: Cow<'a, str>,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    attacker_ip: Cow<'a, str>,
    #[serde(borrow)]
    msg: Cow<'a, str>,
    #[serde(borrow)]
    fields: Fields<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fields<'a> {
    sid: Option<Cow<'a, str>>,
    service: Option<Cow<'a, str>>,
    duration_s: Option<Cow<'a, str>>,
    command: Option<Cow<'a, str>>,
    cmd: Option<Cow<'a, str>>,
    uid: Option<Cow<'a, str>>,
    user: Option<Cow<'a, str>>,
    src: Option<Cow<'a, str>>,
    pwd: Option<Cow<'a, str>>,
}

/// Whether a record of this type (with its quotes, as in JSON) is one that sessions are made of.
#[must_use]
pub fn concerns(event_type: &[u8]) -> bool {
    matches!(event_type, b"\"command\"" | b"\"session_recorded\"")
}

/// A session that ended: the payload of its event.
#[derive(Clone, Debug, Serialize)]
pub struct Ended {
    session_id: Option<String>,
    /// Never known here.
    attacker_uuid: Option<String>,
    attacker_ip: String,
    decky_id: String,
    service: String,
    ended_at: String,
    duration_s: f64,
    commands: Vec<Told>,
    /// The oldest commands, when they are too large for one event together.
    #[serde(skip_serializing_if = "is_zero")]
    commands_omitted: usize,
    shard_path: Option<PathBuf>,
}

/// A command as it is told.
#[derive(Clone, Debug, Serialize)]
struct Told {
    id: String,
    #[serde(flatten)]
    command: Command,
}

/// What is remembered of the attackers.
#[derive(Debug)]
pub struct Sessions {
    limits: Limits,
    attackers: HashMap<String, Attacker>,
    /// Addresses by the last time they were heard of.
    order: BTreeMap<u64, String>,
    turn: u64,
    octets: usize,
}

#[derive(Debug, Default)]
struct Attacker {
    /// The key in the order.
    turn: u64,
    /// The number of the first command that is still remembered.
    first: u64,
    commands: VecDeque<Command>,
    octets: usize,
}

impl Sessions {
    /// Nothing is remembered yet.
    #[must_use]
    pub fn new(limits: Limits) -> Sessions {
        Sessions {
            limits,
            attackers: HashMap::new(),
            order: BTreeMap::new(),
            turn: 0,
            octets: 0,
        }
    }

    /// Addresses that are remembered.
    #[must_use]
    pub fn attackers(&self) -> usize {
        self.attackers.len()
    }

    /// Takes a record; gives the session that it ends. `now_s` is the present in Unix seconds: a record from the future
    /// makes nothing forgotten.
    pub fn record(&mut self, record: &Record<'_>, now_s: i64) -> Option<Ended> {
        if matches!(&*record.attacker_ip, "" | "Unknown") {
            return None;
        }
        let at: DateTime = record.timestamp.parse().ok()?;
        let oldest = seconds(at)
            .min(now_s)
            .saturating_sub(i64::try_from(self.limits.ttl.as_secs()).unwrap_or(i64::MAX));
        self.forget_silent(oldest);
        match &*record.event_type {
            "command" => {
                self.remember(&record.attacker_ip, Command::of(record, at), oldest);
                None
            }
            "session_recorded" => Some(self.end(record, at)),
            _ => None,
        }
    }

    fn remember(&mut self, ip: &str, command: Command, oldest: i64) {
        self.turn += 1;
        let turn = self.turn;
        let attacker = self.attackers.entry(ip.to_owned()).or_default();
        self.order.remove(&attacker.turn);
        attacker.turn = turn;
        self.order.insert(turn, ip.to_owned());
        let before = attacker.octets;
        attacker.octets += command.octets();
        attacker.commands.push_back(command);
        while let Some(first) = attacker.commands.front()
            && (seconds(first.at) < oldest
                || attacker.commands.len() > self.limits.commands
                || attacker.octets > self.limits.attacker_octets)
        {
            attacker.octets -= first.octets();
            attacker.first += 1;
            attacker.commands.pop_front();
        }
        self.octets = self.octets - before + attacker.octets;
        while self.attackers.len() > self.limits.attackers || self.octets > self.limits.octets {
            let Some((_, ip)) = self.order.pop_first() else {
                break;
            };
            self.forget(&ip);
        }
    }

    /// Forgets attackers whose last command is older; two at a time, which is faster than they can come.
    fn forget_silent(&mut self, oldest: i64) {
        for _ in 0..2 {
            let Some(first) = self.order.first_entry() else {
                return;
            };
            let attacker = self.attackers.get(first.get());
            let last = attacker.and_then(|attacker| attacker.commands.back());
            if last.is_some_and(|last| seconds(last.at) >= oldest) {
                return;
            }
            let ip = first.remove();
            self.forget(&ip);
        }
    }

    fn forget(&mut self, ip: &str) {
        if let Some(attacker) = self.attackers.remove(ip) {
            self.octets -= attacker.octets;
        }
    }

    fn end(&self, record: &Record<'_>, at: DateTime) -> Ended {
        let fields = &record.fields;
        let sid = fields.sid.as_deref();
        let sid = sid.filter(|sid| !sid.is_empty() && sid.len() <= MAX_SID);
        let ip = &*record.attacker_ip;
        let duration_s = fields.duration_s.as_deref();
        let duration_s = duration_s
            .and_then(|text| text.trim().parse().ok())
            .filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0)
            .unwrap_or(0.0);
        // Whole seconds of a civil calendar are exact as floating point numbers.
        let begin = seconds(at) as f64 - duration_s;
        let (mut commands, mut commands_omitted, mut octets) = (Vec::new(), 0, 0);
        if let Some(attacker) = self.attackers.get(ip) {
            let numbered = (attacker.first..).zip(&attacker.commands);
            let within = numbered.filter(|(_, command)| seconds(command.at) as f64 >= begin);
            for (number, command) in within.collect::<Vec<_>>().into_iter().rev() {
                let id = match sid {
                    Some(sid) => format!("{sid}#{number}"),
                    None => format!("{ip}-{}", command.at),
                };
                let command = command.clone();
                let told = Told { id, command };
                octets += serde_json::to_vec(&told).map_or(0, |json| json.len() + 1);
                if octets > MAX_TOLD {
                    commands_omitted += 1;
                } else {
                    commands.push(told);
                }
            }
        }
        commands.reverse();
        let service = fields.service.as_deref().filter(|name| !name.is_empty());
        Ended {
            session_id: sid.map(str::to_owned),
            attacker_uuid: None,
            attacker_ip: ip.to_owned(),
            decky_id: record.decky.clone().into_owned(),
            service: service.unwrap_or(&record.service).to_owned(),
            ended_at: at.to_string(),
            duration_s,
            commands,
            commands_omitted,
            shard_path: None,
        }
    }
}

impl Ended {
    /// Where its transcript may be.
    ///
    /// # Errors
    /// Names that are none of a transcript's.
    pub fn place(&self) -> Result<Place, Missing> {
        let sid = self.session_id.as_deref().unwrap_or_default();
        Place::new(&self.decky_id, &self.service, sid)
    }

    /// Names the transcript that was found.
    pub fn set_shard_path(&mut self, path: PathBuf) {
        self.shard_path = Some(path);
    }
}

fn seconds(at: DateTime) -> i64 {
    let unix = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    at.duration_since(unix).as_secs()
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Octets of commands in one event, which must fit into a frame of the bus with the rest of it.
const MAX_TOLD: usize = bus::MAX_BODY / 8 * 7;
/// A recorder's ids have 36 octets.
const MAX_SID: usize = 128;
#[cfg(test)]
mod tests;
