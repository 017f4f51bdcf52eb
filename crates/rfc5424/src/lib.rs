//! Parse and format syslog messages (RFC 5424), and the DECNET record made from them.
