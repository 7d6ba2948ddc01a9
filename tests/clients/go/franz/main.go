// Command franz speaks the client programs' contract with franz-go.
package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sort"
	"strings"
	"time"

	"gatehouse.example/clients/contract"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// patience bounds everything that is not bounded by timeout=.
const patience = 2 * time.Minute

type client struct{ contract.Args }

func main() {
	contract.Run("franz-go "+version(), func(args contract.Args) map[string]contract.Function {
		c := client{args}
		topic := args.Prefix()
		return map[string]contract.Function{
			"describe":  c.describe,
			"create":    func(ctx context.Context, _ *contract.Result) error { return c.create(ctx, topic, contract.Replicas) },
			"produce":   c.produce,
			"produce0":  c.produce0,
			"stream":    c.stream,
			"consume":   c.consume(kgo.ConsumerGroup(topic + "-g")),
			"transact":  c.transact,
			"admin":     c.admin,
			"share":     c.share,
			"addresses": c.addresses,

			"consume848": c.consume848,
		}
	})
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "github.com/twmb/franz-go" {
			return strings.TrimPrefix(module.Version, "v")
		}
	}
	return "unknown"
}

func (c client) connect(options ...kgo.Opt) (*kgo.Client, error) {
	secure, err := c.TLS()
	if err != nil {
		return nil, err
	}
	if secure != nil {
		options = append(options, kgo.DialTLSConfig(secure))
	}
	return kgo.NewClient(append(options, kgo.SeedBrokers(strings.Split(c.Args["bootstrap"], ",")...))...)
}

func (c client) connectAdmin() (*kadm.Client, error) {
	connection, err := c.connect()
	if err != nil {
		return nil, err
	}
	return kadm.NewClient(connection), nil
}

func (c client) describe(ctx context.Context, result *contract.Result) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	admin, err := c.connectAdmin()
	if err != nil {
		return err
	}
	defer admin.Close()
	brokers, err := admin.ListBrokers(ctx)
	if err != nil {
		return err
	}
	sort.Slice(brokers, func(i, j int) bool { return brokers[i].NodeID < brokers[j].NodeID })
	addresses := make([]string, len(brokers))
	for i, broker := range brokers {
		addresses[i] = fmt.Sprintf("%d=%s:%d", broker.NodeID, broker.Host, broker.Port)
	}
	result.Detail = strings.Join(addresses, ",")
	if len(brokers) != 3 {
		return errors.New("brokers: " + result.Detail)
	}
	return nil
}

func (c client) create(ctx context.Context, topic string, replicas int16) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	admin, err := c.connectAdmin()
	if err != nil {
		return err
	}
	defer admin.Close()
	_, err = admin.CreateTopic(ctx, contract.Partitions, replicas, nil, topic)
	return err
}

func (c client) createUnlessThere(ctx context.Context, topic string, replicas int16) error {
	if err := c.create(ctx, topic, replicas); !errors.Is(err, kerr.TopicAlreadyExists) {
		return err
	}
	return nil
}

// send hands one record to the producer and has its outcome counted.
func send(producer *kgo.Client, topic string, sequence int64, acknowledged *contract.Acknowledged) {
	record := &kgo.Record{Topic: topic, Key: []byte(contract.Key(sequence)), Value: []byte(contract.Value(topic, sequence))}
	producer.Produce(context.Background(), record, func(_ *kgo.Record, err error) { acknowledged.Settle(sequence, err) })
}

func (c client) produceTo(ctx context.Context, topic, acked string, result *contract.Result, options ...kgo.Opt) error {
	return c.produceWith(ctx, acked, result, func(producer *kgo.Client, acknowledged *contract.Acknowledged) (int64, error) {
		for sequence := range c.Count() {
			send(producer, topic, sequence, acknowledged)
		}
		return c.Count(), nil
	}, options...)
}

// produceWith gives a producer to a function that returns how many records it sent, and waits for them all.
func (c client) produceWith(ctx context.Context, acked string, result *contract.Result,
	do func(*kgo.Client, *contract.Acknowledged) (int64, error), options ...kgo.Opt) error {
	acknowledged, err := contract.NewAcknowledged(acked)
	if err != nil {
		return err
	}
	producer, err := c.connect(append(options, kgo.ProducerBatchCompression(kgo.NoCompression()))...)
	if err != nil {
		return err
	}
	defer producer.Close()
	count, err := do(producer, acknowledged)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := producer.Flush(ctx); err != nil {
		return err
	}
	return acknowledged.Judge(result, count)
}

func (c client) produce(ctx context.Context, result *contract.Result) error {
	return c.produceTo(ctx, c.Prefix(), c.Args["acked"], result)
}

func (c client) produce0(ctx context.Context, result *contract.Result) error {
	topic := c.Prefix() + "-a0"
	if err := c.createUnlessThere(ctx, topic, contract.Replicas); err != nil {
		return err
	}
	return c.produceTo(ctx, topic, "", result, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
}

func (c client) stream(ctx context.Context, result *contract.Result) error {
	return c.produceWith(ctx, c.Args["acked"], result, func(producer *kgo.Client, acknowledged *contract.Acknowledged) (int64, error) {
		return contract.Paced(c.Args, func(sequence int64) error {
			send(producer, c.Prefix(), sequence, acknowledged)
			return nil
		})
	})
}

func (c client) transact(ctx context.Context, result *contract.Result) error {
	topic := c.Prefix() + "-tx"
	if err := c.createUnlessThere(ctx, topic, contract.Replicas); err != nil {
		return err
	}
	err := c.produceWith(ctx, "", result, func(producer *kgo.Client, acknowledged *contract.Acknowledged) (int64, error) {
		return c.Count(), contract.Batches(c.Count(), func(from, to int64, commit bool) error {
			if err := producer.BeginTransaction(); err != nil {
				return err
			}
			for sequence := from; sequence < to; sequence++ {
				send(producer, topic, sequence, acknowledged)
			}
			if err := producer.Flush(ctx); err != nil {
				return err
			}
			return producer.EndTransaction(ctx, kgo.TransactionEndTry(commit))
		})
	}, kgo.TransactionalID(topic))
	if err != nil {
		return err
	}
	return c.readCommitted(ctx, topic, result)
}

func (c client) admin(ctx context.Context, result *contract.Result) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	admin, err := c.connectAdmin()
	if err != nil {
		return err
	}
	defer admin.Close()
	topics, err := admin.ListTopics(ctx, c.Prefix())
	if err != nil {
		return err
	}
	if err := topics.Error(); err != nil {
		return err
	}
	groups, err := admin.DescribeGroups(ctx, c.Prefix()+"-g")
	if err == nil {
		err = groups.Error()
	}
	if err != nil {
		return err
	}
	offsets, err := admin.ListEndOffsets(ctx, c.Prefix())
	if err != nil {
		return err
	}
	brokers, err := admin.ListBrokers(ctx)
	if err != nil {
		return err
	}
	configs, err := admin.DescribeBrokerConfigs(ctx, brokers[0].NodeID)
	if err != nil {
		return err
	}
	ends := int64(0)
	offsets.Each(func(offset kadm.ListedOffset) { ends += offset.Offset })
	result.Detail = fmt.Sprintf("partitions=%d,group=%s,offsets=%d,configs=%d",
		len(topics[c.Prefix()].Partitions), groups[c.Prefix()+"-g"].State, ends, len(configs[0].Configs))
	return nil
}

// earliest makes a share group start with the first record; kadm has no call for the configuration of groups.
func (c client) earliest(ctx context.Context, group string) error {
	connection, err := c.connect()
	if err != nil {
		return err
	}
	defer connection.Close()
	const resourceGroup = 32
	value := "earliest"
	request := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = resourceGroup, group
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = "share.auto.offset.reset", &value
	resource.Configs = append(resource.Configs, config)
	request.Resources = append(request.Resources, resource)
	response, err := request.RequestWith(ctx, connection)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(response.Resources[0].ErrorCode)
}
