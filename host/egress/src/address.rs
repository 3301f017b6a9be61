//! Which addresses are public. What is not known to be public is not: the tables are the IANA registries of
//! special-purpose addresses (RFC 6890 and successors) and the metadata services of clouds.
//!
//! It must not resolve or connect.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// What an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// Reachable from everywhere: the only class that needs no block in a grant.
    Global,
    /// "This host" or "this network": `0.0.0.0/8`, `::`.
    Unspecified,
    /// The machine itself.
    Loopback,
    /// A private network, unique local addresses included.
    Private,
    /// Shared by the customers of a provider (RFC 6598).
    Shared,
    /// The local link.
    LinkLocal,
    /// A cloud's metadata service.
    Metadata,
    /// For documentation and benchmarks.
    Documentation,
    /// To many receivers.
    Multicast,
    /// Reserved, deprecated, or a tunnel whose end cannot be seen.
    Reserved,
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Global => "public",
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Shared => "shared",
            Self::LinkLocal => "link-local",
            Self::Metadata => "metadata",
            Self::Documentation => "documentation",
            Self::Multicast => "multicast",
            Self::Reserved => "reserved",
        })
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> u32 {
    u32::from_be_bytes([a, b, c, d])
}

/// Blocks of IPv4, the narrower before the wider: the first that fits decides.
const V4: [(u32, u32, AddressClass); 20] = [
    (v4(169, 254, 169, 254), 32, AddressClass::Metadata),
    (v4(169, 254, 170, 2), 32, AddressClass::Metadata),
    (v4(168, 63, 129, 16), 32, AddressClass::Metadata),
    (v4(100, 100, 100, 200), 32, AddressClass::Metadata),
    (v4(192, 0, 0, 192), 32, AddressClass::Metadata),
    (v4(0, 0, 0, 0), 8, AddressClass::Unspecified),
    (v4(10, 0, 0, 0), 8, AddressClass::Private),
    (v4(100, 64, 0, 0), 10, AddressClass::Shared),
    (v4(127, 0, 0, 0), 8, AddressClass::Loopback),
    (v4(169, 254, 0, 0), 16, AddressClass::LinkLocal),
    (v4(172, 16, 0, 0), 12, AddressClass::Private),
    (v4(192, 0, 0, 0), 24, AddressClass::Reserved),
    (v4(192, 0, 2, 0), 24, AddressClass::Documentation),
    (v4(192, 88, 99, 0), 24, AddressClass::Reserved),
    (v4(192, 168, 0, 0), 16, AddressClass::Private),
    (v4(198, 18, 0, 0), 15, AddressClass::Documentation),
    (v4(198, 51, 100, 0), 24, AddressClass::Documentation),
    (v4(203, 0, 113, 0), 24, AddressClass::Documentation),
    (v4(224, 0, 0, 0), 4, AddressClass::Multicast),
    (v4(240, 0, 0, 0), 4, AddressClass::Reserved),
];

/// Blocks of IPv6, the narrower before the wider. What no block names is reserved.
const V6: [(Ipv6Addr, u32, AddressClass); 14] = [
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128, AddressClass::Metadata),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128, AddressClass::Metadata),
    (Ipv6Addr::UNSPECIFIED, 128, AddressClass::Unspecified),
    (Ipv6Addr::LOCALHOST, 128, AddressClass::Loopback),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, AddressClass::Private),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, AddressClass::Private),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, AddressClass::LinkLocal),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, AddressClass::Private),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, AddressClass::Multicast),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, AddressClass::Documentation),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, AddressClass::Documentation),
    // Teredo and other protocol assignments.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, AddressClass::Reserved),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48, AddressClass::Reserved),
    (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, AddressClass::Global),
];

/// What an address is for. An IPv4 address inside an IPv6 one decides for both.
#[must_use]
pub fn classify(address: IpAddr) -> AddressClass {
    match (address, inner_v4(address)) {
        (IpAddr::V4(address), _) | (_, Some(address)) => classify_v4(address),
        (IpAddr::V6(address), None) => classify_v6(address),
    }
}

/// Whether a request may go to the address: it is public, or a listed block contains it, in its own form or
/// as the IPv4 address that it carries.
#[must_use]
pub fn is_allowed(address: IpAddr, blocks: &[IpNet]) -> bool {
    let inner = inner_v4(address).map(IpAddr::V4);
    let listed = |address: IpAddr| blocks.iter().any(|block| block.contains(&address));
    classify(address) == AddressClass::Global || listed(address) || inner.is_some_and(listed)
}

/// The IPv4 address that a mapped (`::ffff:a.b.c.d`), NAT64 (`64:ff9b::/96`) or 6to4 (`2002::/16`) address carries.
fn inner_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    if let Some(mapped) = address.to_ipv4_mapped() {
        return Some(mapped);
    }
    let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

fn classify_v4(address: Ipv4Addr) -> AddressClass {
    let fits = |base: u32, prefix: u32| (address.to_bits() ^ base) >> (32 - prefix) == 0;
    V4.iter().find(|(base, prefix, _)| fits(*base, *prefix)).map_or(AddressClass::Global, |(_, _, class)| *class)
}

fn classify_v6(address: Ipv6Addr) -> AddressClass {
    let fits = |base: Ipv6Addr, prefix: u32| (address.to_bits() ^ base.to_bits()) >> (128 - prefix) == 0;
    V6.iter().find(|(base, prefix, _)| fits(*base, *prefix)).map_or(AddressClass::Reserved, |(_, _, class)| *class)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn class(text: &str) -> AddressClass {
        classify(text.parse().unwrap())
    }

    #[test]
    fn special_addresses_are_not_public() {
        use AddressClass::*;
        for (text, expected) in [
            ("0.0.0.0", Unspecified),
            ("0.1.2.3", Unspecified),
            ("10.255.255.255", Private),
            ("100.64.0.1", Shared),
            ("100.127.255.255", Shared),
            ("127.0.0.1", Loopback),
            ("127.255.255.254", Loopback),
            ("169.254.169.254", Metadata),
            ("169.254.0.1", LinkLocal),
            ("168.63.129.16", Metadata),
            ("100.100.100.200", Metadata),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("192.0.0.8", Reserved),
            ("192.0.2.1", Documentation),
            ("192.88.99.1", Reserved),
            ("192.168.1.1", Private),
            ("198.19.255.255", Documentation),
            ("198.51.100.7", Documentation),
            ("203.0.113.7", Documentation),
            ("224.0.0.1", Multicast),
            ("239.255.255.255", Multicast),
            ("240.0.0.1", Reserved),
            ("255.255.255.255", Reserved),
            ("::", Unspecified),
            ("::1", Loopback),
            ("::7f00:1", Reserved),
            ("::ffff:127.0.0.1", Loopback),
            ("::ffff:0:127.0.0.1", Reserved),
            ("64:ff9b::7f00:1", Loopback),
            ("64:ff9b::a9fe:a9fe", Metadata),
            ("64:ff9b:1::1", Private),
            ("2002:7f00:1::", Loopback),
            ("2002:a9fe:a9fe::1", Metadata),
            ("2001::1", Reserved),
            ("2001:db8::1", Documentation),
            ("3fff::1", Documentation),
            ("fc00::1", Private),
            ("fd00:ec2::254", Metadata),
            ("fe80::1", LinkLocal),
            ("fec0::1", Private),
            ("ff02::1", Multicast),
            ("100::1", Reserved),
            ("4000::1", Reserved),
            ("5f00::1", Reserved),
        ] {
            assert_eq!(class(text), expected, "{text}");
        }
    }

    #[test]
    fn public_addresses_are_public() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert_eq!(class(text), AddressClass::Global, "{text}");
        }
    }

    #[test]
    fn a_listed_block_opens_itself_and_no_more() {
        let blocks = ["127.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        for (text, allowed) in [
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("fd12::1", true),
            ("8.8.8.8", true),
            ("::1", false),
            ("10.0.0.1", false),
            ("fc00::1", false),
            ("169.254.169.254", false),
        ] {
            assert_eq!(is_allowed(text.parse().unwrap(), &blocks), allowed, "{text}");
        }
    }

    proptest! {
        /// The standard library knows some of the special blocks; none of them may pass here.
        #[test]
        fn what_the_standard_library_calls_special_is_not_public(bits in any::<u32>(), near in 0_usize..20, low in any::<u16>()) {
            for bits in [bits, V4[near].0 | u32::from(low)] {
                let address = Ipv4Addr::from_bits(bits);
                let special = address.is_private() || address.is_loopback() || address.is_link_local()
                    || address.is_multicast() || address.is_broadcast() || address.is_documentation()
                    || address.is_unspecified() || bits >> 28 == 15;
                if special {
                    prop_assert!(classify(address.into()) != AddressClass::Global, "{}", address);
                }
            }
        }

        #[test]
        fn every_form_of_an_address_has_the_class_of_the_address(bits in any::<u32>(), rest in any::<u64>()) {
            let address = Ipv4Addr::from_bits(bits);
            let mapped = address.to_ipv6_mapped();
            let nat64 = Ipv6Addr::from_bits(0x0064_ff9b_u128 << 96 | u128::from(bits));
            let six_to_four = Ipv6Addr::from_bits(0x2002_u128 << 112 | u128::from(bits) << 80 | u128::from(rest));
            for form in [mapped, nat64, six_to_four] {
                prop_assert_eq!(classify(form.into()), classify(address.into()), "{}", form);
            }
        }

        #[test]
        fn only_unicast_of_the_global_block_is_public_in_ipv6(bits in any::<u128>()) {
            let address = Ipv6Addr::from_bits(bits);
            if inner_v4(address.into()).is_none() && classify(address.into()) == AddressClass::Global {
                prop_assert_eq!(bits >> 125, 1);
                prop_assert!(!address.is_loopback() && !address.is_multicast() && !address.is_unspecified());
            }
        }
    }
}
