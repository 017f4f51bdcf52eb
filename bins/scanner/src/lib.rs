//! Turns lines into events by rules, and events into webhooks by triggers.
