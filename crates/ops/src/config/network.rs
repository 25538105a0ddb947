//! Networks of IP addresses, such as those of trusted proxies: a parser for a clap struct, and the check whether an
//! address is in one. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::values::InvalidValue;

/// An IP network: an address and the number of its leading bits that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    ip: IpAddr,
    prefix: u32,
}

impl Network {
    /// Whether the address is in this network. An IPv4 address that was mapped into IPv6, as a socket that listens on
    /// `[::]` sees it, is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.ip, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(Ipv4Addr::BITS - self.prefix).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(Ipv6Addr::BITS - self.prefix).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

/// A network, `10.0.0.0/8` or `fd00::/8`, or a single address.
///
/// # Errors
/// For anything else, host names included: they are not resolved.
pub fn parse_network(text: &str) -> Result<Network, InvalidValue> {
    const SHAPE: InvalidValue =
        InvalidValue::new("must be an address or a network, such as 10.0.0.7, 10.0.0.0/8 or fd00::/8");
    let text = text.trim();
    let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
    let ip: IpAddr = ip.parse().map_err(|_| SHAPE)?;
    let bits = if ip.is_ipv4() { Ipv4Addr::BITS } else { Ipv6Addr::BITS };
    let prefix = match prefix {
        Some(prefix) if prefix.bytes().all(|b| b.is_ascii_digit()) => prefix.parse().map_err(|_| SHAPE)?,
        Some(_) => return Err(SHAPE),
        None => bits,
    };
    if prefix > bits {
        return Err(InvalidValue::new("has a prefix that is longer than the address"));
    }
    Ok(Network { ip, prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_a_network_or_not() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.0.0.7", "10.0.0.7", "10.0.0.8"),
            ("10.0.0.7/32", "::ffff:10.0.0.7", "10.0.0.8"),
            ("192.168.4.128/25", "192.168.4.200", "192.168.4.127"),
            ("0.0.0.0/0", "203.0.113.1", "::1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::1", "::1", "127.0.0.1"),
            (" ::/0 ", "2001:db8::1", "10.0.0.1"),
        ] {
            let parsed = parse_network(network).unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{inside} in {network}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{outside} in {network}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "proxy", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "fd00::/129", "10.0.0/8", "*"] {
            assert!(parse_network(text).is_err(), "{text:?}");
        }
    }
}
