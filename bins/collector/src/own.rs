//! The container that this program itself runs in, which is never collected.

/// The start of the id of the container this program runs in, if any.
#[must_use]
pub fn own_container() -> Option<String> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    own_id(
        &read("/proc/self/cgroup"),
        &read("/proc/self/mountinfo"),
        &read("/etc/hostname"),
    )
}

/// The start of the id of the container this process runs in, from `/proc/self/cgroup`,
/// `/proc/self/mountinfo` and the host name; `None` on a plain host.
fn own_id(cgroup: &str, mountinfo: &str, hostname: &str) -> Option<String> {
    let from_cgroup = cgroup.lines().find_map(|line| {
        let last = line.rsplit('/').next()?;
        let last = last.strip_suffix(".scope").unwrap_or(last);
        full_id(last.rsplit('-').next()?)
    });
    // Docker mounts `…/containers/ID/hostname` over /etc/hostname. Other lines may name other containers' directories.
    let from_mounts = || {
        mountinfo.lines().find_map(|line| {
            let mut fields = line.split(' ');
            let (root, at) = (fields.nth(3)?, fields.next()?);
            let directory = root
                .strip_suffix("/hostname")
                .filter(|_| at == "/etc/hostname")?;
            full_id(directory.rsplit('/').find(|part| *part != "userdata")?)
        })
    };
    let from_hostname = || {
        let short = hostname.trim();
        (short.len() == SHORT_ID && is_hex(short)).then(|| short.to_owned())
    };
    from_cgroup.or_else(from_mounts).or_else(from_hostname)
}

fn full_id(text: &str) -> Option<String> {
    (text.len() == FULL_ID && is_hex(text)).then(|| text.to_owned())
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Digits of a full container id.
const FULL_ID: usize = 64;
/// Digits of the id Docker gives as host name.
const SHORT_ID: usize = 12;

#[cfg(test)]
mod tests;
