//! A wrong file changes nothing and is loud; a right one is found by itself; a dry run only tells.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use gatehouse::admin::state::Configured;
use tokio::net::{TcpListener, TcpStream};

use super::{Followed, Traffic, asks, both, three_brokers, two};
use crate::client::Client;
use crate::poll::until;

fn is_successful(followed: &Followed) -> bool {
    followed.metric("gatehouse_config_last_reload_successful", &[]) == 1.0
}

#[tokio::test]
async fn a_wrong_file_changes_nothing_and_says_so() {
    let toy = three_brokers().await;
    let followed = two(&toy, "0-9", "cluster: toy").await;
    let right = both(followed.ip, &toy, "0-9", "cluster: toy");
    let traffic = Traffic::at([followed.door(9092), followed.door(19_093)]).await;
    let half = right.split("ranges").next().unwrap_or_default();
    let wrong = [
        ("listeners: [", "not YAML"),
        (&*right.replace("cluster: toy", "cluster: nowhere"), "nowhere"),
        (&*right.replace("bind:", "bnid:"), "bnid"),
        ("", "clusters"),
        (half, ""),
    ];
    for (at, (text, says)) in wrong.iter().enumerate() {
        let reload = followed.reload(text).await;
        assert_eq!(reload.config, Configured::Refused, "{text}: {reload:?}");
        let error = reload.error.unwrap_or_default();
        assert!(format!("{error}{}", reload.explained).contains(says), "{error} {}", reload.explained);
        assert!(!reload.diagnostics.is_empty() && reload.changes.is_empty(), "{text}");
        assert!(!is_successful(&followed) && followed.app.is_ready());
        let refused = followed.metric("gatehouse_config_reloads_total", &["result=\"refused\""]);
        assert_eq!(refused, (at + 1) as f64);
    }
    followed.files.remove("gatehouse.yaml");
    let reload = followed.app.reloaded(false).await;
    assert!(reload.is_refused() && reload.error.unwrap_or_default().contains("cannot be read"));
    fs::create_dir(followed.file()).expect("a directory");
    let reload = followed.app.reloaded(false).await;
    assert!(reload.is_refused() && reload.error.unwrap_or_default().contains("is a directory"));
    fs::remove_dir(followed.file()).expect("removed");
    let reload = followed.reload(&right).await;
    assert_eq!((reload.config, is_successful(&followed)), (Configured::Unchanged, true));
    assert_eq!(traffic.end().await, 0);
}

#[tokio::test]
async fn a_port_or_a_certificate_that_is_not_to_be_had_refuses_the_whole_file() {
    let toy = three_brokers().await;
    let followed = two(&toy, "0-4", "cluster: toy").await;
    let taken = TcpListener::bind(followed.door(19_100)).await.expect("a free port");
    let wider = both(followed.ip, &toy, "0-9", "cluster: toy\n    limits: { max_connections: 1 }");
    for dry_run in [true, false] {
        followed.files.put("gatehouse.yaml", &wider);
        let reload = followed.app.reloaded(dry_run).await;
        assert!(reload.is_refused() && reload.error.unwrap_or_default().contains(":19100"), "{dry_run}");
        assert_eq!(is_successful(&followed), dry_run, "a dry run leaves no mark");
    }
    assert!(TcpStream::connect(followed.door(19_099)).await.is_err(), "no port was opened");
    let mut two =
        [Client::connect(followed.door(19_092)).await, Client::connect(followed.door(19_092)).await];
    for client in &mut two {
        assert!(asks(client).await, "the limit was not set");
    }
    let tls = "tls: { certificates: [ { cert: /nowhere/a.crt, key: /nowhere/a.key } ] }";
    let reload = followed.reload(&both(followed.ip, &toy, "0-4", tls)).await;
    assert!(reload.is_refused() && reload.error.unwrap_or_default().contains("/nowhere/a.crt"));
    drop((taken, two));
    assert_eq!(followed.reload(&wider).await.config, Configured::Applied);
    assert!(is_successful(&followed));
}

#[tokio::test]
async fn a_port_that_was_taken_is_used_as_soon_as_it_is_free() {
    let toy = three_brokers().await;
    let followed = Followed::start(|ip| both(ip, &toy, "0-4", "cluster: toy").replace("1h", "1s")).await;
    let taken = TcpListener::bind(followed.door(19_100)).await.expect("a free port");
    followed.files.put("gatehouse.yaml", &both(followed.ip, &toy, "0-9", "cluster: toy").replace("1h", "1s"));
    until("the refusal", async || !is_successful(&followed)).await;
    let refused = || followed.metric("gatehouse_config_reloads_total", &["result=\"refused\""]);
    assert!(followed.app.reloaded(false).await.is_refused(), "asked for, it is tried and counted again");
    assert_eq!(refused(), 2.0);
    drop(taken);
    until("the free port", async || is_successful(&followed)).await;
    assert_eq!(refused(), 2.0, "by the clock it is counted once");
    assert!(asks(&mut Client::connect(followed.door(19_093)).await).await);
}

#[tokio::test]
async fn a_dry_run_tells_all_and_does_nothing() {
    let toy = three_brokers().await;
    let followed = two(&toy, "0-9", "cluster: toy").await;
    let mut client = Client::connect(followed.door(19_093)).await;
    assert!(asks(&mut client).await);
    let before = followed.app.metrics();
    followed.files.put("gatehouse.yaml", &both(followed.ip, &toy, "1-12", "cluster: toy"));
    let told = followed.app.reloaded(true).await;
    assert_eq!((told.config, told.draining, told.dry_run), (Configured::Applied, 1, true), "{told:?}");
    assert!(asks(&mut client).await && TcpStream::connect(followed.door(19_104)).await.is_err());
    let reloads =
        |text: &str| text.lines().filter(|l| l.contains("config")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(reloads(&before), reloads(&followed.app.metrics()));
    let done = followed.app.reloaded(false).await;
    assert_eq!(
        (&done.changes, done.draining),
        (&told.changes, told.draining),
        "what was told is what is done"
    );
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_mounted_file_is_followed_by_itself() {
    let toy = three_brokers().await;
    let often = |ip, nodes: &str| both(ip, &toy, nodes, "cluster: toy").replace("1h", "1s");
    let ip = crate::gateway::own_address();
    let mount = |files: &crate::tls::files::Files, version, text: &str| {
        files.mount("config", version, &[("gatehouse.yaml", text)]);
    };
    let first = often(ip, "0-4");
    let followed =
        Followed::start_at("config/gatehouse.yaml", |files| mount(files, 0, &first), |_| first.clone()).await;
    let traffic = Traffic::at([(ip, 9092).into(), (ip, 9094).into()]).await;
    mount(&followed.files, 1, &often(ip, "0-9"));
    until("the new ports", async || TcpStream::connect((ip, 19_100)).await.is_ok()).await;
    mount(&followed.files, 2, "listeners: [");
    until("the refusal", async || !is_successful(&followed)).await;
    let refused = || followed.metric("gatehouse_config_reloads_total", &["result=\"refused\""]);
    assert_eq!(refused(), 1.0);
    assert!(TcpStream::connect((ip, 19_100)).await.is_ok() && followed.app.is_ready());
    mount(&followed.files, 3, &often(ip, "0-9"));
    until("right again", async || is_successful(&followed)).await;
    assert_eq!(refused(), 1.0, "one wrong file is counted once, however often it is looked at");
    assert_eq!(traffic.end().await, 0);
}

#[tokio::test]
async fn a_file_that_may_not_be_read_or_is_being_written_is_left_alone() {
    let toy = three_brokers().await;
    let followed = Followed::start(|ip| both(ip, &toy, "0-4", "cluster: toy").replace("1h", "1s")).await;
    let wider = both(followed.ip, &toy, "0-9", "cluster: toy").replace("1h", "1s");
    fs::set_permissions(followed.file(), fs::Permissions::from_mode(0o000)).expect("a mode");
    let root = fs::read(followed.file()).is_ok();
    let reload = followed.app.reloaded(false).await;
    assert_eq!(reload.config, if root { Configured::Unchanged } else { Configured::Refused });
    followed.files.put("gatehouse.yaml", "");
    for end in [1, wider.len() / 3, wider.len() / 2, wider.len() - 2] {
        followed.files.put_in_place("gatehouse.yaml", &wider[..end]);
        assert!(followed.app.is_ready());
    }
    followed.files.put_in_place("gatehouse.yaml", &wider);
    until("the whole of it", async || TcpStream::connect(followed.door(19_100)).await.is_ok()).await;
    assert!(is_successful(&followed));
}
