//! Octet counting on syslog streams (RFC 5425 §4.3, RFC 6587 §3.4.1).
