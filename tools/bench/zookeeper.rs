//! The class path of real ZooKeeper: given, or fetched once by Maven into a cache directory.

use crate::{Failure, create_dir};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The release that is compared with.
pub const VERSION: &str = "3.9.5";

/// What Maven has to fetch. ZooKeeper's own descriptor leaves out the last two, which its server can't start without; no
/// logging back end is named, so that the server logs nothing.
const ARTIFACTS: [(&str, &str, &str); 3] = [
    ("org.apache.zookeeper", "zookeeper", VERSION),
    ("io.dropwizard.metrics", "metrics-core", "4.1.12.1"),
    ("org.xerial.snappy", "snappy-java", "1.1.10.5"),
];

/// Where things are kept between runs unless told otherwise.
pub fn default_cache_dir() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), PathBuf::from);
    cache.join("ringkeeper-bench")
}

/// The class path, fetched if the cache doesn't have it.
pub fn fetch(cache_dir: &Path) -> Result<String, Failure> {
    let dir = create_dir(&cache_dir.join(format!("zookeeper-{VERSION}")))?;
    let list = dir.join("classpath.txt");
    if let Some(known) = fs::read_to_string(&list).ok().filter(|text| all_exist(text)) {
        return Ok(known.trim().to_owned());
    }
    let project = dir.join("pom.xml");
    fs::write(&project, descriptor()).map_err(|e| format!("{}: {e}", project.display()))?;
    eprintln!("fetching ZooKeeper {VERSION} with Maven into {}", dir.display());
    let status = Command::new("mvn")
        .args(["-q", "-B", "dependency:build-classpath", "-Dmdep.outputFile=classpath.txt", "-f"])
        .arg(&project)
        .current_dir(&dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|e| format!("can't run mvn: {e}; name the class path with --zookeeper-classpath"))?;
    if !status.success() {
        return Err(format!("mvn failed ({status}); name the class path with --zookeeper-classpath"));
    }
    let text = fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?;
    if all_exist(&text) { Ok(text.trim().to_owned()) } else { Err(format!("{} names files that don't exist", list.display())) }
}

fn all_exist(class_path: &str) -> bool {
    let class_path = class_path.trim();
    !class_path.is_empty() && std::env::split_paths(class_path).all(|jar| jar.is_file())
}

fn descriptor() -> String {
    let mut text = String::from(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>ringkeeper</groupId><artifactId>bench-zookeeper</artifactId><version>1</version><packaging>pom</packaging><dependencies>\n",
    );
    for (group, artifact, version) in ARTIFACTS {
        text += &format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>\n"
        );
    }
    text + "</dependencies></project>\n"
}
