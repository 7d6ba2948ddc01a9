//! The page at `/`: listeners, their routes and the brokers behind them, on one screen, without a script.

use std::fmt::{self, Display, Write};

use super::state::{Broker, Certificates, Cluster, Listener, Route, State};

const HEAD: &str = "<!doctype html>
<html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>
<meta http-equiv=refresh content=10><title>Gatehouse</title>
<style>
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}
body{max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .3rem}p{margin:.3rem 0}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2rem 1rem .2rem 0;border-bottom:1px solid #8884}
th{font-weight:600}code{font-family:ui-monospace,monospace;font-size:.92em}
.ok{color:#17803d}.warn{color:#a15c00}.FAIL{color:#c4161c;font-weight:600}
@media(prefers-color-scheme:dark){.ok{color:#5fd38a}.warn{color:#f0b04a}.FAIL{color:#ff7b7b}}
.scroll{overflow-x:auto}
</style>
";

/// Text in a place where markup would be read as such.
struct Escaped<T>(T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.to_string().chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// The whole page.
pub(super) fn render(state: &State) -> String {
    let mut html = String::from(HEAD);
    // Writing to a string does not fail.
    let _ = body(&mut html, state);
    html
}

fn body(html: &mut String, state: &State) -> fmt::Result {
    summary(html, state)?;
    let routes = (state.routes)();
    for entry in (state.listeners)() {
        listener(html, &entry, routes.iter().filter(|route| route.listener == entry.name))?;
    }
    for entry in (state.clusters)() {
        cluster(html, &entry)?;
    }
    certificates(html, &(state.certificates)())?;
    html.push_str("<h2>More</h2><p>");
    let api = ["status", "connections", "routes", "certificates"].map(|page| format!("api/v1/{page}"));
    for path in ["readyz?verbose", "metrics"].into_iter().map(str::to_owned).chain(api) {
        write!(html, "<a href='/{path}'>/{path}</a> ")?;
    }
    html.push_str("</p></html>\n");
    Ok(())
}

fn summary(html: &mut String, state: &State) -> fmt::Result {
    let (readiness, status) = ((state.readiness)(), (state.status)());
    let (class, word) = match (readiness.is_ready(), status.draining) {
        (true, false) => ("ok", "ready"),
        (_, true) => ("warn", "stopping"),
        (false, false) => ("FAIL", "not ready"),
    };
    write!(
        html,
        "<h1>Gatehouse <span class={class}>{word}</span></h1><p>version {}, up since {}, {} of {} connections</p>",
        Escaped(&status.version),
        Escaped(&status.started),
        status.connections,
        status.max_connections,
    )?;
    html.push_str("<div class=scroll><table><tr><th>check<th><th>detail");
    for check in &readiness.checks {
        let word = check.verdict.as_str();
        let (name, detail) = (Escaped(&check.name), Escaped(&check.detail));
        write!(html, "<tr><td>{name}<td class={word}>{word}<td>{detail}")?;
    }
    html.push_str("</table></div>\n");
    Ok(())
}

fn listener<'a>(
    html: &mut String,
    listener: &Listener,
    routes: impl Iterator<Item = &'a Route>,
) -> fmt::Result {
    write!(
        html,
        "<h2>Listener {} &rarr; cluster {}</h2><p>{} connections; clients start at <code>{}</code>",
        Escaped(&listener.name),
        Escaped(&listener.cluster),
        listener.connections,
        Escaped(listener.advertise.as_deref().unwrap_or("an address that is awaited")),
    )?;
    for range in &listener.ranges {
        let (first, last) = (range.first_node, range.last_node);
        match range.advertise {
            Some(port) => write!(html, "; nodes {first} to {last} from port {port}")?,
            None => write!(html, "; nodes {first} to {last} by name")?,
        }
    }
    if let Some(from) = &listener.advertise_from {
        let namespace =
            from.namespace.as_deref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let error = from.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
        write!(
            html,
            "; the address is that of service {}{}",
            Escaped(namespace + &from.service),
            Escaped(error)
        )?;
    }
    let nothing = match listener.advertise {
        Some(_) => "nothing: outside every range",
        None => "nothing yet: the address is awaited",
    };
    html.push_str("</p><div class=scroll><table><tr><th>node<th>bound<th>clients are told<th>broker<th>");
    for route in routes {
        let node = route.node.map_or("bootstrap".to_owned(), |node| node.to_string());
        let bound = Escaped(route.bind.join(", "));
        let told = Escaped(route.advertise.as_deref().unwrap_or(nothing));
        let broker = Escaped(route.broker.as_deref().unwrap_or_default());
        write!(
            html,
            "<tr><td>{node}<td><code>{bound}</code><td><code>{told}</code><td><code>{broker}</code>"
        )?;
        up(html, route.up)?;
    }
    html.push_str("</table></div>\n");
    Ok(())
}

fn cluster(html: &mut String, cluster: &Cluster) -> fmt::Result {
    write!(
        html,
        "<h2>Cluster {}</h2><p>bootstrap <code>{}</code>; brokers from {}; last answer {}</p>",
        Escaped(&cluster.name),
        Escaped(cluster.bootstrap.join(", ")),
        Escaped(&cluster.discovery),
        Escaped(cluster.refreshed.as_deref().unwrap_or("none yet")),
    )?;
    if let Some(error) = &cluster.error {
        write!(html, "<p class=FAIL>{}</p>", Escaped(error))?;
    }
    html.push_str("<div class=scroll><table><tr><th>node<th>address<th><th>since<th>why");
    for broker in &cluster.brokers {
        let Broker { node, address, since, error, .. } = broker;
        write!(html, "<tr><td>{node}<td><code>{}</code>", Escaped(address))?;
        up(html, broker.up)?;
        let (since, error) = (since.as_deref().unwrap_or_default(), error.as_deref().unwrap_or_default());
        write!(html, "<td>{}<td>{}", Escaped(since), Escaped(error))?;
    }
    html.push_str("</table></div>\n");
    Ok(())
}

fn certificates(html: &mut String, sides: &[Certificates]) -> fmt::Result {
    if sides.is_empty() {
        return Ok(());
    }
    html.push_str(
        "<h2>Certificates</h2><div class=scroll><table><tr><th>listener<th>cluster<th><th>subject<th>until",
    );
    for Certificates { listener, cluster, status } in sides {
        let side = [listener, cluster].map(|name| Escaped(name.as_deref().unwrap_or_default().to_owned()));
        let presented = status.certificates.iter().map(|c| ("presented", &c.subject, Some(c.not_after)));
        let trusted = status.authorities.iter().map(|a| ("trusted", &a.subject, Some(a.not_after)));
        let revoking = status.revocation_lists.iter().map(|l| ("revocations of", &l.issuer, l.next_update));
        for (what, subject, until) in presented.chain(trusted).chain(revoking) {
            let [listener, cluster] = &side;
            let until = until.map(|at| humantime::format_rfc3339_seconds(at).to_string()).unwrap_or_default();
            write!(html, "<tr><td>{listener}<td>{cluster}<td>{what}<td>{}<td>{until}", Escaped(subject))?;
        }
    }
    html.push_str("</table></div>\n");
    Ok(())
}

fn up(html: &mut String, up: Option<bool>) -> fmt::Result {
    html.write_str(match up {
        Some(true) => "<td class=ok>up",
        Some(false) => "<td class=FAIL>down",
        None => "<td>not dialled yet",
    })
}
