//! Any octets as a control message: what is understood is written again as the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(delivery::control::Decoded::Known(control)) = delivery::Control::decode(data) {
        if let Ok(again) = control.encode() {
            let decoded = delivery::Control::decode(&again).expect("our own");
            assert_eq!(decoded, delivery::control::Decoded::Known(control));
        }
    }
});
