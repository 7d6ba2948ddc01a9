//! Every metric with its type, labels and meaning: what is registered and what `docs/metrics.md` lists.

/// What a scraper may do with a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Definition {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Definition {
    Definition { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Definition {
    Definition { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Definition {
    Definition { name, kind: Kind::Histogram, labels, help }
}

pub(super) const BUILD_INFO: Definition = gauge(
    "gatehouse_build_info",
    &["version", "revision", "features"],
    "Always 1; the labels say what runs.",
);
pub(super) const READY: Definition = gauge("gatehouse_ready", &[], "1 while /readyz answers 200.");
pub(super) const DRAINING: Definition =
    gauge("gatehouse_draining", &[], "1 from the moment the process was asked to stop.");

pub(super) const CONFIG_RELOADS: Definition = counter(
    "gatehouse_config_reloads_total",
    &["result"],
    "Configurations that were read to take the place of the one in use: `applied`; `unchanged`, asked for and the same; `refused`, nothing of it is in use.",
);
pub(super) const CONFIG_SUCCESSFUL: Definition = gauge(
    "gatehouse_config_last_reload_successful",
    &[],
    "1 while the configuration in use is the one of the file; 0 while the file is refused.",
);
pub(super) const CONFIG_SUCCESS: Definition = gauge(
    "gatehouse_config_last_reload_success_timestamp_seconds",
    &[],
    "Since when the configuration in use is in use, in seconds since 1970.",
);

pub(super) const ADVERTISED_KNOWN: Definition = gauge(
    "gatehouse_advertised_address_known",
    &["listener"],
    "1 while clients are told an address; 0 while it is awaited from a Service. Only for listeners whose `advertise` names one, as all that begins so.",
);
pub(super) const ADVERTISED_STALE: Definition = gauge(
    "gatehouse_advertised_address_stale",
    &["listener"],
    "1 while clients are told an address that the Service does not have any more.",
);
pub(super) const ADVERTISED_CHANGES: Definition = counter(
    "gatehouse_advertised_address_changes_total",
    &["listener"],
    "How often clients were told another address than before.",
);
pub(super) const ADVERTISED_HEARD: Definition = gauge(
    "gatehouse_advertised_address_last_success_timestamp_seconds",
    &["listener"],
    "When the Kubernetes API last answered, in seconds since 1970; 0 before that. It is asked once a minute or more.",
);
pub(super) const ADVERTISED_ERRORS: Definition = counter(
    "gatehouse_advertised_address_errors_total",
    &["listener", "reason"],
    "Times that the Kubernetes API did not say what the Service has.",
);

pub(super) const CONNECTIONS: Definition =
    gauge("gatehouse_connections", &["listener"], "Open client connections.");
pub(super) const ACCEPTED: Definition = counter(
    "gatehouse_connections_accepted_total",
    &["listener"],
    "Client connections that a limit or a network list did not turn away.",
);
pub(super) const REJECTED: Definition = counter(
    "gatehouse_connections_rejected_total",
    &["listener", "reason"],
    "Client connections turned away before the first byte of their own was read; `descriptors` counts failed accepts.",
);
pub(super) const CLOSED: Definition = counter(
    "gatehouse_connections_closed_total",
    &["listener", "side", "stage", "reason"],
    "Ended client connections: who ended it, how far it had come, and why.",
);
pub(super) const CONNECTION_DURATION: Definition = histogram(
    "gatehouse_connection_duration_seconds",
    &["listener"],
    "How long ended client connections had been open; buckets from 262 ms to 19 h.",
);
pub(super) const RECEIVED: Definition = counter(
    "gatehouse_received_bytes_total",
    &["listener", "side"],
    "Bytes read from clients or from brokers.",
);
pub(super) const SENT: Definition =
    counter("gatehouse_sent_bytes_total", &["listener", "side"], "Bytes written to clients or to brokers.");
pub(super) const ADDED_LATENCY: Definition = histogram(
    "gatehouse_added_latency_seconds",
    &["side"],
    "Time inside the gateway: from the wake-up that read bytes of a side until it had written what it could. One observation for each such wake-up.",
);
pub(super) const BACKPRESSURE: Definition = counter(
    "gatehouse_backpressure_seconds_total",
    &["side"],
    "Time in which a side was not read because the other side did not take what it had sent.",
);
pub(super) const PROTOCOL_ERRORS: Definition = counter(
    "gatehouse_protocol_errors_total",
    &["side", "reason"],
    "Bytes that were not the Kafka protocol as the gateway knows it, by the side that sent them.",
);

pub(super) const HANDSHAKE_DURATION: Definition = histogram(
    "gatehouse_tls_handshake_duration_seconds",
    &["listener"],
    "Completed TLS handshakes of clients, from the first byte to the last; waiting for a turn included.",
);
pub(super) const HANDSHAKES: Definition = counter(
    "gatehouse_tls_handshakes_total",
    &["listener", "version", "resumed"],
    "Completed TLS handshakes of clients.",
);
pub(super) const HANDSHAKE_FAILURES: Definition = counter(
    "gatehouse_tls_handshake_failures_total",
    &["listener", "reason"],
    "TLS handshakes of clients that failed.",
);
pub(super) const STARTS: Definition = gauge(
    "gatehouse_tls_not_before_timestamp_seconds",
    &["listener", "cluster", "kind", "file"],
    "Since when a certificate in use is valid, in seconds since 1970; kind is `certificate` or `ca`. How long it lives in all is the difference.",
);
pub(super) const EXPIRIES: Definition = gauge(
    "gatehouse_tls_not_after_timestamp_seconds",
    &["listener", "cluster", "kind", "file"],
    "Until when a file in use lasts, in seconds since 1970; kind is `certificate`, `ca` or `crl`. Of several in one file, the one that should be renewed first. A side of the gateway is a listener, a cluster, or both: what the listener's clients show the brokers.",
);
pub(super) const TLS_RELOADS: Definition = counter(
    "gatehouse_tls_reloads_total",
    &["listener", "cluster", "result"],
    "Looks at the files of a side that found something new: `changed`, it is in use; `failed`, it was refused.",
);
pub(super) const TLS_REFUSED: Definition = gauge(
    "gatehouse_tls_files_refused",
    &["listener", "cluster"],
    "1 while the files of a side hold something that is refused, so that what they held before is in use.",
);
pub(super) const UNVERIFIED: Definition = gauge(
    "gatehouse_upstream_tls_unverified",
    &["cluster"],
    "1 where `verify: insecure-none` takes whoever answers for a broker.",
);

pub(super) const REQUESTS: Definition = counter(
    "gatehouse_requests_total",
    &["cluster", "api"],
    "Requests that clients sent, by Kafka's name of the API.",
);
pub(super) const REQUEST_DURATION: Definition = histogram(
    "gatehouse_request_duration_seconds",
    &["cluster", "api"],
    "From reading the header of a request to reading the start of its response: the broker's time, and the client's for sending the rest of a long request. A series appears with its first response.",
);
pub(super) const LONG_POLL_DURATION: Definition = histogram(
    "gatehouse_long_poll_duration_seconds",
    &["cluster", "api"],
    "The same for APIs whose response a broker may hold back until something happens.",
);
pub(super) const REWRITTEN: Definition = counter(
    "gatehouse_responses_rewritten_total",
    &["cluster", "api"],
    "Responses in which at least one byte was changed.",
);
pub(super) const ENDPOINTS: Definition = counter(
    "gatehouse_node_endpoints_rewritten_total",
    &["cluster", "api", "path"],
    "Responses whose NodeEndpoints were rewritten exactly, or padded out at equal length in a large one.",
);
pub(super) const IN_FLIGHT: Definition =
    gauge("gatehouse_in_flight_requests", &["cluster"], "Requests sent whose response is awaited.");

pub(super) const UPSTREAM_CONNECTIONS: Definition = gauge(
    "gatehouse_upstream_connections",
    &["cluster", "node"],
    "Open broker connections of clients; node `bootstrap` is an address of the configuration.",
);
pub(super) const UPSTREAM_CONNECTS: Definition =
    counter("gatehouse_upstream_connects_total", &["cluster", "node", "result"], "Dials to brokers.");
pub(super) const UPSTREAM_CONNECT_DURATION: Definition = histogram(
    "gatehouse_upstream_connect_duration_seconds",
    &["cluster"],
    "How long successful dials took, name resolution included.",
);
pub(super) const BROKER_UP: Definition = gauge(
    "gatehouse_broker_up",
    &["cluster", "node"],
    "1 when the last dial to the broker's address succeeded, or none was needed yet. What failed is dialled again every 30 s.",
);
pub(super) const BROKER_RESPONSES: Definition = counter(
    "gatehouse_broker_responses_total",
    &["cluster", "node"],
    "Responses of a broker to requests that it need not hold back, as in `gatehouse_request_duration_seconds`.",
);
pub(super) const BROKER_RESPONSE_SECONDS: Definition = counter(
    "gatehouse_broker_response_seconds_total",
    &["cluster", "node"],
    "What they took together, in the same measure: divided by their number, the mean of one broker.",
);
pub(super) const BROKERS: Definition = gauge("gatehouse_brokers", &["cluster"], "Brokers in the table.");
pub(super) const UNROUTABLE: Definition = gauge(
    "gatehouse_brokers_unroutable",
    &["cluster"],
    "Brokers outside the declared ranges of at least one listener, which its clients are not told of.",
);
pub(super) const REFRESHED: Definition = gauge(
    "gatehouse_metadata_refresh_timestamp_seconds",
    &["cluster"],
    "When the cluster last answered a request of the gateway's own; 0 before that.",
);
pub(super) const REFRESH_FAILURES: Definition = counter(
    "gatehouse_metadata_refresh_failures_total",
    &["cluster"],
    "Requests of the gateway's own that failed.",
);

pub(super) const CONNECTION_LIMIT: Definition = gauge(
    "gatehouse_connection_limit",
    &[],
    "The most client connections of the process: `limits.max_connections`.",
);
pub(super) const BUFFERED: Definition =
    gauge("gatehouse_buffered_bytes", &[], "Bytes held because a peer has not taken them yet.");
pub(super) const BUFFER_LIMIT: Definition =
    gauge("gatehouse_buffer_limit_bytes", &[], "The budget for held bytes.");
pub(super) const SPLICE_PIPES: Definition = gauge(
    "gatehouse_splice_pipes",
    &[],
    "Pipes in which the rest of a large frame is, of at most 32. Without a free one it is copied, at a higher cost.",
);

pub(super) const CPU: Definition =
    counter("process_cpu_seconds_total", &[], "User and system CPU time, in hundredths of a second.");
pub(super) const RESIDENT: Definition = gauge("process_resident_memory_bytes", &[], "Resident memory.");
pub(super) const OPEN_FDS: Definition = gauge("process_open_fds", &[], "Open file descriptors.");
pub(super) const MAX_FDS: Definition =
    gauge("process_max_fds", &[], "The soft limit of open file descriptors.");
pub(super) const START_TIME: Definition =
    gauge("process_start_time_seconds", &[], "When the process started, in seconds since 1970.");

/// What is registered, in the order of the documentation.
#[cfg(test)]
pub(super) const ALL: &[Definition] = &[
    BUILD_INFO,
    READY,
    DRAINING,
    CONFIG_RELOADS,
    CONFIG_SUCCESSFUL,
    CONFIG_SUCCESS,
    ADVERTISED_KNOWN,
    ADVERTISED_STALE,
    ADVERTISED_CHANGES,
    ADVERTISED_HEARD,
    ADVERTISED_ERRORS,
    CONNECTIONS,
    ACCEPTED,
    REJECTED,
    CLOSED,
    CONNECTION_DURATION,
    RECEIVED,
    SENT,
    ADDED_LATENCY,
    BACKPRESSURE,
    PROTOCOL_ERRORS,
    HANDSHAKE_DURATION,
    HANDSHAKES,
    HANDSHAKE_FAILURES,
    STARTS,
    EXPIRIES,
    TLS_RELOADS,
    TLS_REFUSED,
    UNVERIFIED,
    REQUESTS,
    REQUEST_DURATION,
    LONG_POLL_DURATION,
    REWRITTEN,
    ENDPOINTS,
    IN_FLIGHT,
    UPSTREAM_CONNECTIONS,
    UPSTREAM_CONNECTS,
    UPSTREAM_CONNECT_DURATION,
    BROKER_UP,
    BROKER_RESPONSES,
    BROKER_RESPONSE_SECONDS,
    BROKERS,
    UNROUTABLE,
    REFRESHED,
    REFRESH_FAILURES,
    CONNECTION_LIMIT,
    BUFFERED,
    BUFFER_LIMIT,
    SPLICE_PIPES,
    CPU,
    RESIDENT,
    OPEN_FDS,
    MAX_FDS,
    START_TIME,
];
