//! A `server.N` line: one member of an ensemble, with the part after `;` that gives its client port.

/// What a `server.N` line says, as far as one server needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerLine {
    /// `host:quorumPort:electionPort`, one for each address.
    pub addresses: Vec<(String, u16, u16)>,
    /// Whether the member has no vote.
    pub observer: bool,
    /// Host (if given) and port for clients.
    pub client: Option<(Option<String>, u16)>,
}

/// Reads the value of a `server.N` line; `None` when it isn't one.
#[must_use]
pub fn parse(value: &str) -> Option<ServerLine> {
    let (members, client) = match value.split_once(';') {
        Some((members, client)) => (members, Some(parse_client(client.trim())?)),
        None => (value, None),
    };
    let mut addresses = Vec::new();
    let mut observer = false;
    for member in members.split('|') {
        let (host, rest) = split_host(member.trim())?;
        let mut parts = rest.split(':');
        let quorum = parse_port(parts.next()?)?;
        let election = parse_port(parts.next()?)?;
        match parts.next() {
            None | Some("participant") => {}
            Some("observer") => observer = true,
            Some(_) => return None,
        }
        if parts.next().is_some() {
            return None;
        }
        addresses.push((host.to_owned(), quorum, election));
    }
    Some(ServerLine { addresses, observer, client })
}

/// `[clientHost:]clientPort`.
fn parse_client(text: &str) -> Option<(Option<String>, u16)> {
    match parse_port(text) {
        Some(port) => Some((None, port)),
        None => {
            let (host, port) = split_host(text)?;
            Some((Some(host.to_owned()), parse_port(port)?))
        }
    }
}

/// The host (IPv6 addresses in brackets, which are taken off) and what follows its colon.
fn split_host(text: &str) -> Option<(&str, &str)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => inner.split_once("]:")?,
        None => text.split_once(':')?,
    };
    (!host.is_empty()).then_some((host, rest))
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_found_in_the_field() {
        let line = parse("zk1:2888:3888").unwrap();
        assert_eq!((line.addresses[0].clone(), line.observer, line.client), (("zk1".into(), 2888, 3888), false, None));
        assert_eq!(parse("localhost:2888:3888;2181").unwrap().client, Some((None, 2181)));
        assert_eq!(parse("a:1:2:participant;0.0.0.0:2182").unwrap().client, Some((Some("0.0.0.0".into()), 2182)));
        assert!(parse("a:1:2:observer").unwrap().observer);
        let many = parse("[2001:db8::1]:1:2|b:3:4;[::]:9").unwrap();
        assert_eq!(many.addresses, [("2001:db8::1".into(), 1, 2), ("b".into(), 3, 4)]);
        assert_eq!(many.client, Some((Some("::".into()), 9)));
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in
            ["", "a", "a:1", "a:1:2:leader", "a:1:2:observer:x", ":1:2", "a:1:99999", "a:+1:2", "a:1:2;", "a:1:2;x", "[::1:1:2", "a:1:2|"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
