//! CA, certificates, peer identity, registry and the TLS configurations made from them.
