//! One acknowledged connection, with everything that is said on it written by hand.

use std::io;

use delivery::control::{Ack, Decoded, Hello, Refuse, Resume};
use delivery::{Control, EpochId, Offset};
use framing::{Decoder, Frame};
use pki::Identity;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Client, Master, PATIENCE};

pub(crate) struct Link {
    pub(crate) client: Client,
    buf: Vec<u8>,
}

pub(crate) fn epoch(n: u8) -> EpochId {
    EpochId::from_bytes([n; 16])
}

pub(crate) fn at(n: usize) -> Offset {
    Offset::new(n as u64).unwrap()
}

pub(crate) fn hello(stream: &str, epoch: EpochId) -> Hello {
    Hello {
        stream: stream.to_owned(),
        epoch: Some(epoch),
        after: None,
        from: Offset::ZERO,
        size: Offset::ZERO,
        acked: Vec::new(),
        agent: "test/0".to_owned(),
        features: Vec::new(),
        of: None,
        base: None,
    }
}

impl Master {
    pub(crate) async fn link(&self, identity: &Identity) -> Link {
        let client = self.offer(identity, &[pki::ALPN_ACKNOWLEDGED]).await;
        let client = client.unwrap();
        let agreed = client.0.get_ref().1.alpn_protocol();
        assert_eq!(agreed, Some(pki::ALPN_ACKNOWLEDGED));
        Link {
            client,
            buf: Vec::new(),
        }
    }

    /// A connection that has said its hello and was told where to go on.
    pub(crate) async fn resumed(&self, identity: &Identity, stream: &str, n: u8) -> (Link, Resume) {
        let mut link = self.link(identity).await;
        link.say(&Control::Hello(hello(stream, epoch(n)))).await;
        let resume = link.resume().await;
        (link, resume)
    }
}

impl Link {
    pub(crate) async fn say(&mut self, control: &Control) {
        let mut wire = Vec::new();
        framing::encode_control(&control.encode().unwrap(), &mut wire);
        self.client.send(&wire).await;
    }

    /// What the listener says next; none: it closed in order.
    pub(crate) async fn hear(&mut self) -> io::Result<Option<Control>> {
        let decoder = Decoder::new(1).with_controls();
        loop {
            if let Some((frame, used)) = decoder.decode(&self.buf).unwrap() {
                let Frame::Control(json) = frame else {
                    panic!("data from a listener")
                };
                let Decoded::Known(control) = Control::decode(json).unwrap() else {
                    panic!("an unknown control message")
                };
                self.buf.drain(..used);
                return Ok(Some(control));
            }
            let read = self.client.0.read_buf(&mut self.buf);
            if tokio::time::timeout(PATIENCE, read)
                .await
                .expect("silence")?
                == 0
            {
                return Ok(None);
            }
        }
    }

    pub(crate) async fn resume(&mut self) -> Resume {
        match self.hear().await.unwrap() {
            Some(Control::Resume(resume)) => resume,
            other => panic!("no resume but {other:?}"),
        }
    }

    pub(crate) async fn ack(&mut self) -> Ack {
        match self.hear().await.unwrap() {
            Some(Control::Ack(ack)) => ack,
            other => panic!("no ack but {other:?}"),
        }
    }

    /// Waits for the ack of a position.
    pub(crate) async fn acked(&mut self, n: u8, to: usize) -> Ack {
        loop {
            let ack = self.ack().await;
            if (ack.epoch, ack.offset) == (epoch(n), at(to)) {
                return ack;
            }
            assert!(
                ack.epoch == epoch(n) && ack.offset < at(to),
                "{ack:?} is beyond {to}"
            );
        }
    }

    /// Waits for a refusal and the end behind it.
    pub(crate) async fn refused(&mut self) -> Refuse {
        loop {
            match self.hear().await.unwrap() {
                Some(Control::Refuse(refuse)) => {
                    assert_eq!(self.hear().await.unwrap(), None);
                    return refuse;
                }
                Some(Control::Ack(_)) => {}
                other => panic!("no refusal but {other:?}"),
            }
        }
    }

    /// Waits until the listener closes in order; acks may come before.
    pub(crate) async fn closed(&mut self) {
        while let Some(control) = self.hear().await.unwrap() {
            assert!(matches!(control, Control::Ack(_)), "{control:?}");
        }
    }

    pub(crate) async fn close(mut self) {
        self.client.0.shutdown().await.unwrap();
        self.closed().await;
    }
}
