//! The one door to the network: match, resolve, check, connect
