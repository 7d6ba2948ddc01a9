//! The one table: for each API and direction whether the gateway forwards, patches, answers or refuses,
//! up to which version, and why each field that looks like an address may pass.
//!
//! Versions are those of Apache Kafka 4.4; encodings follow KIP-482. A version above the table's is
//! never passed on, because a new version is how an address came into old messages (KIP-951).

/// What the gateway does with the requests of an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Streamed to the broker as it is.
    Forward,
    /// Forwarded; `acks` is read first, because a request with acks=0 has no response.
    Produce,
    /// Forwarded in a known version. An unknown one is answered by the gateway as a broker answers it:
    /// error 35 in the layout of version 0. It is the only answer of the gateway's own, and it is given
    /// because passing the request on would advertise a version that the gateway cannot read back.
    ApiVersions,
    /// Forwarded; the mechanism is read, because version 0 is followed by raw tokens (KIP-43).
    SaslHandshake,
    /// The connection is closed, as a broker closes it for an API that its listener does not serve.
    Refuse,
}

/// What the gateway does with the responses of an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// Streamed to the client as it is.
    Forward,
    /// Addresses are rewritten.
    Patch(Patch),
}

/// The responses that are rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patch {
    /// Clamped at the newest version of this table; what is not in it or refused is taken out.
    ApiVersions,
    /// The broker list is rewritten, the topics stream.
    Metadata,
    /// One coordinator, or several since version 4.
    FindCoordinator,
    /// The broker (or controller) list.
    DescribeCluster,
    /// `NodeEndpoints`, tag 0 of the body since version 10 (KIP-951).
    Produce,
    /// `NodeEndpoints`, tag 0 of the body since version 16 (KIP-951).
    Fetch,
    /// `NodeEndpoints`, an ordinary array (KIP-932).
    ShareFetch,
    /// `NodeEndpoints`, an ordinary array (KIP-932).
    ShareAcknowledge,
    /// `Nodes.Listeners` since version 2, emptied: they are the controllers' own (KIP-853).
    DescribeQuorum,
}

impl Patch {
    /// The first version of the response that carries what is patched.
    pub const fn since(self) -> i16 {
        match self {
            Self::Produce => 10,
            Self::Fetch => 16,
            Self::DescribeQuorum => 2,
            Self::ApiVersions
            | Self::Metadata
            | Self::FindCoordinator
            | Self::DescribeCluster
            | Self::ShareFetch
            | Self::ShareAcknowledge => 0,
        }
    }
}

/// Which half of an exchange a field stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Client to broker.
    Request,
    /// Broker to client.
    Response,
}

/// A field whose name says that it carries an address, and what becomes of it.
#[derive(Clone, Copy, Debug)]
pub struct AddressField {
    /// The half of the exchange.
    pub direction: Direction,
    /// Path of field names in Kafka's message definition, joined by dots.
    pub path: &'static str,
    /// Why it passes; `None` where a [`Patch`] rewrites it.
    pub passes: Option<&'static str>,
}

/// One API.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    /// The API key.
    pub key: i16,
    /// Kafka's name of it.
    pub name: &'static str,
    /// The newest version that passes.
    pub newest: i16,
    /// The first version in the flexible encoding (KIP-482), [`NEVER`] for none.
    pub flexible: i16,
    /// What happens to a request.
    pub request: Request,
    /// What happens to a response.
    pub response: Response,
    /// Whether a drain waits for the response, because its sender could not safely send again.
    pub must_finish: bool,
    /// Whether a broker may hold the response back until something happens.
    pub long_poll: bool,
    /// Every field that looks like an address.
    pub addresses: &'static [AddressField],
}

/// Stands for "no version".
pub const NEVER: i16 = i16::MAX;

const fn api(key: i16, name: &'static str, newest: i16, flexible: i16) -> Api {
    Api {
        key,
        name,
        newest,
        flexible,
        request: Request::Forward,
        response: Response::Forward,
        must_finish: true,
        long_poll: false,
        addresses: &[],
    }
}

const fn rewritten(path: &'static str) -> AddressField {
    AddressField { direction: Direction::Response, path, passes: None }
}

const fn passes(direction: Direction, path: &'static str, reason: &'static str) -> AddressField {
    AddressField { direction, path, passes: Some(reason) }
}

const CLIENT_HOST: &str = "the address of a client, which a broker behind the gateway sees as the gateway's";
const USER_ENDPOINT: &str = "the application.server of a Streams application (KIP-1071), not a broker's";
const ACL_HOST: &str = "the client address that an access rule is about";
const VOTER: &str = "given by the administrator who asks for the new voter (KIP-853)";

impl Api {
    const fn request(self, request: Request) -> Self {
        Self { request, ..self }
    }

    const fn patched(self, patch: Patch) -> Self {
        Self { response: Response::Patch(patch), ..self }
    }

    /// Spoken between brokers and controllers only.
    const fn refused(self) -> Self {
        Self { request: Request::Refuse, ..self }
    }

    const fn abandoned(self) -> Self {
        Self { must_finish: false, ..self }
    }

    const fn long_poll(self) -> Self {
        Self { long_poll: true, ..self }
    }

    const fn addresses(self, addresses: &'static [AddressField]) -> Self {
        Self { addresses, ..self }
    }

    /// Whether a version is in the flexible encoding.
    pub const fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible
    }

    /// The version of the response header: 1 carries a tag section. ApiVersions always has 0, so that
    /// a client can read the answer before it knows the broker.
    pub const fn response_header_has_tags(&self, version: i16) -> bool {
        self.is_flexible(version) && !matches!(self.request, Request::ApiVersions)
    }

    /// The patch that a response in this version needs.
    pub fn patch(&self, version: i16) -> Option<Patch> {
        match self.response {
            Response::Patch(patch) if version >= patch.since() => Some(patch),
            Response::Patch(_) | Response::Forward => None,
        }
    }

    /// Whether its responses may carry `NodeEndpoints` (KIP-951).
    pub const fn carries_endpoints(&self) -> bool {
        matches!(
            self.response,
            Response::Patch(Patch::Produce | Patch::Fetch | Patch::ShareFetch | Patch::ShareAcknowledge)
        )
    }

    /// Position in the table, for arrays of handles that stand beside it.
    pub fn index(&self) -> usize {
        usize::try_from(self.key).unwrap_or_default()
    }
}

/// The API of a key, if it is known.
pub fn find(key: i16) -> Option<&'static Api> {
    APIS.get(usize::try_from(key).ok()?)
}

/// Every API of Kafka 4.4, by key.
pub static APIS: [Api; 95] = [
    api(0, "Produce", 13, 9)
        .patched(Patch::Produce)
        .request(Request::Produce)
        .addresses(&[rewritten("NodeEndpoints.Host"), rewritten("NodeEndpoints.Port")]),
    api(1, "Fetch", 18, 12)
        .patched(Patch::Fetch)
        .abandoned()
        .long_poll()
        .addresses(&[rewritten("NodeEndpoints.Host"), rewritten("NodeEndpoints.Port")]),
    api(2, "ListOffsets", 11, 6).abandoned(),
    api(3, "Metadata", 13, 9)
        .patched(Patch::Metadata)
        .abandoned()
        .addresses(&[rewritten("Brokers.Host"), rewritten("Brokers.Port")]),
    api(4, "LeaderAndIsr", 7, 4).refused(),
    api(5, "StopReplica", 4, 2).refused(),
    api(6, "UpdateMetadata", 8, 6).refused(),
    api(7, "ControlledShutdown", 3, 3).refused(),
    api(8, "OffsetCommit", 10, 8),
    api(9, "OffsetFetch", 10, 6).abandoned(),
    api(10, "FindCoordinator", 6, 3).patched(Patch::FindCoordinator).abandoned().addresses(&[
        rewritten("Host"),
        rewritten("Port"),
        rewritten("Coordinators.Host"),
        rewritten("Coordinators.Port"),
    ]),
    api(11, "JoinGroup", 9, 6).abandoned().long_poll(),
    api(12, "Heartbeat", 4, 4).abandoned(),
    api(13, "LeaveGroup", 5, 4),
    api(14, "SyncGroup", 5, 4).abandoned().long_poll(),
    api(15, "DescribeGroups", 6, 5).abandoned().addresses(&[passes(
        Direction::Response,
        "Groups.Members.ClientHost",
        CLIENT_HOST,
    )]),
    api(16, "ListGroups", 5, 3).abandoned(),
    api(17, "SaslHandshake", 1, NEVER).request(Request::SaslHandshake),
    api(18, "ApiVersions", 5, 3).patched(Patch::ApiVersions).request(Request::ApiVersions).abandoned(),
    api(19, "CreateTopics", 7, 5),
    api(20, "DeleteTopics", 6, 4),
    api(21, "DeleteRecords", 2, 2),
    api(22, "InitProducerId", 6, 2),
    api(23, "OffsetForLeaderEpoch", 4, 4).abandoned(),
    api(24, "AddPartitionsToTxn", 5, 3),
    api(25, "AddOffsetsToTxn", 4, 3),
    api(26, "EndTxn", 5, 3),
    api(27, "WriteTxnMarkers", 2, 1),
    api(28, "TxnOffsetCommit", 6, 3),
    api(29, "DescribeAcls", 3, 2).abandoned().addresses(&[
        passes(Direction::Request, "HostFilter", ACL_HOST),
        passes(Direction::Response, "Resources.Acls.Host", ACL_HOST),
    ]),
    api(30, "CreateAcls", 3, 2).addresses(&[passes(Direction::Request, "Creations.Host", ACL_HOST)]),
    api(31, "DeleteAcls", 3, 2).addresses(&[
        passes(Direction::Request, "Filters.HostFilter", ACL_HOST),
        passes(Direction::Response, "FilterResults.MatchingAcls.Host", ACL_HOST),
    ]),
    api(32, "DescribeConfigs", 4, 4).abandoned(),
    api(33, "AlterConfigs", 2, 2),
    api(34, "AlterReplicaLogDirs", 2, 2),
    api(35, "DescribeLogDirs", 5, 2).abandoned(),
    api(36, "SaslAuthenticate", 2, 2),
    api(37, "CreatePartitions", 3, 2),
    api(38, "CreateDelegationToken", 3, 2),
    api(39, "RenewDelegationToken", 2, 2),
    api(40, "ExpireDelegationToken", 2, 2),
    api(41, "DescribeDelegationToken", 3, 2).abandoned(),
    api(42, "DeleteGroups", 3, 2),
    api(43, "ElectLeaders", 2, 2),
    api(44, "IncrementalAlterConfigs", 1, 1),
    api(45, "AlterPartitionReassignments", 1, 0),
    api(46, "ListPartitionReassignments", 0, 0).abandoned(),
    api(47, "OffsetDelete", 0, NEVER),
    api(48, "DescribeClientQuotas", 1, 1).abandoned(),
    api(49, "AlterClientQuotas", 1, 1),
    api(50, "DescribeUserScramCredentials", 0, 0).abandoned(),
    api(51, "AlterUserScramCredentials", 0, 0),
    api(52, "Vote", 2, 0).refused(),
    api(53, "BeginQuorumEpoch", 1, 1).refused(),
    api(54, "EndQuorumEpoch", 1, 1).refused(),
    api(55, "DescribeQuorum", 2, 0)
        .patched(Patch::DescribeQuorum)
        .abandoned()
        .addresses(&[rewritten("Nodes.Listeners.Host"), rewritten("Nodes.Listeners.Port")]),
    api(56, "AlterPartition", 3, 0).refused(),
    api(57, "UpdateFeatures", 2, 0),
    api(58, "Envelope", 0, 0).refused(),
    api(59, "FetchSnapshot", 1, 0).refused(),
    api(60, "DescribeCluster", 2, 0)
        .patched(Patch::DescribeCluster)
        .abandoned()
        .addresses(&[rewritten("Brokers.Host"), rewritten("Brokers.Port")]),
    api(61, "DescribeProducers", 0, 0).abandoned(),
    api(62, "BrokerRegistration", 4, 0).refused(),
    api(63, "BrokerHeartbeat", 2, 0).refused(),
    api(64, "UnregisterBroker", 0, 0),
    api(65, "DescribeTransactions", 0, 0).abandoned(),
    api(66, "ListTransactions", 2, 0).abandoned(),
    api(67, "AllocateProducerIds", 0, 0).refused(),
    api(68, "ConsumerGroupHeartbeat", 1, 0).abandoned(),
    api(69, "ConsumerGroupDescribe", 1, 0).abandoned().addresses(&[passes(
        Direction::Response,
        "Groups.Members.ClientHost",
        CLIENT_HOST,
    )]),
    api(70, "ControllerRegistration", 0, 0).refused(),
    api(71, "GetTelemetrySubscriptions", 0, 0).abandoned(),
    api(72, "PushTelemetry", 0, 0).abandoned(),
    api(73, "AssignReplicasToDirs", 0, 0).refused(),
    api(74, "ListConfigResources", 1, 0).abandoned(),
    api(75, "DescribeTopicPartitions", 0, 0).abandoned(),
    api(76, "ShareGroupHeartbeat", 1, 0).abandoned(),
    api(77, "ShareGroupDescribe", 1, 0).abandoned().addresses(&[passes(
        Direction::Response,
        "Groups.Members.ClientHost",
        CLIENT_HOST,
    )]),
    api(78, "ShareFetch", 2, 0)
        .patched(Patch::ShareFetch)
        .long_poll()
        .addresses(&[rewritten("NodeEndpoints.Host"), rewritten("NodeEndpoints.Port")]),
    api(79, "ShareAcknowledge", 2, 0)
        .patched(Patch::ShareAcknowledge)
        .addresses(&[rewritten("NodeEndpoints.Host"), rewritten("NodeEndpoints.Port")]),
    api(80, "AddRaftVoter", 1, 0).addresses(&[
        passes(Direction::Request, "Listeners.Host", VOTER),
        passes(Direction::Request, "Listeners.Port", VOTER),
    ]),
    api(81, "RemoveRaftVoter", 0, 0),
    api(82, "UpdateRaftVoter", 0, 0).refused(),
    api(83, "InitializeShareGroupState", 0, 0),
    api(84, "ReadShareGroupState", 0, 0),
    api(85, "WriteShareGroupState", 1, 0),
    api(86, "DeleteShareGroupState", 0, 0),
    api(87, "ReadShareGroupStateSummary", 1, 0),
    api(88, "StreamsGroupHeartbeat", 1, 0).abandoned().addresses(&[
        passes(Direction::Request, "UserEndpoint.Host", USER_ENDPOINT),
        passes(Direction::Request, "UserEndpoint.Port", USER_ENDPOINT),
        passes(Direction::Response, "PartitionsByUserEndpoint.UserEndpoint.Host", USER_ENDPOINT),
        passes(Direction::Response, "PartitionsByUserEndpoint.UserEndpoint.Port", USER_ENDPOINT),
    ]),
    api(89, "StreamsGroupDescribe", 1, 0).abandoned().addresses(&[
        passes(Direction::Response, "Groups.Members.ClientHost", CLIENT_HOST),
        passes(Direction::Response, "Groups.Members.UserEndpoint.Host", USER_ENDPOINT),
        passes(Direction::Response, "Groups.Members.UserEndpoint.Port", USER_ENDPOINT),
    ]),
    api(90, "DescribeShareGroupOffsets", 1, 0).abandoned(),
    api(91, "AlterShareGroupOffsets", 0, 0),
    api(92, "DeleteShareGroupOffsets", 0, 0),
    api(93, "StreamsGroupTopologyDescriptionUpdate", 0, 0),
    api(94, "UnregisterController", 0, 0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_place_in_the_table() {
        for (place, api) in APIS.iter().enumerate() {
            assert_eq!(usize::try_from(api.key), Ok(place), "{}", api.name);
            assert_eq!(find(api.key).map(|a| a.name), Some(api.name));
        }
        assert!(find(-1).is_none() && find(95).is_none() && find(i16::MAX).is_none());
    }

    #[test]
    fn what_is_patched_names_the_fields_and_what_passes_says_why() {
        for api in &APIS {
            let rewrites = api.addresses.iter().any(|a| a.passes.is_none());
            let patches = matches!(api.response, Response::Patch(p) if p != Patch::ApiVersions);
            assert_eq!(rewrites, patches, "{}", api.name);
            assert!(
                api.addresses.iter().all(|a| a.passes.is_none_or(|reason| reason.len() > 20)),
                "{}",
                api.name
            );
        }
    }

    #[test]
    fn trap_3_the_response_header_of_api_versions_never_has_tags() {
        let api_versions = find(18).unwrap();
        assert!(api_versions.is_flexible(3) && !api_versions.response_header_has_tags(3));
        assert!(
            find(3).unwrap().response_header_has_tags(9) && !find(3).unwrap().response_header_has_tags(8)
        );
    }
}
