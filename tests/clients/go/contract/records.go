package contract

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
)

// Acknowledged counts what was acknowledged and what failed; safe for use by several goroutines.
type Acknowledged struct {
	mutex   sync.Mutex
	count   int64
	failure error
	file    *os.File
}

// NewAcknowledged appends each acknowledged sequence number to a file, where one is named.
func NewAcknowledged(name string) (*Acknowledged, error) {
	file, err := appendTo(name)
	return &Acknowledged{file: file}, err
}

// Settle takes the outcome of one record.
func (a *Acknowledged) Settle(sequence int64, err error) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if err == nil && a.file != nil {
		_, err = fmt.Fprintln(a.file, sequence)
	}
	if err != nil {
		a.failure = err
		return
	}
	a.count++
}

// Judge says whether all were acknowledged.
func (a *Acknowledged) Judge(result *Result, expected int64) error {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	result.Sent = a.count
	if a.file != nil {
		_ = a.file.Close()
	}
	if a.failure != nil {
		return fmt.Errorf("acknowledged %d of %d: %w", a.count, expected, a.failure)
	}
	if a.count != expected {
		return fmt.Errorf("acknowledged %d of %d", a.count, expected)
	}
	return nil
}

// Check is what must be true of the records read: values of our own, none twice, and order within partition and key.
type Check struct {
	topic     string
	ordered   bool
	file      *os.File
	values    map[string]bool
	offsets   map[int32]int64
	sequences map[string]int64
	fault     error
}

// NewCheck appends "partition offset value" to a file, where one is named. Share groups may deliver out of order.
func NewCheck(topic string, ordered bool, name string) (*Check, error) {
	file, err := appendTo(name)
	check := &Check{topic: topic, ordered: ordered, file: file,
		values: map[string]bool{}, offsets: map[int32]int64{}, sequences: map[string]int64{}}
	return check, err
}

// See takes one record.
func (c *Check) See(partition int32, offset int64, key, value string) {
	if c.file != nil {
		if _, err := fmt.Fprintln(c.file, partition, offset, value); err != nil {
			c.fail("%v", err)
		}
	}
	sequence, err := strconv.ParseInt(strings.TrimPrefix(value, c.topic+":"), 10, 64)
	if err != nil {
		c.fail("foreign value %s", value)
		return
	}
	if c.values[value] {
		c.fail("duplicate %s", value)
	}
	c.values[value] = true
	if !c.ordered {
		return
	}
	if before, known := c.offsets[partition]; known && before >= offset {
		c.fail("offset went back at %d/%d", partition, offset)
	}
	if before, known := c.sequences[key]; known && before >= sequence {
		c.fail("key %s went back at %d", key, sequence)
	}
	c.offsets[partition] = offset
	c.sequences[key] = sequence
}

// Distinct is the number of different values seen.
func (c *Check) Distinct() int64 { return int64(len(c.values)) }

// Judge says whether exactly the expected number of records came, without a fault.
func (c *Check) Judge(result *Result, expected int64) error {
	result.Read = c.Distinct()
	if c.file != nil {
		_ = c.file.Close()
	}
	if c.fault != nil {
		return c.fault
	}
	if c.Distinct() != expected {
		return fmt.Errorf("read %d of %d", c.Distinct(), expected)
	}
	return nil
}

// JudgeCommitted is Judge for count records sent in Batches.
func (c *Check) JudgeCommitted(result *Result, count int64) error {
	for sequence := range count {
		if !committed(sequence) && c.values[Value(c.topic, sequence)] {
			c.fail("read aborted %d", sequence)
		}
	}
	return c.Judge(result, Committed(count))
}

func (c *Check) fail(format string, arguments ...any) {
	if c.fault == nil {
		c.fault = fmt.Errorf(format, arguments...)
	}
}

func appendTo(name string) (*os.File, error) {
	if name == "" {
		return nil, nil
	}
	return os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
}
