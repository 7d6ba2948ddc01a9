// Command sarama speaks the client programs' contract with Sarama, as the Kafka version that version= says (2.8.0 without).
package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sort"
	"strings"
	"sync"
	"time"

	"gatehouse.example/clients/contract"
	"github.com/IBM/sarama"
)

type client struct{ contract.Args }

func main() {
	contract.Run("sarama "+version(), func(args contract.Args) map[string]contract.Function {
		c := client{args}
		return map[string]contract.Function{
			"describe": c.describe,
			"create":   func(context.Context, *contract.Result) error { return c.create(args.Prefix()) },
			"produce":  c.produce,
			"produce0": c.produce0,
			"stream":   c.stream,
			"consume":  c.consume,
			"transact": c.transact,
			"admin":    c.admin,
		}
	})
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "github.com/IBM/sarama" {
			return strings.TrimPrefix(module.Version, "v")
		}
	}
	return "unknown"
}

func (c client) bootstrap() []string { return strings.Split(c.Args["bootstrap"], ",") }

func (c client) config() (*sarama.Config, error) {
	config := sarama.NewConfig()
	if wanted := c.Args["version"]; wanted != "" {
		parsed, err := sarama.ParseKafkaVersion(wanted)
		if err != nil {
			return nil, err
		}
		config.Version = parsed
	} else {
		config.Version = sarama.V2_8_0_0
	}
	config.Producer.Return.Successes = true
	config.Producer.Retry.Max = 200
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	secure, err := c.TLS()
	if err != nil {
		return nil, err
	}
	config.Net.TLS.Enable, config.Net.TLS.Config = secure != nil, secure
	switch c.Args["sasl"] {
	case "":
		return config, nil
	case "plain-v0":
		// Sarama refuses to ask for versions first: a broker takes this handshake without.
		config.ApiVersionsRequest = false
		config.Net.SASL.Version = sarama.SASLHandshakeV0
	case "plain":
		config.Net.SASL.Version = sarama.SASLHandshakeV1
	default:
		return nil, errors.New("sasl= is plain or plain-v0")
	}
	config.Net.SASL.Enable = true
	config.Net.SASL.Mechanism = sarama.SASLTypePlaintext
	config.Net.SASL.User, config.Net.SASL.Password = c.Args["user"], c.Args["password"]
	return config, nil
}

func (c client) connectAdmin() (sarama.ClusterAdmin, error) {
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	return sarama.NewClusterAdmin(c.bootstrap(), config)
}

func (c client) describe(_ context.Context, result *contract.Result) error {
	admin, err := c.connectAdmin()
	if err != nil {
		return err
	}
	defer admin.Close()
	brokers, _, err := admin.DescribeCluster()
	if err != nil {
		return err
	}
	sort.Slice(brokers, func(i, j int) bool { return brokers[i].ID() < brokers[j].ID() })
	addresses := make([]string, len(brokers))
	for i, broker := range brokers {
		addresses[i] = fmt.Sprintf("%d=%s", broker.ID(), broker.Addr())
	}
	result.Detail = strings.Join(addresses, ",")
	if len(brokers) != 3 {
		return errors.New("not three brokers")
	}
	return nil
}

func (c client) create(topic string) error {
	admin, err := c.connectAdmin()
	if err != nil {
		return err
	}
	defer admin.Close()
	return admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: contract.Partitions, ReplicationFactor: contract.Replicas}, false)
}

func (c client) createUnlessThere(topic string) error {
	if err := c.create(topic); !errors.Is(err, sarama.ErrTopicAlreadyExists) {
		return err
	}
	return nil
}

func (c client) admin(_ context.Context, result *contract.Result) error {
	admin, err := c.connectAdmin()
	if err != nil {
		return err
	}
	defer admin.Close()
	topics, err := admin.DescribeTopics([]string{c.Prefix()})
	if err != nil {
		return err
	}
	if topics[0].Err != sarama.ErrNoError {
		return topics[0].Err
	}
	groups, err := admin.DescribeConsumerGroups([]string{c.Prefix() + "-g"})
	if err != nil {
		return err
	}
	if groups[0].Err != sarama.ErrNoError {
		return groups[0].Err
	}
	committed, err := admin.ListConsumerGroupOffsets(c.Prefix()+"-g", nil)
	if err != nil {
		return err
	}
	brokers, _, err := admin.DescribeCluster()
	if err != nil {
		return err
	}
	configs, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.BrokerResource, Name: fmt.Sprint(brokers[0].ID())})
	if err != nil {
		return err
	}
	ends, err := c.ends(c.Prefix())
	if err != nil {
		return err
	}
	result.Detail = fmt.Sprintf("partitions=%d,group=%s,committed=%d,offsets=%d,configs=%d",
		len(topics[0].Partitions), groups[0].State, len(committed.Blocks[c.Prefix()]), ends, len(configs))
	return nil
}

// ends is the sum of a topic's end offsets.
func (c client) ends(topic string) (int64, error) {
	config, err := c.config()
	if err != nil {
		return 0, err
	}
	connection, err := sarama.NewClient(c.bootstrap(), config)
	if err != nil {
		return 0, err
	}
	defer connection.Close()
	sum := int64(0)
	for partition := range int32(contract.Partitions) {
		end, err := connection.GetOffset(topic, partition, sarama.OffsetNewest)
		if err != nil {
			return 0, err
		}
		sum += end
	}
	return sum, nil
}

// sender is an asynchronous producer whose outcomes are counted as they come.
type sender struct {
	producer     sarama.AsyncProducer
	acknowledged *contract.Acknowledged
	topic        string
	pending      sync.WaitGroup
}

func (c client) newSender(topic, acked string, adjust func(*sarama.Config)) (*sender, error) {
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	// Long enough for the election of a leader; with less, Sarama gives the records up.
	config.Metadata.Retry.Max, config.Metadata.Retry.Backoff = 120, 250*time.Millisecond
	adjust(config)
	acknowledged, err := contract.NewAcknowledged(acked)
	if err != nil {
		return nil, err
	}
	producer, err := sarama.NewAsyncProducer(c.bootstrap(), config)
	if err != nil {
		return nil, err
	}
	s := &sender{producer: producer, acknowledged: acknowledged, topic: topic}
	go func() {
		for message := range producer.Successes() {
			s.settle(message, nil)
		}
	}()
	go func() {
		for failure := range producer.Errors() {
			s.settle(failure.Msg, failure.Err)
		}
	}()
	return s, nil
}

func (s *sender) settle(message *sarama.ProducerMessage, err error) {
	s.acknowledged.Settle(message.Metadata.(int64), err)
	s.pending.Done()
}

func (s *sender) send(sequence int64) error {
	s.pending.Add(1)
	s.producer.Input() <- &sarama.ProducerMessage{Topic: s.topic, Metadata: sequence,
		Key: sarama.StringEncoder(contract.Key(sequence)), Value: sarama.StringEncoder(contract.Value(s.topic, sequence))}
	return nil
}

// finish waits for every outcome and judges them.
func (s *sender) finish(result *contract.Result, count int64) error {
	s.pending.Wait()
	s.producer.AsyncClose()
	return s.acknowledged.Judge(result, count)
}

func idempotent(config *sarama.Config) {
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
}

func (c client) sendAll(topic, acked string, result *contract.Result, adjust func(*sarama.Config)) error {
	s, err := c.newSender(topic, acked, adjust)
	if err != nil {
		return err
	}
	for sequence := range c.Count() {
		if err := s.send(sequence); err != nil {
			return err
		}
	}
	return s.finish(result, c.Count())
}

func (c client) produce(_ context.Context, result *contract.Result) error {
	return c.sendAll(c.Prefix(), c.Args["acked"], result, idempotent)
}

func (c client) produce0(_ context.Context, result *contract.Result) error {
	topic := c.Prefix() + "-a0"
	if err := c.createUnlessThere(topic); err != nil {
		return err
	}
	return c.sendAll(topic, "", result, func(config *sarama.Config) { config.Producer.RequiredAcks = sarama.NoResponse })
}

func (c client) stream(_ context.Context, result *contract.Result) error {
	s, err := c.newSender(c.Prefix(), c.Args["acked"], idempotent)
	if err != nil {
		return err
	}
	count, err := contract.Paced(c.Args, s.send)
	if err != nil {
		return err
	}
	return s.finish(result, count)
}

func (c client) transact(_ context.Context, result *contract.Result) error {
	topic := c.Prefix() + "-tx"
	if err := c.createUnlessThere(topic); err != nil {
		return err
	}
	s, err := c.newSender(topic, "", func(config *sarama.Config) {
		idempotent(config)
		config.Producer.Transaction.ID = topic
	})
	if err != nil {
		return err
	}
	err = contract.Batches(c.Count(), func(from, to int64, commit bool) error {
		if err := s.producer.BeginTxn(); err != nil {
			return err
		}
		for sequence := from; sequence < to; sequence++ {
			if err := s.send(sequence); err != nil {
				return err
			}
		}
		s.pending.Wait()
		if commit {
			return s.producer.CommitTxn()
		}
		return s.producer.AbortTxn()
	})
	if err != nil {
		return err
	}
	if err := s.finish(result, c.Count()); err != nil {
		return err
	}
	return c.readCommitted(topic, result)
}
