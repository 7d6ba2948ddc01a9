//! The binary as a person or a script meets it: what it prints, where, and what it ends with.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const SIX_LINES: &str = "\
clusters:
  main: { bootstrap: [kafka-0.internal:9092, kafka-1.internal:9092] }
listeners:
  external:
    bind: 0.0.0.0:9092
    advertise: kafka.example.com
";

/// A file that is removed at the end.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gatehouse-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GATEHOUSE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).current_dir(std::env::temp_dir()).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn alone_it_says_what_to_try() {
    let output = run(&[]);
    assert_eq!(code(&output), 2);
    assert_eq!(stderr(&output).lines().count(), 5);
    assert_eq!(stderr(&output).matches("\n  gatehouse ").count(), 3);
    assert!(stdout(&output).is_empty());
}

#[test]
fn help_is_data_and_has_examples() {
    for arguments in [
        &["--help"][..],
        &["run", "--help"],
        &["proxy", "--help"],
        &["routes", "--help"],
        &["check", "--help"],
        &["cert", "--help"],
        &["cert", "show", "--help"],
        &["cert", "dev", "--help"],
        &["generate", "--help"],
        &["generate", "kubernetes", "--help"],
        &["generate", "systemd", "--help"],
        &["generate", "compose", "--help"],
        &["generate", "grafana", "--help"],
        &["generate", "alerts", "--help"],
    ] {
        let output = run(arguments);
        assert_eq!(code(&output), 0, "{arguments:?}");
        assert!(stdout(&output).contains("Examples:\n  gatehouse "), "{arguments:?}");
        assert!(stderr(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for arguments in [&["rnu"][..], &["run", "--prot"], &["proxy", "--to", "a:1"], &["validate", "-o", "xml"]]
    {
        let output = run(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(stdout(&output).is_empty(), "{arguments:?}");
        assert!(stderr(&output).contains("error"), "{arguments:?}");
    }
}

#[test]
fn a_missing_file_ends_with_66() {
    for command in ["run", "validate", "routes"] {
        let output = run(&[command, "--config", "/nonexistent/gatehouse.yaml"]);
        assert_eq!(code(&output), 66, "{command}");
        assert!(stderr(&output).contains("/nonexistent/gatehouse.yaml"), "{command}");
    }
    assert_eq!(code(&run(&["validate", "--config", "/"])), 66);
    let binary = File::new("binary.yaml", "");
    fs::write(&binary.0, [0xff, 0xfe, 0x80]).unwrap();
    assert_eq!(code(&run(&["validate", "--config", binary.path()])), 66);
}

#[test]
fn a_valid_file_is_one_line() {
    let file = File::new("valid.yaml", SIX_LINES);
    let output = run(&["validate", "--config", file.path()]);
    assert_eq!((code(&output), stderr(&output)), (0, ""));
    assert_eq!(stdout(&output), format!("ok {}\n", file.path()));
    assert_eq!(stdout(&run(&["validate", "-q", "-c", file.path()])), "");
    assert_eq!(json(&run(&["validate", "-o", "json", "-c", file.path()])), Value::Array(Vec::new()));
}

#[test]
fn the_file_may_come_by_variable_or_standard_input() {
    let file = File::new("variable.yaml", SIX_LINES);
    let output = command(&["validate"]).env("GATEHOUSE_CONFIG", file.path()).output().unwrap();
    assert_eq!(stdout(&output), format!("ok {}\n", file.path()));

    let mut child =
        command(&["validate", "-c", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(SIX_LINES.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stdout(&output)), (0, "ok <stdin>\n"));
}

#[test]
fn a_wrong_file_ends_with_78_and_says_where() {
    let file = File::new("wrong.yaml", &SIX_LINES.replace("bind", "bnid"));
    for command in ["run", "validate", "routes"] {
        let output = run(&[command, "--config", file.path()]);
        assert_eq!(code(&output), 78, "{command}");
        assert!(stdout(&output).is_empty(), "{command}");
        let text = stderr(&output);
        assert!(text.contains("error[GH002]: unknown setting `bnid`"), "{text}");
        assert!(text.contains(":5:5") && text.contains("did you mean `bind`?"), "{text}");
        assert!(text.trim_end().ends_with("2 errors; `gatehouse explain GH005` tells more"), "{text}");
        assert!(!text.contains('\u{1b}'), "colours without a terminal: {text}");
    }
    let output = run(&["validate", "-c", file.path(), "-o", "json"]);
    assert_eq!(code(&output), 78);
    let faults = json(&output);
    let fault = faults.as_array().unwrap().iter().find(|fault| fault["code"] == "GH002").unwrap();
    assert_eq!(fault["path"], "listeners.external.bnid");
    assert_eq!((&fault["line"], &fault["column"]), (&5.into(), &5.into()));
    assert_eq!(fault["fix"]["text"], "bind");
    for name in ["level", "message", "label", "file", "bytes", "help"] {
        assert!(fault.get(name).is_some(), "{name}");
    }
    let output = run(&["validate", "-c", file.path(), "--format", "github"]);
    assert_eq!(code(&output), 78);
    assert!(stdout(&output).lines().all(|line| line.starts_with("::error file=")), "{}", stdout(&output));
}

#[test]
fn colour_comes_when_asked_for() {
    let file = File::new("colour.yaml", "x: 1\n");
    let output = run(&["validate", "--color", "always", "-c", file.path()]);
    assert!(stderr(&output).contains('\u{1b}'));
    let output = command(&["validate", "-c", file.path()]).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(stderr(&output).contains('\u{1b}'));
    let output = command(&["validate", "--color", "never", "-c", file.path()])
        .env("CLICOLOR_FORCE", "1")
        .output()
        .unwrap();
    assert!(!stderr(&output).contains('\u{1b}'));
}

#[test]
fn routes_are_short_for_people_and_complete_for_programs() {
    let file = File::new("routes.yaml", SIX_LINES);
    let output = run(&["routes", "--config", file.path()]);
    assert_eq!(code(&output), 0);
    let lines: Vec<Vec<&str>> = stdout(&output)
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect())
        .collect();
    assert_eq!(lines.len(), 3, "{}", stdout(&output));
    assert_eq!(lines[0], ["listener", "mode", "client connects to", "broker", "bound", "cluster"]);
    assert_eq!(
        lines[1],
        ["external", "port", "kafka.example.com:9092", "(bootstrap)", "0.0.0.0:9092", "main"]
    );
    assert_eq!(
        lines[2],
        ["external", "port", "kafka.example.com:9093-9192", "0-99", "0.0.0.0:9093-9192", "main"]
    );

    let routes = json(&run(&["routes", "-o", "json", "-c", file.path()]));
    let routes = routes.as_array().unwrap();
    assert_eq!(routes.len(), 101);
    assert_eq!(routes[0]["node"], Value::Null);
    assert_eq!(
        routes[100],
        serde_json::json!({
            "listener": "external",
            "mode": "port",
            "advertise": "kafka.example.com:9192",
            "node": 99,
            "bind": ["0.0.0.0:9192"],
            "cluster": "main",
        })
    );
}

/// Nobody who asks what a file means needs to be able to read its keys.
#[test]
fn routes_by_name_are_told_without_the_certificates() {
    let file = File::new(
        "names.yaml",
        "clusters: { main: { bootstrap: [kafka-0.internal:9092] } }
listeners:
  internet:
    bind: \"[::]:9443\"
    routing:
      sni: { bootstrap: kafka.example.com, brokers: \"b{node}.kafka.example.com\", nodes: [0-99, 1000], advertised_port: 443 }
    tls: { certificates: { cert: /nowhere/tls.crt, key: /nowhere/tls.key } }
",
    );
    let output = run(&["routes", "--config", file.path()]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let lines: Vec<Vec<&str>> = stdout(&output)
        .lines()
        .skip(1)
        .map(|line| line.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect())
        .collect();
    let row = |told, node| ["internet", "sni", told, node, "[::]:9443", "main"];
    assert_eq!(lines[0], row("kafka.example.com:443", "(bootstrap)"));
    assert_eq!(lines[1], row("b{node}.kafka.example.com:443", "0-99"));
    assert_eq!(lines[2], row("b1000.kafka.example.com:443", "1000"));
    assert_eq!(lines.len(), 3);

    let routes = json(&run(&["routes", "-o", "json", "-c", file.path()]));
    let routes = routes.as_array().unwrap();
    assert_eq!(routes.len(), 102);
    assert_eq!(
        routes[101],
        serde_json::json!({
            "listener": "internet",
            "mode": "sni",
            "advertise": "b1000.kafka.example.com:443",
            "node": 1000,
            "bind": ["[::]:9443"],
            "cluster": "main",
        })
    );
    assert_eq!(code(&run(&["validate", "--no-environment", "-c", file.path()])), 0);
}

#[test]
fn routes_of_a_gateway_elsewhere_need_neither_its_secrets_nor_its_variables() {
    let login = "{ mechanism: PLAIN, username: u, password: { file: /nowhere/password } }";
    let text = SIX_LINES.replace("9092] }", &format!("9092], discovery: {{ sasl: {login} }} }}"));
    let file = File::new("elsewhere.yaml", &text);
    let output = run(&["routes", "-c", file.path()]);
    assert!(code(&output) == 78 && stderr(&output).contains("/nowhere/password"), "{}", stderr(&output));
    let output = run(&["routes", "--no-environment", "-c", file.path()]);
    assert!(code(&output) == 0 && stdout(&output).contains("kafka.example.com:9092"), "{}", stderr(&output));

    let file = File::new("unset.yaml", &SIX_LINES.replace("kafka.example.com", "${GATEHOUSE_NOT_SET}"));
    let output = run(&["routes", "--no-environment", "-c", file.path()]);
    assert_eq!((code(&output), stdout(&output)), (78, ""));
    assert!(stderr(&output).contains("one or more of `GATEHOUSE_NOT_SET`\n"), "{}", stderr(&output));
}

/// What this machine's variables say is not so where the gateway runs.
#[test]
fn without_the_environment_defaults_count_and_what_has_none_is_named() {
    let given = |text: &str, arguments: &[&str]| {
        let file = File::new("given.yaml", text);
        let mut command = command(arguments);
        command.args(["-c", file.path()]).envs([("NAME", "here.example.com"), ("BIND", "0.0.0.0:9392")]);
        command.output().unwrap()
    };
    let default = SIX_LINES.replace("kafka.example.com", "${NAME:-kafka.example.com}");
    let output = given(&default, &["routes", "--no-environment"]);
    assert!(stdout(&output).contains(" kafka.example.com:9092 "), "{}{}", stdout(&output), stderr(&output));
    let output = given(&default, &["routes"]);
    assert!(stdout(&output).contains(" here.example.com:9092 "), "{}", stdout(&output));
    let wrong = SIX_LINES.replace("0.0.0.0:9092", "${BIND:-nonsense}");
    assert_eq!(code(&given(&wrong, &["validate"])), 0);
    assert_eq!(code(&given(&wrong, &["validate", "--no-environment"])), 78);

    let none = SIX_LINES.replace("kafka.example.com", "${NAME}");
    let output = given(&none, &["routes", "--no-environment"]);
    assert!(
        code(&output) == 78 && stderr(&output).contains("one or more of `NAME`\n"),
        "{}",
        stderr(&output)
    );
    let output = given(&none, &["validate", "--no-environment"]);
    assert!(stdout(&output).ends_with("\n   to be set where it runs: `NAME`\n"), "{}", stdout(&output));
    assert!(!stdout(&given(&none, &["validate"])).contains("to be set"));

    let ranges =
        "    routing: { port: { ranges: [{ nodes: 0-2, bind: 9500 }] } }\nadmin: { bind: 0.0.0.0:9910 }\n";
    for (bind, port, is_brought) in [("${BIND:-0.0.0.0:9092}", 9092, false), ("${BIND}", 9392, true)] {
        let text = SIX_LINES.replace("0.0.0.0:9092", bind) + ranges;
        for (kind, published) in
            [("kubernetes", format!("targetPort: {port}")), ("compose", format!("{port}:{port}"))]
        {
            let output = given(&text, &["generate", kind]);
            assert!(stdout(&output).contains(&published), "{bind}: {}{}", stdout(&output), stderr(&output));
            let head = stdout(&output).split("kind: ConfigMap").next().unwrap();
            assert_eq!(
                head.contains("BIND"),
                is_brought,
                "what decides the ports is brought, or does not count"
            );
        }
    }
}

#[test]
fn validate_reads_the_certificates() {
    let file = File::new(
        "unread.yaml",
        &format!(
            "{SIX_LINES}    tls: {{ certificates: {{ cert: /nowhere/tls.crt, key: /nowhere/tls.key }} }}\n"
        ),
    );
    let output = run(&["validate", "-c", file.path()]);
    assert_eq!(code(&output), 78);
    assert!(
        stderr(&output).contains("GH034") && stderr(&output).contains("/nowhere/tls.crt"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn codes_are_explained_offline() {
    let output = run(&["explain", "gh014"]);
    assert_eq!(code(&output), 0);
    assert!(stdout(&output).starts_with("GH014: a port is claimed twice\n\n"));
    assert_eq!(json(&run(&["explain", "GH014", "-o", "json"]))["code"], "GH014");
    assert!(stdout(&run(&["explain"])).lines().count() > 20);
    assert_eq!(code(&run(&["explain", "GH999"])), 2);
}

/// What `generate` makes of a text; everything that it needs is given in front of the kind.
fn generated(text: &str, arguments: &[&str]) -> Output {
    let all: Vec<&str> =
        ["generate"].into_iter().chain(arguments.iter().copied()).chain(["-c", "-"]).collect();
    let mut child =
        command(&all).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A wrong command line is refused before anything is read.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn the_unit_for_systemd_has_the_numbers_of_the_configuration() {
    let unit = include_str!("../deploy/systemd/gatehouse.service");
    let low = SIX_LINES.replace(":9092\n    advertise", ":443\n    advertise");
    assert_eq!(
        stdout(&generated(&low, &["systemd"])),
        unit,
        "with a port below 1024 it is the one in deploy/"
    );
    let large =
        format!("{SIX_LINES}shutdown: {{ hard_stop_after: 5m }}\nlimits: {{ max_connections: 100000 }}\n");
    let output = generated(&large, &["systemd"]);
    let lines: Vec<&str> = stdout(&output).lines().collect();
    for line in ["TimeoutStopSec=330", "LimitNOFILE=262144", "AmbientCapabilities=", "CapabilityBoundingSet="]
    {
        assert!(lines.contains(&line), "{line}\n{}", stdout(&output));
    }
    assert_eq!(lines.len(), unit.lines().count());
    // Not where other tests have their files: the unit has a `/tmp` of its own.
    let name = format!("/dev/shm/gatehouse $HOME%n \"{}\".yaml", std::process::id());
    let file = File(PathBuf::from(&name));
    fs::write(&file.0, SIX_LINES).unwrap();
    let output = run(&["generate", "systemd", "-c", &name]);
    let quoted = name.replace('"', "\\\"").replace("$HOME%n", "$$HOME%%n");
    let line = format!("\nExecStart=/usr/local/bin/gatehouse run --config \"{quoted}\"\n");
    assert!(stdout(&output).contains(&line), "{line}{}{}", stdout(&output), stderr(&output));
}

#[test]
fn the_unit_names_the_variables_and_hides_no_file_that_the_gateway_needs() {
    let login = "    discovery:
      sasl:
        mechanism: PLAIN
        username: gatehouse
        password: { env: KAFKA_PASSWORD }
    tls: { ca: /etc/gatehouse/ca.crt }
";
    let text = SIX_LINES.replace("main: { ", "main:\n    ").replace("9092] }\n", &format!("9092]\n{login}"))
        + "admin:\n  token: ${ADMIN_TOKEN}\n";
    let output = generated(&text, &["systemd"]);
    let needed = "\n# This configuration needs: ADMIN_TOKEN, KAFKA_PASSWORD\nEnvironmentFile=-/etc/gatehouse/environment\n";
    assert!(stdout(&output).contains(needed), "{}{}", stdout(&output), stderr(&output));
    for (path, says) in [
        ("/home/me/ca.crt", "`ProtectHome=yes`"),
        ("/root/ca.crt", "`ProtectHome=yes`"),
        ("/run/user/0/ca.crt", "`ProtectHome=yes`"),
        ("/var/tmp/ca.crt", "`PrivateTmp=yes`"),
        ("certs/ca.crt", "the unit starts in `/`"),
    ] {
        let output = generated(&text.replace("/etc/gatehouse/ca.crt", path), &["systemd"]);
        assert!(code(&output) == 78 && stdout(&output).is_empty(), "{path}");
        assert!(stderr(&output).contains(path) && stderr(&output).contains(says), "{}", stderr(&output));
    }
    let file = File::new("hidden.yaml", SIX_LINES);
    let output = run(&["generate", "systemd", "-c", file.path()]);
    assert!(code(&output) == 78 && stderr(&output).contains("`PrivateTmp=yes`"), "{}", stderr(&output));
    let output = generated(&text.replace("KAFKA_PASSWORD", "\"a b\""), &["systemd"]);
    assert!(code(&output) == 78 && stderr(&output).contains("called `a b`"), "{}", stderr(&output));
}

#[test]
fn the_compose_file_has_the_ports_and_the_folders_of_the_configuration() {
    let text = "\
clusters:
  main:
    bootstrap: kafka-0:9093
    tls: { ca: /etc/gatehouse/brokers-ca }
    discovery:
      sasl:
        mechanism: PLAIN
        username: gatehouse
        password: ${KAFKA_PASSWORD}
listeners:
  external:
    bind: 0.0.0.0:443
    advertise: kafka.example.com:31090
    routing: { port: { ranges: [{ nodes: 0-9, bind: 9100, advertise: 31100 }, { nodes: 20, bind: 9200 }] } }
admin: { bind: 0.0.0.0:9910 }
";
    let output = generated(text, &["compose", "--image", "registry.example.com/gatehouse:1"]);
    let file: Value = serde_saphyr::from_str(stdout(&output)).unwrap();
    let service = &file["services"]["gatehouse"];
    assert_eq!(service["image"], "registry.example.com/gatehouse:1");
    let ports = ["31090:443", "31100-31109:9100-9109", "9200:9200", "127.0.0.1:9910:9910"];
    assert_eq!(service["ports"], Value::from(ports.to_vec()));
    assert_eq!(service["environment"]["KAFKA_PASSWORD"], "${KAFKA_PASSWORD:?}");
    assert_eq!(service["stop_grace_period"], "70s");
    assert_eq!(service["sysctls"]["net.ipv4.ip_unprivileged_port_start"], 0);
    assert_eq!(service["volumes"][0]["source"], "./");
    assert_eq!(service["command"][2], "/etc/gatehouse/config/gatehouse.yaml");
    assert_eq!(service["volumes"][1]["source"], "./brokers-ca");
    assert_eq!(service["volumes"][1]["target"], "/etc/gatehouse/brokers-ca");
}

#[test]
fn what_a_pod_cannot_run_is_refused_with_what_to_write() {
    let fit = "\
clusters:
  main: { bootstrap: kafka-0:9092 }
listeners:
  external:
    bind: 0.0.0.0:9092
    advertise: kafka.example.com
    routing: { port: { ranges: [{ nodes: 0-2, bind: 9093 }] } }
admin: { bind: 0.0.0.0:9910 }
";
    assert_eq!(code(&generated(fit, &["kubernetes"])), 0);
    let twice = "  other: { bind: 0.0.0.0:19092, advertise: other.example.com:9092, routing: { port: { ranges: [{ nodes: 0, bind: 19093 }] } } }\nadmin:";
    for (what, by, says) in [
        ("bind: 0.0.0.0:9092", "bind: 127.0.0.1:9092", "say `0.0.0.0:9092`"),
        ("bind: 0.0.0.0:9092", "bind: 0.0.0.0:443", "above 1023 and advertise 443"),
        ("admin: { bind: 0.0.0.0:9910 }", "", "`admin: { bind: 0.0.0.0:9910 }`"),
        (
            "    routing: { port: { ranges: [{ nodes: 0-2, bind: 9093 }] } }\n",
            "",
            "101 ports, more than --max-ports 50",
        ),
        ("admin:", twice, "both tell clients port 9092"),
        ("kafka-0:9092 }", "kafka-0:9092, tls: { ca: ca.crt } }", "a folder of their own"),
        ("0-2", "2-0", "GH0"),
        ("kafka.example.com", "${NOT_SET}", "`NOT_SET`"),
    ] {
        let output = generated(&fit.replace(what, by), &["kubernetes"]);
        assert_eq!(code(&output), 78, "{says}: {}", stderr(&output));
        assert!(stderr(&output).contains(says), "{says}: {}", stderr(&output));
        assert!(stdout(&output).is_empty());
    }
    let both = fit.replace("admin: { bind: 0.0.0.0:9910 }", "").replace("0-2", "0-99");
    let output = generated(&both, &["kubernetes"]);
    assert!(stderr(&output).contains("101 ports") && stderr(&output).contains("admin.bind"), "all at once");
    let output = generated(fit, &["kubernetes", "--type", "NodePort"]);
    assert!(code(&output) == 78 && stderr(&output).contains("port 9092, which is no node port"));
    let output = generated(fit, &["kubernetes", "--name", "Gate"]);
    assert_eq!(code(&output), 2, "{}", stderr(&output));
    let output = run(&["generate", "systemd", "-c", "/nonexistent/gatehouse.yaml"]);
    assert_eq!(code(&output), 66);
}

#[test]
fn the_file_of_the_readme_runs_in_a_container_whose_image_should_be_named() {
    let readme = include_str!("../README.md");
    let behind = readme.split("| kubectl apply -f -\n").nth(1).unwrap();
    let file = behind.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    for kind in ["kubernetes", "compose"] {
        let image = concat!("gatehouse:", env!("CARGO_PKG_VERSION"));
        let output = generated(file, &[kind]);
        assert!(code(&output) == 0 && stdout(&output).contains(image), "{}", stderr(&output));
        assert!(stderr(&output).contains(&format!("no registry has `{image}`")), "{}", stderr(&output));
        let output = generated(file, &[kind, "--image", "registry.example.com/gatehouse:1"]);
        assert_eq!((code(&output), stderr(&output)), (0, ""));
    }
}

#[test]
fn what_compose_cannot_publish_is_refused_all_at_once() {
    let ranges = |bind: u16, told: u16| {
        format!("routing: {{ port: {{ ranges: [{{ nodes: 0-2, bind: {bind}, advertise: {told} }}] }} }}")
    };
    let listener = |name: &str, bind: &str, port: u16, told: &str| {
        let ranges = ranges(port + 1, port + 1);
        format!(
            "  {name}: {{ bind: \"{bind}:{port}\", advertise: \"{name}.example.com:{told}\", {ranges} }}\n"
        )
    };
    let file = |listeners: &[String]| {
        let listeners = listeners.concat();
        format!(
            "clusters:\n  main: {{ bootstrap: kafka-0:9092 }}\nlisteners:\n{listeners}admin: {{ bind: 0.0.0.0:9910 }}\n"
        )
    };
    assert_eq!(code(&generated(&file(&[listener("a", "0.0.0.0", 9092, "19092")]), &["compose"])), 0);
    let wrong = file(&[
        listener("a", "127.0.0.1", 9092, "9092"),
        listener("b", "0.0.0.0", 9192, "9092"),
        listener("c", "0.0.0.0", 9292, "9910"),
    ])
    .replace("kafka-0:9092 }", "kafka-0:9092, tls: { ca: ca.crt } }");
    let output = generated(&wrong, &["compose"]);
    assert!(code(&output) == 78 && stdout(&output).is_empty());
    for says in [
        "listener `a` binds 127.0.0.1, and nothing outside the container reaches that: say `0.0.0.0:9092`",
        "listeners `a` and `b` both tell clients port 9092",
        "listener `c` tells clients port 9910, where the admin pages are published",
        "a folder of their own",
    ] {
        assert!(stderr(&output).contains(says), "{says}: {}", stderr(&output));
    }
    // The pages are not published where nothing reaches them.
    let inside = file(&[listener("a", "0.0.0.0", 9092, "9910")]).replace("0.0.0.0:9910", "127.0.0.1:9910");
    assert_eq!(code(&generated(&inside, &["compose"])), 0);
}

/// The objects of manifests, by their kind; of several of a kind the last.
fn objects(output: &Output) -> BTreeMap<String, Value> {
    assert_eq!(code(output), 0, "{}", stderr(output));
    let read = |text: &str| serde_saphyr::from_str::<Value>(text).unwrap();
    let objects = stdout(output).split("\n---\n").map(read);
    objects.map(|object| (object["kind"].as_str().unwrap().to_owned(), object)).collect()
}

#[test]
fn names_and_paths_reach_the_other_program_as_they_are() {
    let folders =
        ["/etc/gate house/a, b", "/run/{name}/{image}", "/run/#a &b", "/run/$HOME/${A}", "/run/\"x\"\\y"];
    let ca: Vec<String> =
        folders.iter().map(|folder| Value::from(format!("{folder}/ca.crt")).to_string()).collect();
    let ca =
        format!("clusters:\n  main:\n    bootstrap: kafka-0:9092\n    tls: {{ ca: [{}] }}\n", ca.join(", "));
    let rest = "\
listeners:
  external:
    bind: 0.0.0.0:9092
    advertise: kafka.example.com
    routing: { port: { ranges: [{ nodes: 0-2, bind: 9093 }] } }
    tls: { certificates: { cert: /run/key/tls.crt, key: /run/key/tls.key } }
admin:
  bind: 0.0.0.0:9910
  token: ${on}
";
    let text = format!("{ca}{rest}");
    let words = ["kubernetes", "--name", "on", "--namespace", "123", "--image", "null:5"];
    let objects_made = objects(&generated(&text, &words));
    let deployment = &objects_made["Deployment"];
    for object in objects_made.values() {
        let metadata = &object["metadata"];
        let name = metadata["name"].as_str().unwrap();
        assert!(name.starts_with("on") && metadata["namespace"] == "123", "{metadata}");
        assert_eq!(metadata["labels"]["app.kubernetes.io/instance"], "on");
    }
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!((&container["image"], &pod["serviceAccountName"]), (&"null:5".into(), &"on".into()));
    assert_eq!(
        (&container["env"][0]["name"], &pod["volumes"][0]["configMap"]["name"]),
        (&"on".into(), &"on".into())
    );
    let mounted = container["volumeMounts"].as_array().unwrap();
    for folder in folders {
        assert!(mounted.iter().any(|mount| mount["mountPath"] == folder), "{folder}: {mounted:?}");
    }

    let name = format!("a $HOME \"{}\".yaml", std::process::id());
    let file = File(std::env::temp_dir().join(&name));
    fs::write(&file.0, &text).unwrap();
    let output = run(&["generate", "compose", "--image", "null:5", "-c", file.path()]);
    let made: Value = serde_saphyr::from_str(stdout(&output)).unwrap();
    let service = &made["services"]["gatehouse"];
    assert_eq!(service["command"][2], format!("/etc/gatehouse/config/{}", name.replace('$', "$$")));
    assert_eq!((&service["image"], &service["environment"]["on"]), (&"null:5".into(), &"${on:?}".into()));
    let volumes = service["volumes"].as_array().unwrap();
    for folder in folders {
        let folder = folder.replace('$', "$$");
        assert!(volumes.iter().any(|volume| volume["target"] == folder), "{folder}: {volumes:?}");
    }

    for (from, to, says) in
        [("/run/key/tls", "/run/a:b/tls", "a colon"), ("tls.crt", "t ls.crt", "cannot be in a Secret")]
    {
        let output = generated(&text.replace(from, to), &["kubernetes"]);
        assert!(code(&output) == 78 && stderr(&output).contains(says), "{}", stderr(&output));
    }
    for wrong in ["5", "null", "@", ":", "a:", "a b:1", "registry:5000/gatehouse", "A:1", "a@sha256:1"] {
        assert_eq!(code(&generated(&text, &["kubernetes", "--image", wrong])), 2, "{wrong}");
    }
    let digest = format!("localhost:5000/a/b-c@sha256:{}", "0".repeat(64));
    let tagged = format!("a:1@sha256:{}", "0".repeat(64));
    for right in [&digest, &tagged] {
        assert_eq!(code(&generated(&text, &["kubernetes", "--image", right])), 0, "{right}");
    }
    for wrong in ["-a", "a-", "A", "a.b", "", "a_b"] {
        let (name, namespace) = (format!("--name={wrong}"), format!("--namespace={wrong}"));
        assert_eq!(code(&generated(&text, &["kubernetes", &name])), 2, "{wrong}");
        assert_eq!(code(&generated(&text, &["kubernetes", &namespace])), 2, "{wrong}");
    }
}

#[test]
fn the_text_of_a_configuration_stays_as_it_is_in_a_manifest() {
    let text = format!(
        "{SIX_LINES}    routing: {{ port: {{ ranges: [{{ nodes: 0-2, bind: 9093 }}] }} }}\n\
         admin: {{ bind: 0.0.0.0:9910 }} # {{name}}\n"
    );
    let deeper: String = text.lines().map(|line| format!("   {line}\n")).collect();
    let blanks = format!("            \n\n{text}");
    let mark = format!("\u{feff}{text}");
    for text in [&text, &deeper, &blanks, &mark] {
        let objects = objects(&generated(text, &["kubernetes"]));
        assert_eq!(objects["ConfigMap"]["data"]["gatehouse.yaml"], text.as_str());
    }
    let ends = objects(&generated(&text.replace('\n', "\r\n"), &["kubernetes"]));
    assert_eq!(ends["ConfigMap"]["data"]["gatehouse.yaml"], text);
}

#[test]
fn a_password_in_the_file_is_warned_of() {
    let text = SIX_LINES.replace(
        "kafka-1.internal:9092] }",
        "kafka-1.internal:9092], discovery: { sasl: { mechanism: PLAIN, username: a, password: hunter2 } } }",
    ) + "    routing: { port: { ranges: [{ nodes: 0-2, bind: 9093 }] } }\nadmin: { bind: 0.0.0.0:9910 }\n";
    let output = generated(&text, &["kubernetes"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stderr(&output).contains("so does the ConfigMap"), "{}", stderr(&output));
}

#[test]
fn the_version_is_that_of_the_package() {
    assert!(stdout(&run(&["version"])).starts_with(concat!("gatehouse ", env!("CARGO_PKG_VERSION"))));
    let version = json(&run(&["version", "-o", "json"]));
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(version["features"].is_array() && version.get("revision").is_some());
    assert_eq!(stdout(&run(&["--version"])).trim(), concat!("gatehouse ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_come_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        assert_eq!(code(&output), 0, "{shell}");
        assert!(stdout(&output).contains("validate"), "{shell}");
    }
}

#[test]
fn the_example_is_valid_and_shown_with_every_default() {
    let example = run(&["config", "example"]);
    let file = File::new("example.yaml", stdout(&example));
    assert_eq!(code(&run(&["validate", "-c", file.path()])), 0);
    let shown = json(&run(&["config", "show", "-c", file.path()]));
    assert_eq!(shown["shutdown"]["hard_stop_after"], "1m");
    assert_eq!(shown["listeners"]["external"]["limits"]["idle_timeout"], "11m");
}

#[test]
fn who_stops_reading_early_is_no_failure() {
    let mut child = command(&["routes", "-o", "json", "-c", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(SIX_LINES.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output)), (0, ""));
}

/// A gateway in a process of its own, which does not outlive the test.
struct Gateway(Child);

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Gateway {
    fn signal(&self, name: &str) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    fn ended(&mut self) -> i32 {
        until("the gateway ends", || self.0.try_wait().unwrap()).code().unwrap()
    }
}

/// Waits for a condition.
fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited for: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// An address of this process's own on which nobody listens.
fn free_addresses() -> (String, String) {
    let id = std::process::id();
    let host = format!("127.{}.{}.{}", 64 + (id >> 16) % 64, (id >> 8) & 0xff, 1 + id % 254);
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let (one, two) =
        (TcpListener::bind((host.as_str(), 0)).unwrap(), TcpListener::bind((host.as_str(), 0)).unwrap());
    (format!("{host}:{}", port(&one)), format!("{host}:{}", port(&two)))
}

fn config(bind: &str, admin: &str, ready_delay: &str) -> String {
    let taken = [bind, admin].map(|address| address.parse::<SocketAddr>().unwrap());
    let free = || TcpListener::bind((taken[0].ip(), 0)).unwrap().local_addr().unwrap();
    let node = std::iter::repeat_with(free).find(|free| !taken.contains(free)).unwrap().port();
    format!(
        "clusters:
  main: {{ bootstrap: [192.0.2.1:9092], discovery: learn-only }}
  unused: {{ bootstrap: [192.0.2.1:9092], discovery: learn-only }}
listeners:
  external:
    cluster: main
    bind: {bind}
    advertise: localhost
    routing: {{ port: {{ ranges: [{{ nodes: 7, bind: {node} }}] }} }}
admin: {{ bind: {admin} }}
tls: {{ reload_interval: 1h }}
shutdown: {{ ready_delay: {ready_delay}, drain_timeout: 1s, hard_stop_after: 1h }}
"
    )
}

fn start(file: &File) -> Gateway {
    let mut command = command(&["run", "--config", file.path()]);
    Gateway(command.env("GATEHOUSE_WORKERS", "1").stderr(Stdio::piped()).spawn().unwrap())
}

/// What an admin page says, status line first; nothing where nobody answers.
fn page(admin: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(admin).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn live(admin: &str) -> Option<()> {
    page(admin, "/livez")?.starts_with("HTTP/1.1 200").then_some(())
}

#[test]
fn a_gateway_starts_answers_and_stops_as_asked() {
    let (bind, admin) = free_addresses();
    let file = File::new("run.yaml", &config(&bind, &admin, "0s"));
    let mut gateway = start(&file);
    until("admin answers", || live(&admin));
    assert!(TcpStream::connect(&bind).is_ok());

    let mut second = start(&file);
    assert_eq!(second.ended(), 71, "the ports are taken");

    gateway.signal("TERM");
    assert_eq!(gateway.ended(), 0);
    let mut log = String::new();
    gateway.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    let log: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(log.iter().all(|line| line["level"].is_string() && line["timestamp"].is_string()), "{log:?}");
    assert_eq!((&log[0]["code"], &log[0]["setting"]), (&"GH031".into(), &"clusters.unused".into()));
}

#[test]
fn a_second_signal_leaves_at_once() {
    for (name, exit) in [("TERM", 143), ("INT", 130)] {
        let (bind, admin) = free_addresses();
        let file = File::new(&format!("{name}.yaml"), &config(&bind, &admin, "30m"));
        let mut gateway = start(&file);
        until("admin answers", || live(&admin));
        gateway.signal(name);
        // Not ready alone would not tell: its cluster does not answer. Two signals that are not told apart are one.
        let stopping = || page(&admin, "/readyz")?.contains("FAIL process: stopping").then_some(());
        until("it is stopping", stopping);
        gateway.signal(name);
        assert_eq!(gateway.ended(), exit);
    }
}

#[test]
fn wrong_variables_of_the_process_end_with_2() {
    let file = File::new("workers.yaml", &config("127.0.0.1:9092", "127.0.0.1:9910", "0s"));
    for (name, value) in
        [("GATEHOUSE_WORKERS", "0"), ("GATEHOUSE_WORKERS", "many"), ("GATEHOUSE_LOG_FORMAT", "xml")]
    {
        let output = command(&["run", "-c", file.path()]).env(name, value).output().unwrap();
        assert_eq!(code(&output), 2, "{name}={value}");
        assert!(stderr(&output).starts_with("error: "), "{name}={value}: {}", stderr(&output));
    }
}

#[test]
fn a_proxy_needs_no_file() {
    let (listen, admin) = free_addresses();
    let listen = format!("{}:19092", listen.rsplit_once(':').unwrap().0);
    let arguments = ["proxy", "--to", "192.0.2.1:9092", "--listen", &listen, "--admin", &admin];
    let child = command(&arguments).args(["--advertise", "localhost"]).stderr(Stdio::null()).spawn().unwrap();
    let mut gateway = Gateway(child);
    until("admin answers", || live(&admin));
    assert!(TcpStream::connect(&listen).is_ok());
    gateway.signal("TERM");
    gateway.signal("TERM");
    assert!([0, 143].contains(&gateway.ended()));

    let output = run(&["proxy", "--to", "kafka", "--advertise", "0.0.0.0"]);
    assert_eq!(code(&output), 78);
    assert!(stderr(&output).contains("GH008") && stderr(&output).contains("GH029"), "{}", stderr(&output));
}

#[test]
fn the_demo_says_how_to_try_it_and_stops_as_asked() {
    let child = command(&["demo", "--port", "29392", "--admin-port", "29910"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut gateway = Gateway(child);
    let mut text = String::new();
    let mut lines = BufReader::new(gateway.0.stdout.take().unwrap()).lines();
    while !text.contains("Ctrl-C to stop") {
        text += &lines.next().unwrap().unwrap();
        text.push('\n');
    }
    assert!(text.contains("kcat -b localhost:"), "{text}");
    let port = text.split("localhost:").nth(1).unwrap();
    let port: u16 = port.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
    assert!(TcpStream::connect(("localhost", port)).is_ok(), "{text}");
    gateway.signal("INT");
    assert_eq!(gateway.ended(), 0);
    let mut log = String::new();
    gateway.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert_eq!(log, "");
}

/// A directory that is removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gatehouse-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn throw_away_certificates_are_made_once_and_shown() {
    let directory = Directory::new("certs");
    let out = directory.path("");
    let names = ["cert", "dev", "kafka.example.com", "*.kafka.example.com", "127.0.0.1"];
    let make = |more: &[&str]| {
        run(&[&names[..], &["--out", &out, "--client", "alice", "--days", "20"], more].concat())
    };
    let output = make(&[]);
    assert_eq!((code(&output), stderr(&output)), (0, ""));
    let key = fs::metadata(directory.path("tls.key")).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key) & 0o777, 0o600);

    // The block that is printed is the listener's.
    let block = stdout(&output).split("gateway, in the listener:\n").nth(1).unwrap();
    let block: String =
        block.lines().take_while(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect();
    let file = File::new("certs.yaml", &format!("{SIX_LINES}{block}"));
    let valid = run(&["validate", "-c", file.path()]);
    assert_eq!((code(&valid), stderr(&valid)), (0, ""), "{block}");

    let before = fs::read(directory.path("ca.crt")).unwrap();
    let again = make(&[]);
    assert_eq!(code(&again), 1);
    assert!(stderr(&again).contains("ca.crt` is there already") && stderr(&again).contains("--force"));
    assert_eq!(fs::read(directory.path("ca.crt")).unwrap(), before);
    assert_eq!(code(&make(&["--force"])), 0);
    assert_ne!(fs::read(directory.path("ca.crt")).unwrap(), before);

    let files = ["tls.crt", "client.pem"].map(|name| directory.path(name));
    let shown = run(&["cert", "show", &files[0], &files[1]]);
    let text = stdout(&shown);
    for words in [
        "subject   CN=kafka.example.com\n",
        "names     kafka.example.com, *.kafka.example.com, 127.0.0.1\n",
        "issuer    CN=Gatehouse throw-away CA\n",
        ", 19 days left\n",
        "  private key\n",
        "subject   CN=alice\n",
    ] {
        assert!(text.contains(words), "{words} in {text}");
    }
    assert!(!text.contains("PRIVATE KEY"));
    let shown = json(&run(&["cert", "show", "-o", "json", &files[0]]));
    let certificate = &shown[0]["items"][0];
    assert_eq!(
        (&certificate["kind"], &certificate["subject"]),
        (&"certificate".into(), &"CN=kafka.example.com".into())
    );
    assert_eq!(certificate["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn what_is_no_certificate_and_no_name_is_refused() {
    let file = File::new("none.crt", "hello");
    let output = run(&["cert", "show", file.path(), "/nonexistent.crt"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("none.crt: it holds no certificate"), "{}", stderr(&output));
    assert!(stderr(&output).contains("/nonexistent.crt: No such file"), "{}", stderr(&output));
    let directory = Directory::new("no-certs");
    for name in ["a b", "*", "b*.example.com", "", "a..b"] {
        let output = run(&["cert", "dev", name, "--out", &directory.path("")]);
        assert_eq!(code(&output), 2, "{name}");
        assert!(!directory.0.exists());
    }
}

/// A demo in a process of its own, with the port that it found.
fn demo(arguments: &[&str]) -> (Gateway, u16) {
    let child = command(&[&["demo"], arguments].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut demo = Gateway(child);
    let mut text = String::new();
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines();
    while !text.contains("Ctrl-C to stop") {
        text += &lines.next().unwrap().unwrap();
    }
    let port = text.split("localhost:").nth(1).unwrap();
    (demo, port.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap())
}

#[test]
fn a_check_ends_with_3_when_something_fails_and_tells_programs_the_same() {
    let (_demo, port) = demo(&["--port", "29492", "--admin-port", "29940"]);
    let (bind, admin) = free_addresses();
    let listener = format!(
        "bind: {bind}, advertise: localhost, routing: {{ port: {{ ranges: [{{ nodes: 0-2, bind: 22500 }}] }} }}"
    );
    let text = |bootstrap: &str| {
        format!(
            "clusters: {{ main: {{ bootstrap: [{bootstrap}] }} }}\nlisteners: {{ a: {{ {listener} }} }}\nadmin: {{ bind: '{admin}' }}\n"
        )
    };
    let right = File::new("check.yaml", &text(&format!("'localhost:{port}'")));
    let output = run(&["check", "-c", right.path()]);
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    let lines: Vec<&str> = stdout(&output).lines().collect();
    assert_eq!(lines[..2], ["config", &format!("  ok    {}: 1 listener, 1 cluster", right.path())]);
    // Bootstrap, and the three brokers that it tells of.
    assert_eq!(lines.iter().filter(|line| line.starts_with("  ok    localhost:")).count(), 4, "{lines:?}");
    assert!(lines.last().unwrap().contains(" ok in "), "{lines:?}");
    assert!(!stdout(&output).contains('\u{1b}'), "colours without a terminal");
    assert_eq!(stdout(&run(&["check", "-q", "-c", right.path()])), "");

    let wrong = File::new("check-wrong.yaml", &text(&format!("'localhost:{port}', 'localhost:9'")));
    let output = run(&["check", "-c", wrong.path(), "-o", "json"]);
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    let report = json(&output);
    assert_eq!(report["failed"], 1);
    let cluster = report["groups"].as_array().unwrap().iter().find(|g| g["name"] == "cluster main").unwrap();
    let failed = cluster["lines"].as_array().unwrap().iter().find(|l| l["outcome"] == "fail").unwrap();
    assert_eq!((&failed["subject"], &failed["code"]), (&"localhost:9".into(), &"GH102".into()));
    assert!(failed["hint"].is_string() && failed["facts"].is_array());

    // A warning fails only where that was asked for.
    let unknown =
        text(&format!("'localhost:{port}'")).replace("advertise: localhost", "advertise: kafka.invalid");
    let unknown = File::new("check-unknown.yaml", &unknown);
    assert_eq!(code(&run(&["check", "-c", unknown.path()])), 0);
    let strict = run(&["check", "--strict", "-c", unknown.path()]);
    assert_eq!(code(&strict), 3);
    assert!(
        stdout(&strict).contains("warn  kafka.invalid does not resolve here   GH142"),
        "{}",
        stdout(&strict)
    );
}

#[test]
fn a_check_of_a_wrong_file_ends_as_validate_does() {
    assert_eq!(code(&run(&["check", "-c", "/nonexistent/gatehouse.yaml"])), 66);
    let file = File::new("check-bad.yaml", &SIX_LINES.replace("bind", "bnid"));
    let output = run(&["check", "-c", file.path(), "-o", "json"]);
    assert_eq!(code(&output), 78);
    assert!(stderr(&output).contains("error[GH002]"), "{}", stderr(&output));
    assert_eq!(
        (&json(&output)["failed"], &json(&output)["groups"][0]["name"]),
        (&2.into(), &"config".into())
    );
    assert_eq!(code(&run(&["check", "--timeout", "5"])), 2);
}

/// The blocks of the README's section on TLS, as somebody would paste them into an empty directory.
#[test]
fn the_two_minutes_of_tls_in_the_readme_work() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let section = page.split("### TLS in two minutes").nth(1).unwrap().split("\n## ").next().unwrap();
    let yaml = section.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    for line in ["gatehouse cert dev localhost\n", "gatehouse check && gatehouse run\n"] {
        assert!(section.contains(line), "{line}");
    }
    let (_demo, port) = demo(&["--port", "29792", "--admin-port", "29970"]);
    let (bind, admin) = free_addresses();
    let own = bind.split(':').next().unwrap();
    let yaml = yaml.replace("localhost:9092", &format!("localhost:{port}"));
    let yaml = yaml.replace("127.0.0.1:19092", &format!("{own}:22092")).replace("127.0.0.1:9911", &admin);
    let directory = Directory::new("two-minutes");
    fs::create_dir(&directory.0).unwrap();
    fs::write(directory.path("gatehouse.yaml"), yaml).unwrap();
    let there = |arguments: &[&str]| command(arguments).current_dir(&directory.0).output().unwrap();

    assert_eq!(code(&there(&["cert", "dev", "localhost"])), 0);
    let output = there(&["check"]);
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    let mut run = command(&["run"]);
    let _gateway = Gateway(run.current_dir(&directory.0).stderr(Stdio::null()).spawn().unwrap());
    until("admin answers", || live(&admin));
    let ca = directory.path("gatehouse-dev-certs/ca.crt");
    let address = format!("{own}:22092");
    let arguments = [
        "s_client",
        "-connect",
        &address,
        "-CAfile",
        &ca,
        "-verify_hostname",
        "localhost",
        "-verify_return_error",
    ];
    let output = Command::new("openssl").args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(stdout(&output).contains("Verify return code: 0 (ok)"), "{}{}", stdout(&output), stderr(&output));
}

fn metric(admin: &str, name: &str) -> Option<f64> {
    let page = page(admin, "/metrics")?;
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn a_gateway_reloads_its_file_when_it_is_asked_to() {
    let (bind, admin) = free_addresses();
    let text = config(&bind, &admin, "0s").replace("admin: { bind", "admin: { token: s3cret, bind");
    let file = File::new("reload.yaml", &text);
    let gateway = start(&file);
    until("admin answers", || live(&admin));
    let url = format!("http://{admin}");
    let reload = |arguments: &[&str], token: &str| {
        let mut command = command(&["reload", "--admin", &url]);
        command.args(arguments).env("GATEHOUSE_ADMIN_TOKEN", token).output().unwrap()
    };
    let printed = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();
    let said = |output: &Output| String::from_utf8(output.stderr.clone()).unwrap();

    let same = reload(&[], "s3cret");
    assert_eq!(
        (code(&same), &*printed(&same)),
        (0, "the file says what is in use; nothing is disconnected\n")
    );
    assert_eq!(code(&reload(&[], "wrong")), 77);

    fs::write(&file.0, text.replace("cluster: main", "cluster: main\n    limits: { max_connections: 9 }"))
        .unwrap();
    let told = reload(&["--dry-run"], "s3cret");
    let expected = "listener external  limits.max_connections not set -> 9  applies to new connections\n\
                    could be reloaded; nothing is disconnected\n";
    assert_eq!((code(&told), &*printed(&told)), (0, expected), "{}", said(&told));
    let token = File::new("reload.token", "s3cret\n");
    let by_file = command(&["reload", "--admin", &admin, "-o", "json"])
        .env("GATEHOUSE_ADMIN_TOKEN_FILE", token.path())
        .output()
        .unwrap();
    let json: Value = serde_json::from_slice(&by_file.stdout).unwrap();
    assert_eq!((code(&by_file), &json["config"]), (0, &"applied".into()), "{json}");
    assert_eq!(json["changes"][0]["path"], "listeners.external.limits.max_connections");

    // Without an address it is the gateway of the file, with the token that is there.
    let of_file = run(&["--config", file.path(), "reload"]);
    assert_eq!((code(&of_file), said(&of_file).matches("GH031").count()), (0, 1), "{}", said(&of_file));

    fs::write(&file.0, text.replace("cluster: main", "cluster: nowhere")).unwrap();
    let wrong = reload(&[], "s3cret");
    assert_eq!((code(&wrong), &*printed(&wrong)), (78, ""));
    assert!(
        said(&wrong).contains("nowhere") && said(&wrong).contains("nothing was changed"),
        "{}",
        said(&wrong)
    );
    assert_eq!(metric(&admin, "gatehouse_config_last_reload_successful"), Some(0.0));

    fs::write(&file.0, &text).unwrap();
    gateway.signal("HUP");
    until("right again", || {
        metric(&admin, "gatehouse_config_last_reload_successful").filter(|value| *value > 0.0)
    });
    drop(gateway);
    let gone = reload(&[], "s3cret");
    assert_eq!((code(&gone), said(&gone).contains("cannot be reached")), (69, true), "{}", said(&gone));
    assert_eq!(code(&run(&["reload", "--admin", "https://127.0.0.1:1"])), 2);
}

#[test]
fn a_gateway_that_runs_logs_by_another_level_unless_its_surroundings_named_one() {
    for (variable, flag, wins) in
        [("", "", None), ("warn", "", Some("GATEHOUSE_LOG")), ("", "-q", Some("--quiet"))]
    {
        let (bind, admin) = free_addresses();
        let text = config(&bind, &admin, "0s").replace("admin: { bind", "admin: { token: s3cret, bind");
        let file = File::new("level.yaml", &(text.clone() + "log: { level: warn }\n"));
        let mut arguments = vec!["run", "--config", file.path()];
        arguments.extend((!flag.is_empty()).then_some(flag));
        let child =
            command(&arguments).env("GATEHOUSE_LOG", variable).stderr(Stdio::piped()).spawn().unwrap();
        let mut gateway = Gateway(child);
        until("admin answers", || live(&admin));
        fs::write(&file.0, text + "log: { level: \"info,gatehouse::topology=off\" }\n").unwrap();
        let mut reload = command(&["reload", "--admin", &admin]);
        let reloaded = reload.env("GATEHOUSE_ADMIN_TOKEN", "s3cret").output().unwrap();
        assert_eq!(code(&reloaded), 0, "{}", stderr(&reloaded));
        let told = "log.level warn -> info,gatehouse::topology=off  applies at once, unless";
        assert!(stdout(&reloaded).contains(told), "{}", stdout(&reloaded));
        gateway.signal("TERM");
        assert_eq!(gateway.ended(), 0);
        let mut log = String::new();
        gateway.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(!log.contains("\"started\""), "it began with warnings only: {log}");
        assert_eq!(log.contains("\"stopped\""), wins.is_none(), "{log}");
        let kept = wins.map(|wins| format!("{wins} wins: the level of the log stays as it is"));
        assert!(kept.is_none_or(|kept| log.contains(&kept)), "{log}");
    }
}

#[test]
fn no_other_gateway_is_asked_than_that_of_the_file() {
    let said = |output: &Output| String::from_utf8(output.stderr.clone()).unwrap();
    let (bind, admin) = free_addresses();
    let text = config(&bind, &admin, "0s");
    let file = File::new("reload-target.yaml", &text);
    let away = run(&["--config", file.path(), "reload"]);
    assert_eq!((code(&away), said(&away).contains(&admin)), (69, true), "{}", said(&away));

    fs::write(&file.0, text.replace("cluster: main", "cluster: nowhere")).unwrap();
    let wrong = run(&["--config", file.path(), "reload"]);
    assert_eq!((code(&wrong), said(&wrong).contains("nothing was asked")), (78, true), "{}", said(&wrong));

    fs::write(&file.0, text.replace(&format!("bind: {admin}"), "bind: null")).unwrap();
    let off = run(&["--config", file.path(), "reload"]);
    assert_eq!((code(&off), said(&off).contains("send it HUP")), (69, true), "{}", said(&off));
}

#[test]
fn what_came_from_standard_input_cannot_be_read_again() {
    let (bind, admin) = free_addresses();
    let text = config(&bind, &admin, "0s").replace("admin: { bind", "admin: { token: s3cret, bind");
    let mut child = command(&["run", "-c", "-"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let _gateway = Gateway(child);
    until("admin answers", || live(&admin));
    let output =
        command(&["reload", "--admin", &admin]).env("GATEHOUSE_ADMIN_TOKEN", "s3cret").output().unwrap();
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(code(&output) == 1 && said.contains("came from <stdin>, which cannot be read again"), "{said}");
}
