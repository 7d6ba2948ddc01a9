package main

import (
	"context"
	"fmt"
	"os"
	"sync"

	"gatehouse.example/clients/contract"
	"github.com/twmb/franz-go/pkg/kgo"
)

// poll gives each record to see until done, and tells failures that the client goes on from on stderr.
func poll(ctx context.Context, consumer *kgo.Client, done func() bool, see func(*kgo.Record)) {
	for !done() {
		fetches := consumer.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		fetches.EachError(func(topic string, partition int32, err error) {
			fmt.Fprintf(os.Stderr, "%s/%d: %v\n", topic, partition, err)
		})
		fetches.EachRecord(see)
	}
}

// consume reads the topic in a group, of the kind that the options make.
func (c client) consume(options ...kgo.Opt) contract.Function {
	return func(ctx context.Context, result *contract.Result) error {
		check, err := contract.NewCheck(c.Prefix(), true, c.Args["out"])
		if err != nil {
			return err
		}
		consumer, err := c.connect(append(options, kgo.ConsumeTopics(c.Prefix()),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())...)
		if err != nil {
			return err
		}
		defer consumer.Close()
		bounded, cancel := context.WithTimeout(ctx, c.Timeout())
		defer cancel()
		poll(bounded, consumer, func() bool { return check.Distinct() >= c.Count() }, func(record *kgo.Record) {
			check.See(record.Partition, record.Offset, string(record.Key), string(record.Value))
		})
		if err := consumer.CommitUncommittedOffsets(ctx); err != nil {
			return err
		}
		return check.Judge(result, c.Count())
	}
}

// consume848 also asks for the kind of the group, because the client falls back to the classic protocol without a word
// where it cannot have the other (and with any balancer but range and sticky).
func (c client) consume848(ctx context.Context, result *contract.Result) error {
	group := c.Prefix() + "-g848"
	read := c.consume(kgo.ConsumerGroup(group), kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer()))
	if err := read(ctx, result); err != nil {
		return err
	}
	admin, err := c.connectAdmin()
	if err != nil {
		return err
	}
	defer admin.Close()
	groups, err := admin.DescribeConsumerGroups(ctx, group)
	if err == nil {
		err = groups.Error()
	}
	if err != nil {
		return fmt.Errorf("not a group of the consumer protocol: %w", err)
	}
	return nil
}

// readCommitted reads to the last stable offset of every partition. Control records are kept because the last record
// of a partition is one, so that reaching the end can be seen.
func (c client) readCommitted(ctx context.Context, topic string, result *contract.Result) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout())
	defer cancel()
	admin, err := c.connectAdmin()
	if err != nil {
		return err
	}
	defer admin.Close()
	ends, err := admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return err
	}
	missing := map[int32]int64{}
	for partition, end := range ends[topic] {
		if end.Offset > 0 {
			missing[partition] = end.Offset
		}
	}
	check, err := contract.NewCheck(topic, true, "")
	if err != nil {
		return err
	}
	consumer, err := c.connect(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		return err
	}
	defer consumer.Close()
	poll(ctx, consumer, func() bool { return len(missing) == 0 }, func(record *kgo.Record) {
		if record.Offset+1 >= missing[record.Partition] {
			delete(missing, record.Partition)
		}
		if !record.Attrs.IsControl() {
			check.See(record.Partition, record.Offset, string(record.Key), string(record.Value))
		}
	})
	return check.JudgeCommitted(result, c.Count())
}

// share reads the topic in a share group and fails where an acknowledgement was refused.
func (c client) share(ctx context.Context, result *contract.Result) error {
	group := c.Prefix() + "-s"
	if err := c.earliest(ctx, group); err != nil {
		return err
	}
	check, err := contract.NewCheck(c.Prefix(), false, c.Args["out"])
	if err != nil {
		return err
	}
	var mutex sync.Mutex
	var refused error
	consumer, err := c.connect(kgo.ShareGroup(group), kgo.ConsumeTopics(c.Prefix()),
		kgo.ShareAckCallback(func(_ *kgo.Client, results kgo.ShareAckResults) {
			if err := results.Error(); err != nil {
				mutex.Lock()
				defer mutex.Unlock()
				refused = err
			}
		}))
	if err != nil {
		return err
	}
	defer consumer.Close()
	bounded, cancel := context.WithTimeout(ctx, c.Timeout())
	defer cancel()
	poll(bounded, consumer, func() bool { return check.Distinct() >= c.Count() }, func(record *kgo.Record) {
		check.See(record.Partition, record.Offset, string(record.Key), string(record.Value))
		record.Ack(kgo.AckAccept)
	})
	if err := consumer.FlushAcks(bounded); err != nil {
		return err
	}
	mutex.Lock()
	defer mutex.Unlock()
	if refused != nil {
		return refused
	}
	return check.Judge(result, c.Count())
}
