//! Hosts on this machine: network namespaces on a bridge, that can fall silent.

use crate::system::run;

/// The bridge's own address: where this process asks from.
const HERE: u8 = 1;

/// A bridge with hosts. Dropped, all of it is removed.
pub struct Network {
    bridge: String,
    /// The first three bytes of every address.
    prefix: String,
    hosts: Vec<(String, u8)>,
}

impl Drop for Network {
    fn drop(&mut self) {
        for (name, _) in &self.hosts {
            // The namespace itself stays as long as a connection in it is not given up.
            drop(run("ip", &["link", "del", name]));
            drop(run("ip", &["netns", "del", name]));
        }
        drop(run("ip", &["link", "del", &self.bridge]));
    }
}

impl Network {
    /// Makes the bridge and so many hosts. Needs root.
    pub fn build(hosts: u8) -> anyhow::Result<Self> {
        let process = std::process::id();
        // Of this machine alone: a part of the benchmark range, RFC 2544.
        let prefix = format!("198.18.{}", process % 256);
        let mut network = Self {
            bridge: format!("hb{}", process % 1_000_000),
            prefix,
            hosts: Vec::new(),
        };
        let bridge = network.bridge.clone();
        run("ip", &["link", "add", &bridge, "type", "bridge"])?;
        let here = format!("{}/24", network.address(HERE));
        run("ip", &["addr", "add", &here, "dev", &bridge])?;
        run("ip", &["link", "set", &bridge, "up"])?;
        for number in 0..hosts {
            network.add(HERE + 1 + number)?;
        }
        Ok(network)
    }

    fn add(&mut self, number: u8) -> anyhow::Result<()> {
        let name = format!("{}-{number}", self.bridge);
        let (outer, inner) = (name.clone(), format!("{name}i"));
        run("ip", &["netns", "add", &name])?;
        self.hosts.push((name.clone(), number));
        run(
            "ip",
            &[
                "link", "add", &outer, "type", "veth", "peer", "name", &inner,
            ],
        )?;
        run("ip", &["link", "set", &inner, "netns", &name])?;
        run("ip", &["link", "set", &outer, "master", &self.bridge])?;
        run("ip", &["link", "set", &outer, "up"])?;
        let address = format!("{}/24", self.address(number));
        run("ip", &["-n", &name, "addr", "add", &address, "dev", &inner])?;
        run("ip", &["-n", &name, "link", "set", "lo", "up"])?;
        run("ip", &["-n", &name, "link", "set", &inner, "up"])
    }

    fn address(&self, number: u8) -> String {
        format!("{}.{number}", self.prefix)
    }

    /// The name and the address of a host, counted from 0.
    pub fn host(&self, place: usize) -> Option<(&str, String)> {
        let (name, number) = self.hosts.get(place)?;
        Some((name, self.address(*number)))
    }

    /// Nothing that this host says is heard any more, not even that a connection is over:
    /// its answers have no way out.
    pub fn silence(&self, place: usize) -> anyhow::Result<()> {
        let Some((name, silent)) = self.hosts.get(place) else {
            return Ok(());
        };
        let others = self.hosts.iter().map(|(_, number)| *number);
        for number in others.chain([HERE]).filter(|number| number != silent) {
            let address = format!("{}/32", self.address(number));
            run("ip", &["-n", name, "route", "add", "blackhole", &address])?;
        }
        Ok(())
    }
}
