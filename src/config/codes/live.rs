//! What `gatehouse check` can find beyond the file: brokers and TLS from 101 on, the machine from 201 on.

use super::table::entry;
use super::{Code, Entry};

/// What can be wrong with what a file names, in the order of the numbers.
pub const LIVE: &[Entry] = &[
    entry(
        Code::BrokerUnresolved,
        "a broker's name does not resolve",
        "The name stands in the file, or the cluster advertises it (`advertised.listeners`). It must resolve where
the gateway runs: in a container or pod that is not where you sit. `getent hosts NAME` there shows what it finds.",
    ),
    entry(
        Code::BrokerUnreachable,
        "a broker accepts no connection",
        "The address was dialled and refused, or did not answer. Is the broker up, does it listen on that port, and
does every firewall, security group and network policy between let the gateway through? A broker that the cluster
advertises must be reachable from the gateway, not from your machine.",
    ),
    entry(
        Code::BrokerForbidden,
        "an address must not be dialled",
        "A cluster decides what the gateway dials, so some addresses are left out: loopback, link-local (where clouds
serve credentials), multicast, the gateway's own ports, and what `allow` does not list. An address of the file
opens its own class.",
    ),
    entry(
        Code::NotKafka,
        "no Kafka broker answers there",
        "The connection stands, but no proper answer to a Kafka request came. The usual causes: the port speaks TLS
and the cluster has no `tls:`, or the other way round; the port belongs to another service, or to the brokers'
controllers; the broker wants a login and the file has no `discovery.sasl`.",
    ),
    entry(
        Code::Login,
        "the gateway's own login fails",
        "`clusters.NAME.discovery.sasl` serves the gateway's own requests alone; clients log in by themselves. The
mechanism must be one that this listener of the brokers offers, and the user and password must be right there.",
    ),
    entry(
        Code::ClusterAnswer,
        "what the cluster says cannot be used",
        "A broker answered, but with an error, with no broker that has a valid address, or as a member of another
cluster than the others. All addresses of one cluster in the file must lead to that one cluster.",
    ),
    entry(
        Code::CheckTooLong,
        "the check had no more time",
        "All brokers together have the time that `--timeout` says, 10 seconds unless it is given. What did not
answer until then is told as failed.",
    ),
    entry(
        Code::BrokerTls,
        "the TLS handshake with a broker fails",
        "The broker was reached, and the two sides do not agree: on a version (`min_version` here,
`ssl.enabled.protocols` there), on a cipher suite, or on a certificate. `openssl s_client -connect HOST:PORT` shows
the broker's side.",
    ),
    entry(
        Code::BrokerCertificateExpired,
        "a broker's certificate is out of its time",
        "It ran out, or is not valid yet; the gateway does not connect, and neither would any client that checks. Renew
it at the broker. A broker that was given a new key store may need a restart, or a change of its configuration, to
load it. If it is not valid yet, look at the clocks.",
    ),
    entry(
        Code::CertificateEnds,
        "a certificate ends soon",
        "It ends within 14 days, and less than a fifth of its time is left. Whatever renews it should have done so by
now: cert-manager does at two thirds of the term. The gateway loads new files by itself.",
    ),
    entry(
        Code::BrokerUntrusted,
        "nobody here trusts a broker's certificate",
        "`clusters.NAME.tls.ca` names the authorities whose certificates are taken; without it they are those of the
system. The broker's certificate must lead to one of them, with every authority between sent by the broker.
`gatehouse cert show FILE` shows what is in a file of authorities.",
    ),
    entry(
        Code::BrokerName,
        "a broker's certificate is for another name",
        "The name that the cluster advertises, or that stands in the file, must be in the certificate
(`subjectAltName`): otherwise anybody with a certificate of the same authority could be this broker. `verify: ca`
leaves the name out, where that is meant.",
    ),
    entry(
        Code::GatewayCertificate,
        "a broker does not take the gateway's certificate",
        "Brokers with `ssl.client.auth=required` want a certificate. For the gateway's own requests it is
`clusters.NAME.discovery.tls`, for the clients of a listener `listeners.NAME.upstream_identity.tls`. The broker's
log says what it dislikes: most often the authority is not in the broker's trust store.",
    ),
    entry(
        Code::BrokerSpeaksNoTls,
        "a broker's port does not speak TLS",
        "The cluster has `tls:`, and the port does not answer a TLS hello as TLS does. A broker has a port for each of
its listeners: take that of the listener whose protocol is SSL or SASL_SSL.",
    ),
    entry(
        Code::ClusterFiles,
        "the TLS files of a cluster cannot be used",
        "The authorities of `clusters.NAME.tls.ca`, or the pair of `discovery.tls`, cannot be read or do not fit. The
message names the file and the fault.",
    ),
    entry(
        Code::ListenerFiles,
        "the TLS files of a listener cannot be used",
        "A certificate, a key, an authority or a revocation list of a listener cannot be read, or a key belongs to
another certificate. The message names the file and the fault. A gateway that runs keeps what it loaded before.",
    ),
    entry(
        Code::CertificateExpired,
        "a certificate that clients are shown is out of its time",
        "Clients refuse it. Renew it and put the new files in the place of the old ones: the gateway loads them within
`tls.reload_interval`, at HUP at once.",
    ),
    entry(
        Code::NameUnresolved,
        "a name that clients are told does not resolve",
        "Clients connect to the bootstrap name first, and then to the names of brokers that the gateway tells them. It
is no failure, because the clients' own resolvers may know names that this machine's does not. With SNI routing a
wildcard record (`*.kafka.example.com`) does for all brokers.",
    ),
    entry(
        Code::NameNotCovered,
        "no certificate is for a name that clients are told",
        "Clients compare the name with `subjectAltName` of the certificate and refuse another one. With SNI routing
the names of bootstrap and of every broker must be there; one wildcard does for all names of its level, so
`*.kafka.example.com` is for `b0.kafka.example.com`, not for `kafka.example.com` itself. With port routing it is
the one host of `advertise`.",
    ),
    entry(
        Code::RevocationListEnds,
        "a revocation list is out of its time",
        "After its next update a list says nothing any more, and every certificate of its authority is refused until
there is a new one. Have whatever publishes the list write it to the file more often.",
    ),
    entry(
        Code::AuthorityEnds,
        "an authority ends soon",
        "The certificate of an authority ends within 14 days and has less than a fifth of its time left, or it ended. Its
successor can stand beside it, in the same file or directory, long before: certificates of both are taken then.",
    ),
    entry(
        Code::NodeOutside,
        "a broker is outside every range",
        "The gateway has no port or name for this node, so it leaves it out of what clients are told, and its
partitions cannot be reached. The hint is the line to add.",
    ),
    entry(
        Code::WeakFile,
        "a file that should not stay as it is",
        "It works. A key that others than the gateway's user can read is known to whoever can read it: `chmod 600`.
A certificate without `subjectAltName` is for no name, and clients refuse it.",
    ),
    entry(
        Code::NoAddressYet,
        "a Service has no address yet",
        "`advertise: { service: NAME }` tells clients the address of that Service's load balancer, and there is none.
A gateway that runs waits for it, is not ready meanwhile, and turns clients away. Is there a Service of that name in
that namespace, of type LoadBalancer, and does something in the cluster give such Services an address?
`kubectl get service NAME` shows `<pending>` until then, `kubectl describe service NAME` why.",
    ),
    entry(
        Code::KubernetesApi,
        "Kubernetes does not say which address a Service has",
        "The gateway asks as the service account of its pod, elsewhere as the kubeconfig says. It must be allowed to
`get`, `list` and `watch` that one Service (`resourceNames` in a Role of the Service's namespace), the pod must mount
the token, and a network policy must let it reach the API server. The chart does all of it with
`discovery.kubernetes.enabled`.",
    ),
    entry(
        Code::FewConnections,
        "the machine has room for few connections",
        "Each connection takes two open files and up to 32 KiB of memory. Left out, `limits.max_connections` is what
fits, here less than the usual 10,000. Raise the limit of open files (`LimitNOFILE=`, `ulimit -n`) or give it more
memory; or write the number down, if it is meant.",
    ),
    entry(
        Code::PortTaken,
        "a port is taken",
        "The gateway could not bind it. A gateway that runs with this file is told apart by its admin address; off
loopback that takes `admin.token`.",
    ),
    entry(
        Code::ShortQueue,
        "new connections may be dropped",
        "`net.core.somaxconn` cuts the queue of connections that wait to be accepted. When many clients come at once,
after a restart or a broker's failure, those that do not fit are dropped and try again after a second or more.",
    ),
    entry(
        Code::FewLocalPorts,
        "few ports to dial from",
        "Each connection takes a local port towards its broker; the range `net.ipv4.ip_local_port_range` is counted
for each broker by itself. It is smaller than `limits.max_connections`, so connections to one broker could fail.",
    ),
    entry(
        Code::PortRefused,
        "the system does not give a port",
        "The address is none of this machine's, or the port is below 1024 and the process lacks the right
(`CAP_NET_BIND_SERVICE`).",
    ),
];
