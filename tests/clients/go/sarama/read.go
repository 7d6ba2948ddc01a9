package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"gatehouse.example/clients/contract"
	"github.com/IBM/sarama"
)

// member reads its claims, each in a goroutine of its own, until enough was read.
type member struct {
	mutex  sync.Mutex
	check  *contract.Check
	count  int64
	enough context.CancelFunc
}

// Setup has nothing to do.
func (m *member) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup commits what was marked.
func (m *member) Cleanup(session sarama.ConsumerGroupSession) error {
	session.Commit()
	return nil
}

// ConsumeClaim reads one partition until the session ends.
func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			m.see(message)
			session.MarkMessage(message, "")
		case <-session.Context().Done():
			return nil
		}
	}
}

func (m *member) see(message *sarama.ConsumerMessage) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.check.See(message.Partition, message.Offset, string(message.Key), string(message.Value))
	if m.check.Distinct() >= m.count {
		m.enough()
	}
}

func (c client) consume(ctx context.Context, result *contract.Result) error {
	check, err := contract.NewCheck(c.Prefix(), true, c.Args["out"])
	if err != nil {
		return err
	}
	config, err := c.config()
	if err != nil {
		return err
	}
	group, err := sarama.NewConsumerGroup(c.bootstrap(), c.Prefix()+"-g", config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout())
	defer cancel()
	reader := &member{check: check, count: c.Count(), enough: cancel}
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{c.Prefix()}, reader); err != nil && !errors.Is(err, context.Canceled) {
			_ = group.Close()
			return err
		}
	}
	if err := group.Close(); err != nil {
		return err
	}
	return check.Judge(result, c.Count())
}

// quiet is how long to listen for a record too many; Sarama does not tell that it passed the control records at the end.
const quiet = 300 * time.Millisecond

func (c client) readCommitted(topic string, result *contract.Result) error {
	check, err := contract.NewCheck(topic, true, "")
	if err != nil {
		return err
	}
	config, err := c.config()
	if err != nil {
		return err
	}
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	consumer, err := sarama.NewConsumer(c.bootstrap(), config)
	if err != nil {
		return err
	}
	defer consumer.Close()
	messages := make(chan *sarama.ConsumerMessage)
	for partition := range int32(contract.Partitions) {
		source, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
		if err != nil {
			return err
		}
		defer source.AsyncClose()
		go func() {
			for message := range source.Messages() {
				messages <- message
			}
		}()
	}
	expected := contract.Committed(c.Count())
	wait := time.After(c.Timeout())
	for listening := true; listening; {
		select {
		case message := <-messages:
			check.See(message.Partition, message.Offset, string(message.Key), string(message.Value))
			if check.Distinct() == expected {
				wait = time.After(quiet)
			}
		case <-wait:
			listening = false
		}
	}
	return check.JudgeCommitted(result, c.Count())
}
