//! One command: what a record says of it, as it is remembered and told.

use std::borrow::Cow;

use jiff::civil::DateTime;
use serde::{Serialize, Serializer};

use super::Record;

/// What an attacker entered.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Command {
    #[serde(rename = "command_text")]
    text: String,
    #[serde(rename = "ts", serialize_with = "iso")]
    pub(super) at: DateTime,
    decky: String,
    service: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pwd: Option<String>,
}

impl Command {
    pub(super) fn of(record: &Record<'_>, at: DateTime) -> Command {
        let fields = &record.fields;
        let said = Said::of(&record.msg);
        let text = [fields.command.as_deref(), fields.cmd.as_deref(), said.cmd]
            .into_iter()
            .flatten()
            .find(|text| !text.is_empty())
            .unwrap_or(&record.msg);
        let either = |field: &Option<Cow<'_, str>>, said: Option<&str>| {
            let value = field.as_deref().filter(|value| !value.is_empty());
            value.or(said).map(|value| cut(value).to_owned())
        };
        Command {
            text: cut(text).to_owned(),
            at,
            decky: cut(&record.decky).to_owned(),
            service: cut(&record.service).to_owned(),
            uid: either(&fields.uid, said.uid),
            user: either(&fields.user, said.user),
            src: either(&fields.src, said.src),
            pwd: either(&fields.pwd, said.pwd),
        }
    }

    pub(super) fn octets(&self) -> usize {
        let optional = [&self.uid, &self.user, &self.src, &self.pwd];
        let optional: usize = optional.into_iter().flatten().map(String::len).sum();
        size_of::<Command>() + self.text.len() + self.decky.len() + self.service.len() + optional
    }
}

/// What a shell's line says: `CMD uid=0 user=root src=… pwd=… cmd=…`, where `cmd` is the rest.
#[derive(Default)]
struct Said<'a> {
    uid: Option<&'a str>,
    user: Option<&'a str>,
    src: Option<&'a str>,
    pwd: Option<&'a str>,
    cmd: Option<&'a str>,
}

impl<'a> Said<'a> {
    fn of(msg: &'a str) -> Said<'a> {
        let mut said = Said::default();
        let Some(mut rest) = msg.strip_prefix("CMD ") else {
            return said;
        };
        while let Some(word) = rest.split(' ').next() {
            if let Some(text) = rest.strip_prefix("cmd=") {
                said.cmd = Some(text);
                break;
            }
            let slot = match word.split_once('=') {
                Some(("uid", value)) => Some((&mut said.uid, value)),
                Some(("user", value)) => Some((&mut said.user, value)),
                Some(("src", value)) => Some((&mut said.src, value)),
                Some(("pwd", value)) => Some((&mut said.pwd, value)),
                _ => None,
            };
            if let Some((slot, value)) = slot {
                slot.get_or_insert(value);
            }
            match rest.get(word.len() + 1..) {
                Some(more) => rest = more,
                None => break,
            }
        }
        said
    }
}

/// A text's first octets, as many as are remembered.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

fn iso<S: Serializer>(at: &DateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

/// Octets of one text that are remembered; a shell's history line is shorter.
const MAX_TEXT: usize = 8 << 10;
