//! Keys of access (schemes, ACLs) and of TLS and Kerberos.

use super::super::kind::Kind;
use super::{Key, honoured, later, moot, refused};

const NO_SASL: &str = "it only matters with SASL, which is not built yet";
const NO_TLS: &str = "it only matters with TLS, which is not built yet";

/// Schemes and ACLs.
pub(super) const ACCESS: &[Key] = &[
    honoured("skipACL", Kind::OnIfYes, "no", "exactly yes switches every ACL check off"),
    honoured("DigestAuthenticationProvider.enabled", Kind::Bool, "true", "offers the scheme digest"),
    honoured("DigestAuthenticationProvider.superDigest", Kind::Digest, "none", "identity of the super user"),
    honoured(
        "DigestAuthenticationProvider.digestAlg",
        Kind::Choice(&["SHA1"]),
        "SHA1",
        "hash of the scheme digest; others are not built yet",
    ),
    honoured("ensembleAuthName", Kind::Text, "none", "names, with commas between them, that clients of the scheme ensemble may give"),
    refused("enforce.auth.enabled", Kind::Bool, "false", "false", "refuses clients that haven't authenticated"),
    moot(
        "enforce.auth.schemes",
        Kind::Text,
        "none",
        "it only matters with enforce.auth.enabled, which is not built yet",
        "schemes that count for it",
    ),
    refused("sessionRequireClientSASLAuth", Kind::Bool, "false", "false", "refuses clients without SASL"),
    later("allowSaslFailedClients", Kind::Bool, "false", "false", "keeps clients whose SASL authentication failed"),
    later("authProvider.*", Kind::Name, "none", "", "class of a further scheme"),
    later("authProvider.x509", Kind::Name, "X509AuthenticationProvider", "", "class for client certificates"),
    later("superUser*", Kind::Name, "none", "", "SASL identity that is super"),
    later("superUser", Kind::Name, "none", "", "SASL identity that is super"),
    later("X509AuthenticationProvider.superUser", Kind::Name, "none", "", "certificate subject that is super"),
    later("SASLAuthenticationProvider.superPassword", Kind::Name, "none", "", "password of the SASL super user"),
    moot("letAnySaslUserDoX", Kind::Name, "none", NO_SASL, "SASL identity that every user matches"),
    moot(
        "IPAuthenticationProvider.usexforwardedfor",
        Kind::Bool,
        "false",
        "it only matters with the admin server, which is not built yet",
        "takes addresses from X-Forwarded-For",
    ),
    moot(
        "enableEagerACLCheck",
        Kind::Bool,
        "false",
        "ACLs are checked where every write is judged",
        "a learner checks ACLs before it forwards a write",
    ),
];

/// TLS and Kerberos.
pub(super) const TRANSPORT: &[Key] = &[
    refused("sslQuorum", Kind::Bool, "false", "false", "TLS between servers"),
    moot("sslQuorumReloadCertFiles", Kind::Bool, "false", NO_TLS, "reads changed certificate files again"),
    moot("portUnification", Kind::Bool, "false", NO_TLS, "TLS and plain text on the ports between servers"),
    later("client.portUnification", Kind::Bool, "false", "false", "TLS and plain text on one client port"),
    moot("client.certReload", Kind::Bool, "false", NO_TLS, "reads changed certificate files again"),
    moot("ssl.quorum.*", Kind::Text, "as ssl.*", NO_TLS, "the keys of ssl.* for connections between servers"),
    moot("ssl.authProvider", Kind::Name, "x509", NO_TLS, "scheme of TLS clients"),
    moot("ssl.protocol", Kind::Name, "TLSv1.3 or TLSv1.2", NO_TLS, "protocol"),
    moot("ssl.enabledProtocols", Kind::Name, "TLSv1.3,TLSv1.2", NO_TLS, "protocols that may be used"),
    moot("ssl.ciphersuites", Kind::Name, "a built-in list", NO_TLS, "cipher suites"),
    moot("ssl.keyStore.location", Kind::Name, "none", NO_TLS, "file of the key store"),
    moot("ssl.keyStore.password", Kind::Text, "none", NO_TLS, "its password"),
    moot("ssl.keyStore.passwordPath", Kind::Name, "none", NO_TLS, "file with its password"),
    moot("ssl.keyStore.type", Kind::Name, "by the file's extension", NO_TLS, "JKS, PEM, PKCS12 or BCFKS"),
    moot("ssl.trustStore.location", Kind::Name, "none", NO_TLS, "file of the trust store"),
    moot("ssl.trustStore.password", Kind::Text, "none", NO_TLS, "its password"),
    moot("ssl.trustStore.passwordPath", Kind::Name, "none", NO_TLS, "file with its password"),
    moot("ssl.trustStore.type", Kind::Name, "by the file's extension", NO_TLS, "JKS, PEM, PKCS12 or BCFKS"),
    moot("ssl.context.supplier.class", Kind::Name, "none", NO_TLS, "class that supplies the TLS context"),
    moot("ssl.hostnameVerification", Kind::Bool, "true", NO_TLS, "verifies the peer's name"),
    moot("ssl.clientHostnameVerification", Kind::Bool, "false (ssl.quorum: true)", NO_TLS, "verifies the client's name"),
    moot("ssl.allowReverseDnsLookup", Kind::Bool, "false (ssl.quorum: true)", NO_TLS, "verifies by reverse DNS"),
    moot("ssl.crl", Kind::Bool, "false", NO_TLS, "revocation lists"),
    moot("ssl.ocsp", Kind::Bool, "false", NO_TLS, "OCSP"),
    moot("ssl.clientAuth", Kind::Choice(&["need", "want", "none"]), "need", NO_TLS, "client certificates"),
    moot("ssl.handshakeDetectionTimeoutMillis", Kind::COUNT, "5000", NO_TLS, "ms to wait for the first bytes"),
    moot("ssl.sslProvider", Kind::Name, "JDK", NO_TLS, "JDK or OpenSSL"),
    moot("fips-mode", Kind::Bool, "true", NO_TLS, "restricts the choice of algorithms"),
    moot("security.auth_to_local", Kind::Text, "DEFAULT", NO_SASL, "rules that map Kerberos principals"),
    moot("sasl.serverconfig", Kind::Name, "Server", NO_SASL, "JAAS section of the server"),
    moot("kerberos.removeHostFromPrincipal", Kind::Bool, "false", NO_SASL, "takes the host off a principal"),
    moot("kerberos.removeRealmFromPrincipal", Kind::Bool, "false", NO_SASL, "takes the realm off a principal"),
    moot("kerberos.canonicalizeHostNames", Kind::Bool, "false", NO_SASL, "canonical host names between servers"),
    moot("kerberos.minReLoginTimeMs", Kind::COUNT, "60000", NO_SASL, "ms between two logins"),
    moot("kinit", Kind::Name, "the system's kinit", NO_SASL, "command that renews a ticket"),
    moot("requireKerberosConfig", Kind::Bool, "false", NO_SASL, "fails without a Kerberos configuration"),
    moot("java.security.auth.login.config", Kind::Name, "none", NO_SASL, "JAAS file"),
];
