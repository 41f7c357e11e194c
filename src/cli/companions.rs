//! The files that a configuration refers to (`myid`, the dynamic file), read for those who only judge.

use crate::server::config::properties::TEXT_BYTES_MAX;
use crate::server::config::{Beside, Companion, ConfigFile, Input, companion_names};
use std::io::{self, Read};
use std::path::Path;

/// One file: its path, and what was found there.
#[derive(Debug)]
struct Found {
    name: String,
    content: io::Result<Vec<u8>>,
    why: String,
}

/// All files that a configuration refers to.
#[derive(Debug)]
pub struct Companions {
    dynamic: Option<Found>,
    my_id: Option<Found>,
}

impl Companions {
    /// Reads what `input` refers to.
    #[must_use]
    pub fn read(input: &Input<'_>) -> Companions {
        let names = companion_names(input);
        let look = |name: String| {
            let content = read_bounded(Path::new(&name));
            let why = content.as_ref().err().map(ToString::to_string).unwrap_or_default();
            Found { name, content, why }
        };
        Companions { dynamic: names.dynamic.map(look), my_id: names.my_id.map(look) }
    }

    /// As [`crate::server::config::check_with`] takes them.
    #[must_use]
    pub fn beside(&self) -> Beside<'_> {
        Beside { dynamic: companion(self.dynamic.as_ref()), my_id: companion(self.my_id.as_ref()) }
    }
}

fn companion(found: Option<&Found>) -> Companion<'_> {
    let Some(found) = found else { return Companion::Absent };
    match &found.content {
        Ok(bytes) => Companion::Read(ConfigFile { name: &found.name, bytes }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Companion::Absent,
        Err(_) => Companion::Unreadable { name: &found.name, why: &found.why },
    }
}

/// Reads a file, as far as a configuration can be long and one byte more, so that a longer one is recognised as too long.
///
/// # Errors
/// When it can't be read.
pub fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_read_and_what_is_not_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let text = format!("dataDir={}\ndynamicConfigFile={}\n", at(""), at("dynamic"));
        let input = Input { file: Some(ConfigFile { name: "f", bytes: text.as_bytes() }), overrides: &[], cores_available: 1 };
        assert!(matches!(Companions::read(&input).beside(), Beside { dynamic: Companion::Absent, my_id: Companion::Absent }));
        std::fs::write(at("myid"), "2\n").unwrap();
        std::fs::create_dir(at("dynamic")).unwrap();
        let companions = Companions::read(&input);
        let Beside { dynamic: Companion::Unreadable { name, why }, my_id: Companion::Read(my_id) } = companions.beside() else {
            panic!("{companions:?}")
        };
        assert_eq!((name, my_id.name, my_id.bytes), (at("dynamic").as_str(), at("myid").as_str(), &b"2\n"[..]));
        assert!(!why.is_empty());
    }
}
