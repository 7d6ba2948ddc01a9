//! The message definitions inside `kafka-clients-4.4.0.jar`, which is fetched once and kept.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use crate::definition::Definition;

const JAR: &str = "kafka-clients-4.4.0.jar";
const ARTIFACT: &str = "org.apache.kafka:kafka-clients:4.4.0";

/// Every definition of the jar.
pub(crate) static DEFINITIONS: LazyLock<Vec<Definition>> = LazyLock::new(|| {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("definitions");
    drop(std::fs::remove_dir_all(&directory));
    std::fs::create_dir_all(&directory).unwrap();
    let mut unpack = Command::new("jar");
    unpack.arg("xf").arg(jar()).arg("common/message").current_dir(&directory);
    run(&mut unpack, "jar, which is in the package default-jdk-headless");
    let files = std::fs::read_dir(directory.join("common/message")).unwrap();
    let mut paths: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths.iter().map(|path| Definition::parse(&std::fs::read_to_string(path).unwrap())).collect()
});

fn jar() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cache"), PathBuf::from);
    let directory = cache.join("gatehouse");
    let jar = directory.join(JAR);
    if !jar.is_file() {
        // Maven copies under a name of its own; the rename keeps a broken copy from being taken for the jar.
        let part = directory.join(format!("definitions-{}", std::process::id()));
        let mut fetch = Command::new("mvn");
        fetch.args(["-q", "-B", "-ntp", "dependency:copy", &format!("-Dartifact={ARTIFACT}")]);
        fetch.arg(format!("-DoutputDirectory={}", part.display()));
        run(&mut fetch, "mvn, which is in the package maven");
        std::fs::rename(part.join(JAR), &jar).unwrap();
        drop(std::fs::remove_dir_all(part));
    }
    jar
}

fn run(command: &mut Command, what: &str) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("install {what}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    output
}
