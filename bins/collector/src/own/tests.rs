//! Which container this program runs in, by what the kernel says of it.

use super::own_id;

#[test]
fn finds_its_own_container() {
    let id = "0123456789abcdef".repeat(4);
    assert_eq!(
        own_id(&format!("0::/docker/{id}\n"), "", "host"),
        Some(id.clone())
    );
    assert_eq!(
        own_id(&format!("0::/system.slice/docker-{id}.scope\n"), "", "host"),
        Some(id.clone())
    );
    let mount = format!(
        "1 2 8:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/vda rw\n"
    );
    assert_eq!(own_id("0::/\n", &mount, "host"), Some(id.clone()));
    assert_eq!(
        own_id("0::/\n", "", "0123456789ab\n"),
        Some("0123456789ab".to_owned())
    );
    // A host sees its containers' mounts and is none of them.
    let shm = format!("1 2 0:5 / /var/lib/docker/containers/{id}/mounts/shm rw - tmpfs shm rw\n");
    assert_eq!(own_id("0::/init.scope\n", &shm, "worker-7"), None);
}
