//! Many reloads, right and wrong, while traffic flows on a listener that none of them concerns.

use gatehouse::admin::state::Configured;

use super::{Traffic, asks, both, cluster, text, three_brokers, two};
use crate::client::Client;
use crate::poll::until;

/// Numbers that look random and repeat (SplitMix64), so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).expect("below an usize")
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

const DOORS: [u16; 5] = [9092, 9092, 9093, 9094, 9095];

#[tokio::test]
async fn fifty_reloads_of_one_listener_disturb_nobody_at_another() {
    let toy = three_brokers().await;
    let followed = two(&toy, "0-9", "cluster: toy").await;
    let traffic = Traffic::at(DOORS.map(|port| followed.door(port))).await;
    for round in 0..50 {
        let limits = format!("limits: {{ max_connections: {} }}", 10 + round);
        let nodes = format!("0-{}", 3 + round % 7);
        let before = traffic.asked();
        followed.apply(&both(followed.ip, &toy, &nodes, &limits)).await;
        until("traffic goes on", async || traffic.asked() > before).await;
    }
    assert_eq!(traffic.end().await, 0, "clients that were let go");
    let kept = ["listener=\"kept\""];
    assert_eq!(followed.metric("gatehouse_connections_accepted_total", &kept), 5.0);
    assert_eq!(followed.metric("gatehouse_config_reloads_total", &["result=\"applied\""]), 50.0);
}

#[tokio::test]
async fn two_hundred_files_right_and_wrong_never_let_a_client_of_the_untouched_listener_go() {
    let (toy, elsewhere) = (three_brokers().await, three_brokers().await);
    let followed = two(&toy, "0-9", "cluster: toy").await;
    let traffic = Traffic::at(DOORS.map(|port| followed.door(port))).await;
    let mut dice = Dice(4711);
    let (mut applied, mut refused) = (0, 0);
    for round in 0..200 {
        let kept = followed.listener("kept", 9092, "0-9", "cluster: toy");
        let mut listeners = kept.clone();
        for (name, port) in [("other", 19_092), ("third", 29_092)] {
            if dice.below(3) > 0 {
                let more = dice.one(&[
                    "cluster: toy",
                    "cluster: more",
                    "cluster: toy\n    limits: { max_connections: 7, idle_timeout: 1m }",
                    "cluster: more\n    networks: { deny: [ 10.0.0.0/8 ] }",
                    "cluster: toy\n    unknown_apis: pass",
                ]);
                let nodes = dice.one(&["0-9", "0-2", "1-4", "7"]);
                listeners += &followed.listener(name, port + dice.one(&[0, 100]), nodes, more);
            }
        }
        let more = cluster("more", dice.one(&[&toy, &elsewhere]));
        let right = text(&(cluster("toy", &toy) + &more), &listeners);
        let written = match dice.below(4) {
            0 => dice.one(&["listeners: [", "clusters: {}\n", "", "a: b\n", "\u{0}"]).to_owned(),
            1 => right.get(..dice.below(right.len())).unwrap_or_default().to_owned() + "\n  - {",
            _ => right.clone(),
        };
        let reload = followed.reload(&written).await;
        match reload.config {
            Configured::Refused => {
                assert_ne!(written, right, "round {round}: {reload:?}");
                refused += 1;
            }
            Configured::Applied => applied += 1,
            Configured::Unchanged | Configured::NoFile => {}
        }
        let mut passer_by = Client::connect(followed.door(9092)).await;
        assert!(asks(&mut passer_by).await, "round {round}");
    }
    assert!(applied > 50 && refused > 30, "{applied} applied, {refused} refused");
    assert_eq!(traffic.end().await, 0, "clients that were let go");
}

#[tokio::test]
async fn reloads_that_come_together_are_done_one_after_the_other() {
    let toy = three_brokers().await;
    let followed = two(&toy, "0-9", "cluster: toy").await;
    let traffic = Traffic::at(DOORS.map(|port| followed.door(port))).await;
    for round in 0..10 {
        let nodes = format!("0-{}", round % 3 + 2);
        followed.files.put("gatehouse.yaml", &both(followed.ip, &toy, &nodes, "cluster: toy"));
        let reload = |dry_run| followed.app.reloaded(dry_run);
        let (a, b, c, d) = tokio::join!(reload(false), reload(true), reload(false), reload(false));
        let applied = [&a, &c, &d].into_iter().filter(|r| r.config == Configured::Applied).count();
        assert_eq!(applied, 1, "{a:?} {c:?} {d:?}");
        assert_ne!(b.config, Configured::Refused, "{b:?}");
    }
    assert_eq!(traffic.end().await, 0);
}
