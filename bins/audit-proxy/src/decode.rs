//! The `decode` command: frames to JSON, for people who look at a capture.

use std::io::{Read, Write};

use anyhow::{Context as _, bail};
use audit_codec::{Context, HEADER, MAX_PAYLOAD, Message, Request, decode_frame};
use serde_json::json;

/// Prints one JSON object per record of the frames in `input`, one per status, and `{"error","at"}` for a frame that
/// is no message.
///
/// # Errors
/// A header that ends a connection, an input that ends inside a frame, after what was whole has been printed; input
/// or output fail.
pub(crate) fn decode(input: &mut impl Read, output: &mut impl Write) -> anyhow::Result<()> {
    let mut buf = vec![0; 2 * (HEADER + MAX_PAYLOAD)];
    // Octets of the stream before `buf`, for error messages.
    let (mut len, mut before) = (0, 0u64);
    loop {
        let read = input.read(&mut buf[len..]).context("read stdin")?;
        len += read;
        let mut at = 0;
        loop {
            match decode_frame(&buf[at..len]) {
                Ok(Some((frame, consumed))) => {
                    message(
                        frame.tag.octet(),
                        &Message::decode(frame.tag, frame.payload),
                        output,
                    )?;
                    at += consumed;
                }
                Ok(None) => break,
                Err(error) => bail!("frame at octet {}: {error}", before + at as u64),
            }
        }
        buf.copy_within(at..len, 0);
        len -= at;
        before += at as u64;
        if read == 0 && len > 0 {
            bail!("stdin ends inside the frame at octet {before}");
        }
        if read == 0 {
            return Ok(());
        }
    }
}

fn message(
    tag: u8,
    message: &Result<Message<'_>, audit_codec::DecodeError>,
    output: &mut impl Write,
) -> std::io::Result<()> {
    match message {
        Ok(Message::Logs(request)) => records(tag, request, output),
        Ok(Message::Status(status)) => {
            let status = json!({
                "tag": tag,
                "dropped_channel_full": status.channel_full,
                "dropped_batch_full": status.batch_full,
            });
            writeln!(output, "{status}")
        }
        Ok(_) => writeln!(
            output,
            "{}",
            json!({"tag": tag, "error": "unknown variant"})
        ),
        Err(error) => {
            let error = json!({"tag": tag, "error": error.fault.to_string(), "at": error.at});
            writeln!(output, "{error}")
        }
    }
}

fn records(tag: u8, request: &Request<'_>, output: &mut impl Write) -> std::io::Result<()> {
    let mut line = Vec::new();
    for log in &request.logs {
        line.clear();
        Context::default().write_members(request, log, &mut line);
        write!(output, "{{\"tag\":{tag},")?;
        line.extend_from_slice(b"}\n");
        output.write_all(&line)?;
    }
    Ok(())
}
