//! How many folders this system lets one user watch, and the command that allows more.

/// Where Linux keeps a limit, and what sets it. The first is the machine's, the second a container's or user's own.
#[cfg(target_os = "linux")]
const WATCHES: [(&str, &str); 2] = [
    ("/proc/sys/fs/inotify/max_user_watches", "fs.inotify.max_user_watches"),
    ("/proc/sys/user/max_inotify_watches", "user.max_inotify_watches"),
];
#[cfg(target_os = "linux")]
const INSTANCES: [(&str, &str); 2] = [
    ("/proc/sys/fs/inotify/max_user_instances", "fs.inotify.max_user_instances"),
    ("/proc/sys/user/max_inotify_instances", "user.max_inotify_instances"),
];

/// What most systems with many folders are set to; less is never advised.
const COMMON_WATCHES: u64 = 524_288;
const COMMON_INSTANCES: u64 = 512;

/// A limit of the operating system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    /// How many there may be.
    pub(crate) most: u64,
    /// The setting's name.
    key: String,
}

impl Limit {
    /// The command that raises it so that there is room for twice `needed`, and for twice what is allowed now.
    pub(crate) fn raise(&self, needed: u64) -> String {
        let common = if self.key.ends_with("watches") { COMMON_WATCHES } else { COMMON_INSTANCES };
        let enough = needed.max(self.most).saturating_mul(2).next_power_of_two().max(common);
        format!("sudo sysctl {}={enough}", self.key)
    }
}

/// How many folders may be watched; `None` where there is no such limit.
pub(crate) fn watches() -> Option<Limit> {
    #[cfg(target_os = "linux")]
    return strictest(&WATCHES);
    #[cfg(not(target_os = "linux"))]
    None
}

/// How many programs may watch; `None` where there is no such limit.
pub(crate) fn instances() -> Option<Limit> {
    #[cfg(target_os = "linux")]
    return strictest(&INSTANCES);
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(target_os = "linux")]
fn strictest(places: &[(&str, &str)]) -> Option<Limit> {
    let read = |(path, key): &(&str, &str)| {
        let most = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
        Some(Limit { most, key: (*key).to_owned() })
    };
    places.iter().filter_map(read).min_by_key(|limit| limit.most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_leaves_room() {
        let limit = |most, key: &str| Limit { most, key: key.to_owned() };
        let raise = |most, needed| limit(most, "fs.inotify.max_user_watches").raise(needed);
        assert_eq!(raise(8192, 9000), "sudo sysctl fs.inotify.max_user_watches=524288");
        assert_eq!(raise(524_288, 300_000), "sudo sysctl fs.inotify.max_user_watches=1048576");
        assert_eq!(raise(8192, 900_000), "sudo sysctl fs.inotify.max_user_watches=2097152");
        assert_eq!(limit(128, "user.max_inotify_instances").raise(1), "sudo sysctl user.max_inotify_instances=512");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_system_has_limits() {
        assert!(watches().is_some_and(|limit| limit.most > 0) && instances().is_some_and(|limit| limit.most > 0));
    }
}
