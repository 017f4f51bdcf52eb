//! Scan rules and trigger filters: which lines are hits, and which hits become events.
//!
//! Pure: text, lines and time come in as arguments; nothing is opened, waited for or started.
