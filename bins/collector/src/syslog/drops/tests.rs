//! Reading the kernel's table of sockets.

use super::dropped;

const TABLE: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  289: 0100007F:0202 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 17
  290: 0100007F:0203 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 -2
  291: 0100007F:0204 00000000:0000 07 00000000
";

#[test]
fn finds_the_row_of_the_socket() {
    assert_eq!(dropped(TABLE, 4711), Some(17));
    assert_eq!(dropped(TABLE, 4712), Some(u32::MAX - 1));
    assert_eq!(dropped(TABLE, 471), None);
    assert_eq!(dropped("", 4711), None);
}
