package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"gatehouse.example/clients/contract"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// stage is where the probes play: a partition of one replica, and a broker that does not have it and so answers
// Produce, Fetch and their share counterparts with NOT_LEADER_OR_FOLLOWER and the leader's address.
type stage struct {
	topic  string
	id     kadm.TopicID
	other  int32
	member string
}

// probe asks for addresses with one request, in every version from first to last.
type probe struct {
	key         kmsg.Key
	first, last int16
	// ask sends the request, to be read in the version that the connection is pinned to.
	ask func(context.Context, *kgo.Broker) (addresses, error)
	// mayBeEmpty is for answers that may rightly hold no address.
	mayBeEmpty bool
}

type addresses []string

func (a *addresses) add(host string, port int32) {
	if host != "" {
		*a = append(*a, fmt.Sprintf("%s:%d", host, port))
	}
}

// addresses reports every address in every version of each response that can hold one.
func (c client) addresses(ctx context.Context, result *contract.Result) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout())
	defer cancel()
	stage, err := c.prepare(ctx)
	if err != nil {
		return err
	}
	offered, err := c.offered(ctx)
	if err != nil {
		return err
	}
	var lines []string
	var failures []error
	for _, probe := range stage.probes(offered[kmsg.Produce.Int16()].MaxVersion < 12) {
		key := probe.key.Int16()
		for version := probe.first; version <= probe.last; version++ {
			name := fmt.Sprintf("%s/%d", probe.key.Name(), version)
			if span, known := offered[key]; !known || version < span.MinVersion || version > span.MaxVersion {
				lines = append(lines, name+"=-")
				continue
			}
			seen, err := c.pinned(ctx, key, version, stage.other, probe)
			if err != nil {
				failures = append(failures, fmt.Errorf("%s: %w", name, err))
			}
			slices.Sort(seen)
			lines = append(lines, name+"="+strings.Join(slices.Compact(seen), "|"))
		}
	}
	result.Detail = strings.Join(lines, ";")
	return errors.Join(failures...)
}

// prepare creates the topic and finds a broker that is not its leader.
func (c client) prepare(ctx context.Context) (stage, error) {
	// A member id is a UUID; one for each run, so that no share session is left from the last.
	member := make([]byte, 16)
	binary.BigEndian.PutUint64(member, uint64(time.Now().UnixNano()))
	at := stage{topic: c.Prefix() + "-addresses", member: base64.RawURLEncoding.EncodeToString(member)}
	if err := c.createUnlessThere(ctx, at.topic, 1); err != nil {
		return at, err
	}
	for {
		metadata, err := c.metadata(ctx, at.topic)
		if err != nil {
			return at, err
		}
		partition, known := metadata.Topics[at.topic].Partitions[0]
		for _, broker := range metadata.Brokers {
			if known && partition.Leader >= 0 && broker.NodeID != partition.Leader {
				at.id, at.other = metadata.Topics[at.topic].ID, broker.NodeID
				return at, nil
			}
		}
		if err := pause(ctx); err != nil {
			return at, fmt.Errorf("no leader for %s: %w", at.topic, err)
		}
	}
}

// metadata asks over a connection of its own, because a client answers from its memory for some seconds.
func (c client) metadata(ctx context.Context, topic string) (kadm.Metadata, error) {
	admin, err := c.connectAdmin()
	if err != nil {
		return kadm.Metadata{}, err
	}
	defer admin.Close()
	return admin.Metadata(ctx, topic)
}

// offered is the versions that the bootstrap broker lists.
func (c client) offered(ctx context.Context) (map[int16]kmsg.ApiVersionsResponseApiKey, error) {
	connection, err := c.connect()
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	request := kmsg.NewPtrApiVersionsRequest()
	request.ClientSoftwareName, request.ClientSoftwareVersion = "addresses", "1"
	response, err := request.RequestWith(ctx, connection)
	if err != nil {
		return nil, err
	}
	spans := map[int16]kmsg.ApiVersionsResponseApiKey{}
	for _, span := range response.ApiKeys {
		spans[span.ApiKey] = span
	}
	return spans, nil
}

// pinned runs a probe over a connection that speaks one version only, and asks again while the broker has no answer yet.
func (c client) pinned(ctx context.Context, key, version int16, broker int32, probe probe) (addresses, error) {
	most, least := kversion.Stable(), &kversion.Versions{}
	most.SetMaxKeyVersion(key, version)
	least.SetMaxKeyVersion(key, version)
	connection, err := c.connect(kgo.MaxVersions(most), kgo.MinVersions(least))
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	for {
		seen, err := probe.ask(ctx, connection.Broker(int(broker)))
		if err != nil || len(seen) > 0 || probe.mayBeEmpty {
			return seen, err
		}
		if pause(ctx) != nil {
			return nil, errors.New("no address")
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(100 * time.Millisecond):
		return nil
	}
}

// probes lists the requests; old is a broker before 4.0, which does not always give the leader's address where it never had the
// partition (seen in 3.9).
func (s stage) probes(old bool) []probe {
	return []probe{
		{kmsg.Metadata, 0, 13, s.metadata, false},
		{kmsg.FindCoordinator, 0, 6, s.findCoordinator, false},
		{kmsg.DescribeCluster, 0, 2, s.describeCluster, false},
		{kmsg.Produce, 10, 13, s.produce, old},
		{kmsg.Fetch, 16, 18, s.fetch, old},
		{kmsg.ShareFetch, 1, 2, s.shareFetch, false},
		// A broker that never shared the partition answers without the leader's address (seen in 4.3).
		{kmsg.ShareAcknowledge, 1, 2, s.shareAcknowledge, true},
		// Controllers' listeners, which are not for clients.
		{kmsg.DescribeQuorum, 2, 2, s.describeQuorum, true},
	}
}

func (s stage) metadata(ctx context.Context, broker *kgo.Broker) (seen addresses, err error) {
	request := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = &s.topic
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(ctx, broker)
	if err != nil {
		return nil, err
	}
	for _, node := range response.Brokers {
		seen.add(node.Host, node.Port)
	}
	return seen, nil
}

func (s stage) findCoordinator(ctx context.Context, broker *kgo.Broker) (seen addresses, err error) {
	request := kmsg.NewPtrFindCoordinatorRequest()
	request.CoordinatorKey = s.topic
	request.CoordinatorKeys = []string{s.topic}
	response, err := request.RequestWith(ctx, broker)
	if err != nil {
		return nil, err
	}
	seen.add(response.Host, response.Port)
	for _, coordinator := range response.Coordinators {
		seen.add(coordinator.Host, coordinator.Port)
	}
	return seen, nil
}

func (s stage) describeCluster(ctx context.Context, broker *kgo.Broker) (seen addresses, err error) {
	response, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(ctx, broker)
	if err != nil {
		return nil, err
	}
	for _, node := range response.Brokers {
		seen.add(node.Host, node.Port)
	}
	return seen, nil
}

func (s stage) describeQuorum(ctx context.Context, broker *kgo.Broker) (seen addresses, err error) {
	request := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic = "__cluster_metadata"
	topic.Partitions = append(topic.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(ctx, broker)
	if err != nil {
		return nil, err
	}
	for _, node := range response.Nodes {
		for _, listener := range node.Listeners {
			seen.add(listener.Host, int32(listener.Port))
		}
	}
	return seen, nil
}

func (s stage) produce(ctx context.Context, broker *kgo.Broker) (seen addresses, err error) {
	request := kmsg.NewPtrProduceRequest()
	request.Acks, request.TimeoutMillis = -1, 5000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.TopicID = s.topic, s.id
	partition := kmsg.NewProduceRequestTopicPartition()
	partition.Records = batch()
	topic.Partitions = append(topic.Partitions, partition)
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(ctx, broker)
	if err != nil {
		return nil, err
	}
	for _, node := range response.Brokers {
		seen.add(node.Host, node.Port)
	}
	return seen, nil
}

// batch is a record batch of one record, complete enough for the broker to look who leads the partition.
func batch() []byte {
	record := kmsg.NewRecord()
	record.Value = []byte("probe")
	body := record.AppendTo(nil)
	// The length is a varint of one byte for a record this small, and counts all but itself.
	record.Length = int32(len(body) - 1)
	const before, crcEnd = 12, 21
	made := kmsg.NewRecordBatch()
	made.Magic = 2
	made.ProducerID, made.ProducerEpoch, made.FirstSequence = -1, -1, -1
	made.FirstTimestamp = time.Now().UnixMilli()
	made.MaxTimestamp = made.FirstTimestamp
	made.NumRecords = 1
	made.Records = record.AppendTo(nil)
	made.Length = int32(len(made.AppendTo(nil)) - before)
	bytes := made.AppendTo(nil)
	binary.BigEndian.PutUint32(bytes[crcEnd-4:], crc32.Checksum(bytes[crcEnd:], crc32.MakeTable(crc32.Castagnoli)))
	return bytes
}

func (s stage) fetch(ctx context.Context, broker *kgo.Broker) (seen addresses, err error) {
	request := kmsg.NewPtrFetchRequest()
	request.ReplicaID, request.SessionEpoch = -1, -1
	request.MaxWaitMillis, request.MinBytes, request.MaxBytes = 100, 1, 1<<20
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID = s.topic, s.id
	partition := kmsg.NewFetchRequestTopicPartition()
	partition.CurrentLeaderEpoch, partition.PartitionMaxBytes = -1, 1<<20
	topic.Partitions = append(topic.Partitions, partition)
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(ctx, broker)
	if err != nil {
		return nil, err
	}
	for _, node := range response.Brokers {
		seen.add(node.Host, node.Port)
	}
	return seen, nil
}

// shareFetch opens a share session, asks for the partition, and closes the session.
func (s stage) shareFetch(ctx context.Context, broker *kgo.Broker) (seen addresses, err error) {
	response, err := s.openShareSession(ctx, broker)
	if err != nil {
		return nil, err
	}
	for _, node := range response.NodeEndpoints {
		seen.add(node.Host, node.Port)
	}
	_, err = s.acknowledge(ctx, broker, -1)
	return seen, err
}

// shareAcknowledge acknowledges, in a session of its own, a record that the broker never gave out.
func (s stage) shareAcknowledge(ctx context.Context, broker *kgo.Broker) (seen addresses, err error) {
	if _, err := s.openShareSession(ctx, broker); err != nil {
		return nil, err
	}
	response, err := s.acknowledge(ctx, broker, 1)
	if err != nil {
		return nil, err
	}
	for _, node := range response.NodeEndpoints {
		seen.add(node.Host, node.Port)
	}
	_, err = s.acknowledge(ctx, broker, -1)
	return seen, err
}

func (s stage) openShareSession(ctx context.Context, broker *kgo.Broker) (*kmsg.ShareFetchResponse, error) {
	group := s.topic
	request := kmsg.NewPtrShareFetchRequest()
	request.GroupID, request.MemberID = &group, &s.member
	request.MaxWaitMillis, request.MinBytes, request.MaxBytes, request.MaxRecords, request.BatchSize = 100, 1, 1<<20, 10, 10
	topic := kmsg.NewShareFetchRequestTopic()
	topic.TopicID = s.id
	topic.Partitions = append(topic.Partitions, kmsg.NewShareFetchRequestTopicPartition())
	request.Topics = append(request.Topics, topic)
	return request.RequestWith(ctx, broker)
}

// acknowledge with epoch -1 ends the session.
func (s stage) acknowledge(ctx context.Context, broker *kgo.Broker, epoch int32) (*kmsg.ShareAcknowledgeResponse, error) {
	group := s.topic
	request := kmsg.NewPtrShareAcknowledgeRequest()
	request.GroupID, request.MemberID, request.ShareSessionEpoch = &group, &s.member, epoch
	if epoch > 0 {
		topic := kmsg.NewShareAcknowledgeRequestTopic()
		topic.TopicID = s.id
		partition := kmsg.NewShareAcknowledgeRequestTopicPartition()
		acknowledged := kmsg.NewShareAcknowledgeRequestTopicPartitionAcknowledgementBatch()
		acknowledged.AcknowledgeTypes = []int8{1}
		partition.AcknowledgementBatches = append(partition.AcknowledgementBatches, acknowledged)
		topic.Partitions = append(topic.Partitions, partition)
		request.Topics = append(request.Topics, topic)
	}
	return request.RequestWith(ctx, broker)
}
