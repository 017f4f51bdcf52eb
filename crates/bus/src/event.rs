//! Events as they arrive: the topic of the header, and what the body says of itself.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::frame::{Frame, Verb};

/// An event that arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The topic, from the header: the body's own is not trusted.
    pub topic: String,
    /// What kind of event it is; empty if it does not say.
    pub event_type: String,
    /// The publisher's content.
    pub payload: Map<String, Value>,
}

/// Why a frame is no event.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// The frame has another verb than EVT.
    #[error("{0} is not for a client")]
    Verb(Verb),
    /// The body is no JSON object, or its parts have other types.
    #[error("body of an event")]
    Body(#[source] serde_json::Error),
}

/// What of the body is read. Others are `v`, `id`, `topic` and `ts`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    r#type: String,
    payload: Map<String, Value>,
}

impl Event {
    /// Reads the event in a frame.
    ///
    /// # Errors
    /// A frame for a server; a body that is no event.
    pub fn read(frame: &Frame<'_>) -> Result<Self, EventError> {
        if frame.verb != Verb::Evt {
            return Err(EventError::Verb(frame.verb));
        }
        let body = match frame.body {
            [] => Body::default(),
            // serde would take a list for the structure.
            octets => serde_json::from_slice::<Map<String, Value>>(octets)
                .and_then(|object| Body::deserialize(Value::Object(object)))
                .map_err(EventError::Body)?,
        };
        Ok(Self {
            topic: frame.args.to_owned(),
            event_type: body.r#type,
            payload: body.payload,
        })
    }
}
