//! The vector of Standard Webhooks, rotation, and secrets that are none.

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn sign(secrets: &str) -> String {
    let id = MessageId::new("msg_p5jXN8AQM9LWM0D4loKWxJek").unwrap();
    let secrets = Secrets::parse(secrets).unwrap();
    secrets.sign(&id, 1_614_265_330, br#"{"test": 2432232314}"#)
}

#[test]
fn agrees_with_the_vector_of_standard_webhooks() {
    assert_eq!(
        sign(SECRET),
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    );
}

#[test]
fn signs_with_each_secret_while_one_is_replaced() {
    let both = sign(&format!("\n  a raw secret \r\n\n{SECRET}\n"));
    assert_eq!(both, format!("{} {}", sign("a raw secret"), sign(SECRET)));
    assert_ne!(sign("a raw secret"), sign(SECRET));
}

#[test]
fn a_raw_secret_is_its_own_bytes() {
    let raw: Vec<u8> = (b'a'..=b'x').collect();
    let coded = format!("whsec_{}", STANDARD.encode(&raw));
    assert_eq!(sign(&coded), sign(std::str::from_utf8(&raw).unwrap()));
}

#[test]
fn refuses_bad_secrets_without_showing_them() {
    let short = format!("whsec_{}", STANDARD.encode([b'k'; 23]));
    let long = format!("whsec_{}", STANDARD.encode([b'k'; 65]));
    let huge = "k".repeat(MAX_SECRET + 1);
    for (text, error) in [
        ("", SecretError::Empty),
        (" \n\n", SecretError::Empty),
        ("whsec_t0p*", SecretError::Base64(1)),
        ("raw\nwhsec_", SecretError::Length { at: 2, bytes: 0 }),
        (&short, SecretError::Length { at: 1, bytes: 23 }),
        (&long, SecretError::Length { at: 1, bytes: 65 }),
        (&huge, SecretError::TooLong(1)),
        ("a\nb\nc\nd\ne", SecretError::TooMany),
    ] {
        let found = Secrets::parse(text).unwrap_err();
        assert_eq!(found, error, "{text}");
        assert!(!found.to_string().contains("t0p"));
    }
    let shown = format!("{:?}", Secrets::parse("t0p-secret").unwrap());
    assert_eq!(shown, "Secrets(1)");
}

#[test]
fn ids_have_no_full_stop() {
    for id in ["", "a.b", "a b", "ä", "a\n", &"a".repeat(257)] {
        assert!(MessageId::new(id).is_err(), "{id}");
    }
    for id in ["a", "01JD_chat", &"a".repeat(256)] {
        assert_eq!(MessageId::new(id).unwrap().as_str(), id);
    }
}
