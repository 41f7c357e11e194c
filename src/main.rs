//! The server's program: arguments, configuration, serve, and the exit status.

use ringkeeper::runtime;
use ringkeeper::server::config::{self, ConfigFile, Input};

fn main() {
    let path = std::env::args().nth(2);
    let bytes = path.as_ref().map(|p| std::fs::read(p).expect("readable"));
    let input = Input {
        file: path.as_ref().zip(bytes.as_ref()).map(|(name, bytes)| ConfigFile { name, bytes }),
        overrides: &[],
        cores_available: 2,
    };
    let (config, _) = config::check(&input).into_config().expect("good");
    let guard = runtime::init_logging(false, "info");
    let result = runtime::serve(&config);
    drop(guard);
    if let Err(error) = result {
        eprintln!("ringkeeper: {error}");
        std::process::exit(error.kind.status());
    }
}
