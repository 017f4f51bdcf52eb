//! Lines to measure with.

/// What DECNET's services print, in about their proportions.
pub(crate) const LINES: [&str; 8] = [
    r#"<134>1 2026-06-20T14:03:07.125301+00:00 omega-decky ssh - connection [relay@55555 src_ip="203.0.113.44" src_port="50122"]"#,
    r#"<134>1 2026-06-20T14:03:07.125301+00:00 SRV-DELTA-77 auth-helper - auth_attempt [relay@55555 username="root" principal="root" secret_printable="hunter2" secret_b64="aHVudGVyMg==" src_ip="203.0.113.44"]"#,
    r#"<134>1 2026-06-20T14:03:07.125301+00:00 omega-decky http - request [relay@55555 method="POST" path="/wp-login.php" remote_addr="198.51.100.7" headers="{\"Host\": \"10.0.0.5\", \"User-Agent\": \"curl/8.5.0\"}" body="log=admin&pwd=hunter2" principal="admin" secret_kind="plaintext" secret_printable="hunter2" secret_b64="aHVudGVyMg=="]"#,
    r#"<14>1 2026-06-20T14:03:58.021674+00:00 dmz-gateway bash - - -  CMD uid=0 user=root src=203.0.113.44 pwd=/tmp cmd=echo "rm -rf *.sh" | sh"#,
    r#"<134>1 2026-06-20T14:03:07.125301+00:00 cache-01 redis - command [relay@55555 src="198.51.100.9" cmd="CONFIG" args="['SET', 'dir', '/var/spool/cron'\]"]"#,
    r#"<134>1 2026-06-20T14:03:07.125301+00:00 plant-gw mqtt - publish [relay@55555 src="192.0.2.10" topic="site/água" payload="température=20°C ✓"]"#,
    r#"<38>1 2026-06-20T14:03:05.862365+00:00 omega-decky sshd 940 - -  Failed password for root from 203.0.113.44 port 42772 ssh2"#,
    r#" * Serving Flask app "server" on http://0.0.0.0:8080 (press CTRL+C to quit)"#,
];
