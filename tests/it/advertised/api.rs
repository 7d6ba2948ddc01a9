//! As much of a Kubernetes API as one Service takes, which misbehaves on request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::gateway::own_address;

pub(crate) const NAMESPACE: &str = "gateway";
pub(crate) const SERVICE: &str = "gw-gatehouse";

/// How it answers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mood {
    /// As it should.
    Well,
    /// With a status.
    Status(u16),
    /// With text that is no JSON.
    Garbage,
    /// With an answer, and a watch, that never end and never make a line.
    Endless,
    /// Not at all.
    Silent,
    /// With 410 to every watch: it begins where nothing is known any more.
    Expired,
    /// With everything there is, whatever was asked for.
    Deaf,
}

/// What it knows.
#[derive(Clone, Debug)]
struct World {
    mood: Mood,
    /// The Services, by name: what `status.loadBalancer.ingress` holds. Empty: there is none of them.
    services: Vec<(String, Value)>,
    token: String,
    version: u64,
}

pub(crate) struct Api {
    address: SocketAddr,
    world: watch::Sender<World>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Api {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((own_address(), 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let world = World { mood: Mood::Well, services: Vec::new(), token: "first".to_owned(), version: 1 };
        let (world, asked) = (watch::Sender::new(world), Arc::<Mutex<Vec<String>>>::default());
        let (sender, log) = (world.clone(), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, sender.subscribe(), Arc::clone(&log)));
            }
        });
        Self { address, world, asked }
    }

    /// A kubeconfig that leads here, with the token in a file.
    pub(crate) fn kubeconfig(&self, token_file: &str) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{ "name": "it", "cluster": { "server": format!("http://{}", self.address) } }],
            "contexts": [{ "name": "it", "context": { "cluster": "it", "user": "it", "namespace": NAMESPACE } }],
            "users": [{ "name": "it", "user": { "tokenFile": token_file } }],
        })
        .to_string()
    }

    fn change(&self, change: impl FnOnce(&mut World)) {
        self.world.send_modify(|world| {
            change(world);
            world.version += 1;
        });
    }

    pub(crate) fn is(&self, mood: Mood) {
        self.change(|world| world.mood = mood);
    }

    /// There is a Service with these entries; others of other names stay.
    pub(crate) fn has(&self, name: &str, ingress: Value) {
        self.change(|world| {
            world.services.retain(|(known, _)| known != name);
            world.services.push((name.to_owned(), ingress));
        });
    }

    pub(crate) fn deletes(&self, name: &str) {
        self.change(|world| world.services.retain(|(known, _)| known != name));
    }

    pub(crate) fn takes_token(&self, token: &str) {
        self.change(|world| token.clone_into(&mut world.token));
    }

    /// The targets of all requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("a lock").clone()
    }
}

fn object(name: &str, ingress: &Value, version: u64) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": NAMESPACE, "resourceVersion": version.to_string() },
        "spec": { "type": "LoadBalancer" },
        "status": { "loadBalancer": { "ingress": ingress } },
    })
}

async fn serve(mut stream: TcpStream, world: watch::Receiver<World>, asked: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    asked.lock().expect("a lock").push(target.clone());
    // Whoever asked may be gone.
    let _ = answer(&mut stream, &head, &target, world).await;
}

async fn answer(
    stream: &mut TcpStream,
    head: &str,
    target: &str,
    mut world: watch::Receiver<World>,
) -> std::io::Result<()> {
    let now = world.borrow_and_update().clone();
    let status = match now.mood {
        Mood::Status(status) => status,
        _ if !head.to_lowercase().contains(&format!("authorization: bearer {}\r\n", now.token)) => 401,
        _ => 200,
    };
    let start = format!("HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n");
    if now.mood == Mood::Silent {
        std::future::pending::<()>().await;
    }
    stream.write_all(start.as_bytes()).await?;
    if status != 200 {
        let said =
            json!({ "kind": "Status", "status": "Failure", "code": status, "message": "no\u{1b}[31m\nno" });
        return stream.write_all(said.to_string().as_bytes()).await;
    }
    let is_it = |name: &str| now.mood == Mood::Deaf || target.contains(&format!("metadata.name%3D{name}&"));
    match now.mood {
        Mood::Garbage => stream.write_all(b"<html>not here</html>\n").await,
        Mood::Endless => loop {
            stream.write_all(&[b' '; 65_536]).await?;
        },
        Mood::Well | Mood::Deaf | Mood::Expired | Mood::Status(_) | Mood::Silent
            if !target.contains("watch=true") =>
        {
            let items = now.services.iter().filter(|(name, _)| is_it(name));
            let items: Vec<_> = items.map(|(name, ingress)| object(name, ingress, now.version)).collect();
            let metadata = json!({ "resourceVersion": now.version.to_string() });
            let list =
                json!({ "kind": "ServiceList", "apiVersion": "v1", "metadata": metadata, "items": items });
            stream.write_all(list.to_string().as_bytes()).await
        }
        Mood::Expired => {
            let said = json!({ "kind": "Status", "code": 410, "reason": "Expired", "message": "too old" });
            let line = json!({ "type": "ERROR", "object": said }).to_string() + "\n";
            stream.write_all(line.as_bytes()).await
        }
        Mood::Well | Mood::Deaf | Mood::Status(_) | Mood::Silent => {
            // What changed since the list that the watch goes on from is told at once.
            let known = target.split("resourceVersion=").nth(1).and_then(|rest| rest.split('&').next());
            let is_old = known.is_none_or(|version| version != now.version.to_string());
            let services = if is_old { Vec::new() } else { now.services.clone() };
            world.mark_changed();
            events(stream, World { services, ..now.clone() }, &mut world, &is_it).await
        }
    }
}

/// What changes, as it changes; the watch breaks where the mood does.
async fn events(
    stream: &mut TcpStream,
    mut before: World,
    world: &mut watch::Receiver<World>,
    is_it: &(dyn Fn(&str) -> bool + Sync),
) -> std::io::Result<()> {
    while world.changed().await.is_ok() {
        let now = world.borrow_and_update().clone();
        if now.mood != before.mood || now.token != before.token {
            return Ok(());
        }
        let mut events = Vec::new();
        for (name, ingress) in now.services.iter().filter(|service| !before.services.contains(service)) {
            events.push(("MODIFIED", object(name, ingress, now.version)));
        }
        let names = |world: &World| world.services.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        for name in names(&before).iter().filter(|name| !names(&now).contains(name)) {
            events.push(("DELETED", object(name, &json!([]), now.version)));
        }
        for (kind, object) in events {
            if is_it(object["metadata"]["name"].as_str().unwrap_or_default()) {
                let line = json!({ "type": kind, "object": object }).to_string() + "\n";
                stream.write_all(line.as_bytes()).await?;
            }
        }
        before = now;
    }
    Ok(())
}
