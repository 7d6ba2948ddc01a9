//! Apache Kafka from its published jars, kept under the user's cache so that a second run fetches nothing.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{Result, lab};

/// Every version that the tests know, the default first.
pub(crate) const VERSIONS: [&str; 5] = ["4.3.1", "4.4.0", "3.9.2", "2.8.2", "2.4.1"];

/// The user of the SASL listeners with SCRAM, and its password.
pub(crate) const SCRAM_USER: (&str, &str) = ("carol", "carol-pw");

/// One version of Kafka, ready to start.
#[derive(Clone)]
pub(crate) struct Kafka {
    /// Its version.
    pub(crate) version: &'static str,
    directory: PathBuf,
}

impl Kafka {
    /// Brings `version` into the cache unless it is there.
    pub(crate) fn fetch(version: &str) -> Result<Self> {
        let known = VERSIONS.into_iter().find(|known| *known == version);
        let version =
            known.ok_or_else(|| format!("Kafka {version} is not one of {}", VERSIONS.join(", ")))?;
        let kafka = Self { version, directory: directory(version)? };
        fetch(version)?;
        let _alone = alone();
        if !kafka.zookeeper() {
            kafka.format_seed()?;
        }
        Ok(kafka)
    }

    /// The version whose tools serve this one: Kafka's own of 4.4.0 are not published.
    pub(crate) fn tools(&self) -> Result<Self> {
        if self.version == "4.4.0" { Self::fetch("4.3.1") } else { Ok(self.clone()) }
    }

    /// Whether its brokers keep their metadata in ZooKeeper.
    pub(crate) fn zookeeper(&self) -> bool {
        self.version.starts_with("2.")
    }

    /// Whether it is at least `major.minor`.
    pub(crate) fn at_least(&self, major: u32, minor: u32) -> bool {
        let mut numbers = self.version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
    }

    /// `java` with small flags and this version's class path.
    pub(crate) fn java_arguments(&self, logging: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = JAVA_FLAGS.iter().map(OsString::from).collect();
        let key =
            if self.at_least(4, 0) { "-Dlog4j2.configurationFile=" } else { "-Dlog4j.configuration=file:" };
        arguments.push(joined(key, logging));
        arguments.push("-cp".into());
        arguments.push(self.class_path().into());
        arguments
    }

    /// All its jars.
    pub(crate) fn class_path(&self) -> PathBuf {
        self.directory.join("libs/*")
    }

    /// The logging configuration of its programs: the file's name and text.
    pub(crate) fn logging(&self) -> (&'static str, &'static str) {
        if self.at_least(4, 0) { ("log4j2.xml", LOG4J2) } else { ("log4j.properties", LOG4J) }
    }

    /// What a formatted log directory holds besides `meta.properties`: features and SCRAM users, the same for all nodes.
    pub(crate) fn seed(&self) -> PathBuf {
        self.directory.join("seed")
    }

    /// The archive of loaded classes that halves a start; it exists after the first orderly stop of a broker.
    pub(crate) fn class_archive(&self) -> PathBuf {
        self.directory.join(format!("classes-{}.jsa", java_version()))
    }

    /// Keeps what a broker left at its orderly stop as the archive of loaded classes, unless there is one.
    pub(crate) fn keep_class_archive(&self, made: &Path) -> Result<()> {
        let _alone = alone();
        let archive = self.class_archive();
        if !archive.exists() && made.exists() {
            let aside = archive.with_extension(std::process::id().to_string());
            fs::copy(made, &aside)?;
            fs::rename(aside, archive)?;
        }
        Ok(())
    }

    fn format_seed(&self) -> Result<()> {
        let seed = self.seed();
        if seed.exists() {
            return Ok(());
        }
        let work = self.directory.join(format!("format-{}", std::process::id()));
        fs::create_dir_all(&work)?;
        let formatted = work.join("log");
        let properties = work.join("node.properties");
        let text = format!(
            "node.id=1\nprocess.roles=broker,controller\ncontroller.quorum.voters=1@127.0.0.1:9090\n\
             controller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9090\n\
             log.dirs={}\n",
            formatted.display()
        );
        fs::write(&properties, text)?;
        let (name, text) = self.logging();
        fs::write(work.join(name), text)?;
        let (user, password) = SCRAM_USER;
        let mut command = Command::new("java");
        command.args(self.java_arguments(&work.join(name))).args([
            "kafka.tools.StorageTool",
            "format",
            "-t",
            CLUSTER_ID,
            "-c",
        ]);
        command.arg(&properties);
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            command.args(["--add-scram", &format!("{mechanism}=[name={user},password={password}]")]);
        }
        let output = command.stdin(Stdio::null()).output()?;
        if !output.status.success() {
            return Err(format!("format failed: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        fs::remove_file(formatted.join("meta.properties"))?;
        fs::rename(formatted, seed)?;
        fs::remove_dir_all(work)?;
        Ok(())
    }
}

/// Lanes take turns with the cache.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Brings the jars of `poms/NAME.xml` into the cache unless they are there, and gives where they are.
pub(crate) fn fetch(name: &str) -> Result<PathBuf> {
    let directory = directory(name)?;
    let libs = directory.join("libs");
    let _alone = alone();
    if libs.join(COMPLETE).exists() {
        return Ok(libs);
    }
    println!("fetching Kafka {name}");
    let aside = directory.join(format!("libs-{}", std::process::id()));
    let pom = lab::repository().join("tests/kafka/poms").join(format!("{name}.xml"));
    let output = Command::new("mvn")
        .args(["-q", "-B", "-ntp", "dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(joined("-DoutputDirectory=", &aside))
        .arg("-f")
        .arg(pom)
        .output()?;
    if !output.status.success() {
        return Err(format!("mvn failed: {}", String::from_utf8_lossy(&output.stdout)).into());
    }
    fs::write(aside.join(COMPLETE), "")?;
    // Another run may have been faster, and may use its jars, which are the same.
    if libs.join(COMPLETE).exists() {
        fs::remove_dir_all(aside)?;
    } else {
        drop(fs::remove_dir_all(&libs));
        fs::rename(aside, &libs)?;
    }
    Ok(libs)
}

/// Where downloads are kept.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = match base {
        Some(base) => base,
        None => PathBuf::from(std::env::var_os("HOME").ok_or("HOME is not set")?).join(".cache"),
    };
    Ok(base.join("gatehouse"))
}

fn directory(version: &str) -> Result<PathBuf> {
    Ok(cache()?.join("kafka").join(version))
}

/// `key` directly followed by `path`.
pub(crate) fn joined(key: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(key);
    argument.push(path);
    argument
}

/// The Java that runs, as a part of a file's name: an archive of another one is refused by the machine.
pub(crate) fn java_version() -> String {
    let printed =
        Command::new("java").arg("-version").output().map(|output| output.stderr).unwrap_or_default();
    let text = String::from_utf8_lossy(&printed);
    let line = text.lines().find(|line| line.contains("version")).unwrap_or_default();
    line.chars().filter(|letter| letter.is_ascii_digit() || *letter == '.').collect()
}

/// The cluster's id in every run; the seed was formatted with it.
pub(crate) const CLUSTER_ID: &str = "m3-jc20GQ92OeLWMwIBrtg";

const COMPLETE: &str = "complete";
/// What keeps a Java program small and its start short.
pub(crate) const JAVA_FLAGS: [&str; 3] = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"];

const LOG4J: &str = "log4j.rootLogger=WARN, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.target=System.err
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d{HH:mm:ss.SSS} %p %c{1} %m%n
";

/// Warnings to the standard error, for programs of Kafka 4.
pub(crate) const LOG4J2: &str = r#"<Configuration>
  <Appenders>
    <Console name="out" target="SYSTEM_ERR"><PatternLayout pattern="%d{HH:mm:ss.SSS} %p %c{1} %m%n"/></Console>
  </Appenders>
  <Loggers><Root level="WARN"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
"#;
