//! Where the browser runs: in a network of its own, as if on another machine.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::RwLockReadGuard;

use crate::support::networks;

/// A network namespace joined to this one by a pair of virtual Ethernet devices; or none, where that is not allowed.
#[derive(Debug)]
pub(super) struct Apart {
    /// Name of the namespace.
    name: Option<String>,
    host: Ipv4Addr,
    guest: Ipv4Addr,
    /// A browser in this network sees every change of it.
    _still: Option<RwLockReadGuard<'static, ()>>,
}

fn ip(arguments: &str) -> bool {
    let run = Command::new("ip").args(arguments.split(' ')).stdout(Stdio::null()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

impl Apart {
    /// Sets it up. Names and addresses come from the process id, so that test runs side by side do not meet.
    pub(super) fn new() -> Self {
        let pid = std::process::id();
        let name = format!("findme-{pid}");
        let [_, _, high, low] = (pid << 2).to_be_bytes();
        let (host, guest) = (Ipv4Addr::new(10, 213, high, low | 1), Ipv4Addr::new(10, 213, high, low | 2));
        let (outer, inner) = (format!("fm{pid}a"), format!("fm{pid}b"));
        let changing = networks::changing();
        if !ip(&format!("netns add {name}")) {
            drop(changing);
            return Self::here(Ipv4Addr::new(127, 0, 0, 2));
        }
        // From here on `Drop` tidies up whatever was made.
        let apart = Self { name: Some(name.clone()), host, guest, _still: None };
        let steps = [
            format!("link add {outer} type veth peer name {inner} netns {name}"),
            format!("addr add {host}/30 dev {outer}"),
            format!("link set {outer} up"),
            format!("-n {name} addr add {guest}/30 dev {inner}"),
            format!("-n {name} link set {inner} up"),
            format!("-n {name} link set lo up"),
        ];
        if steps.iter().all(|step| ip(step)) {
            return apart;
        }
        drop(changing);
        drop(apart);
        Self::here(Ipv4Addr::new(127, 0, 0, 2))
    }

    /// On this machine, at an address that browsers trust as if it were https.
    pub(super) fn not() -> Self {
        Self::here(Ipv4Addr::LOCALHOST)
    }

    fn here(host: Ipv4Addr) -> Self {
        Self { name: None, host, guest: Ipv4Addr::LOCALHOST, _still: Some(networks::unchanged()) }
    }

    /// Whether the browser is, for the network, on another machine.
    pub(super) fn is_another_machine(&self) -> bool {
        self.name.is_some()
    }

    /// For people.
    pub(super) fn words(&self) -> String {
        match &self.name {
            Some(name) => format!("at {} from {} in the network namespace {name}", self.host, self.guest),
            None => format!("at {} on this machine: no network namespaces here", self.host),
        }
    }

    /// Where the server is to listen.
    pub(super) fn address(&self) -> String {
        self.host.to_string()
    }

    /// Where the programs of [`Apart::command`] are reached from here.
    pub(super) fn browser_address(&self) -> String {
        self.guest.to_string()
    }

    /// A program that is to run there.
    pub(super) fn command(&self, program: &str) -> tokio::process::Command {
        match &self.name {
            None => tokio::process::Command::new(program),
            Some(name) => {
                let mut command = tokio::process::Command::new("ip");
                command.args(["netns", "exec", name, program]);
                command
            }
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let Some(name) = &self.name else { return };
        // Whatever still runs in there was started by this test.
        let left = Command::new("ip").args(["netns", "pids", name]).output();
        for pid in
            left.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default().split_whitespace()
        {
            Command::new("kill").arg(pid).status().ok();
        }
        // The devices go with it.
        let _changing = networks::changing();
        ip(&format!("netns delete {name}"));
    }
}
