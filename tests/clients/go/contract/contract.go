// Package contract is the part of the client programs' contract (../README.md) that does not depend on a Kafka library.
package contract

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Partitions and Replicas of every topic that a client creates.
const (
	Partitions = 3
	Replicas   = 3
)

// Args holds the key=value arguments.
type Args map[string]string

// Prefix is the name of the topic, and the beginning of every other name.
func (a Args) Prefix() string { return a["prefix"] }

// Number is the value of a key, or otherwise where the key was not given.
func (a Args) Number(key string, otherwise int64) (int64, error) {
	text, given := a[key]
	if !given {
		return otherwise, nil
	}
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not a number: %w", key, err)
	}
	return number, nil
}

// Count is how many records to send or to read.
func (a Args) Count() int64 {
	count, err := a.Number("count", 100)
	if err != nil {
		usage(err.Error())
	}
	return count
}

// Timeout bounds the reading functions.
func (a Args) Timeout() time.Duration {
	seconds, err := a.Number("timeout", 30)
	if err != nil {
		usage(err.Error())
	}
	return time.Duration(seconds) * time.Second
}

// Result is what one function did.
type Result struct {
	Function string `json:"function"`
	OK       bool   `json:"ok"`
	Sent     int64  `json:"sent"`
	Read     int64  `json:"read"`
	Millis   int64  `json:"ms"`
	Detail   string `json:"detail"`
}

// Function does its work, fills in what it sent and read, and returns why it failed.
type Function func(context.Context, *Result) error

// Run runs the functions that the command line names, in order, prints a line for each, and exits.
func Run(version string, table func(Args) map[string]Function) {
	args := Args{}
	for _, word := range os.Args[1:] {
		key, value, found := strings.Cut(word, "=")
		if !found || key == "" {
			usage("not key=value: " + word)
		}
		args[key] = value
	}
	functions := table(args)
	functions["version"] = func(_ context.Context, result *Result) error {
		result.Detail = version
		return nil
	}
	functions["supported"] = func(_ context.Context, result *Result) error {
		names := make([]string, 0, len(functions))
		for name := range functions {
			names = append(names, name)
		}
		slices.Sort(names)
		result.Detail = strings.Join(names, ",")
		return nil
	}
	if args["functions"] == "" {
		usage("missing functions=")
	}
	wanted := strings.Split(args["functions"], ",")
	talking := slices.ContainsFunc(wanted, func(name string) bool { return name != "version" && name != "supported" })
	for _, key := range []string{"bootstrap", "prefix"} {
		if talking && args[key] == "" {
			usage("missing " + key + "=")
		}
	}
	status := 0
	for _, name := range wanted {
		if !report(name, functions[name]) {
			status = 1
		}
	}
	os.Exit(status)
}

func report(name string, function Function) bool {
	result := Result{Function: name, OK: true}
	start := time.Now()
	err := errors.New("unsupported: " + name)
	if function != nil {
		err = function(context.Background(), &result)
	}
	if err != nil {
		result.OK = false
		result.Detail = strings.TrimSuffix(err.Error()+"; "+result.Detail, "; ")
	}
	result.Millis = time.Since(start).Milliseconds()
	line := json.NewEncoder(os.Stdout)
	line.SetEscapeHTML(false)
	if line.Encode(result) != nil {
		return false
	}
	return result.OK
}

func usage(reason string) {
	fmt.Fprintln(os.Stderr, reason)
	os.Exit(2)
}

// Key and Value of the record with a sequence number.
func Key(sequence int64) string { return fmt.Sprintf("k%d", sequence%16) }

// Value of the record with a sequence number in a topic.
func Value(topic string, sequence int64) string { return fmt.Sprintf("%s:%d", topic, sequence) }

// transaction is how many records go into one.
const transaction = 50

// Batches calls do with the first and the last+1 sequence number of each transaction, and whether it is to be committed.
func Batches(count int64, do func(from, to int64, commit bool) error) error {
	for from := int64(0); from < count; from += transaction {
		if err := do(from, min(from+transaction, count), committed(from)); err != nil {
			return err
		}
	}
	return nil
}

// Committed is how many of count records the committed Batches hold.
func Committed(count int64) int64 {
	number := int64(0)
	for sequence := range count {
		if committed(sequence) {
			number++
		}
	}
	return number
}

func committed(sequence int64) bool { return sequence/transaction%2 == 0 }

// stopped says whether the file of the argument stop exists.
func (a Args) stopped() bool {
	name, given := a["stop"]
	if !given {
		return false
	}
	_, err := os.Stat(name)
	return err == nil
}

// Paced calls send with 0, 1, 2 … at the argument rate, for the argument seconds or until the file of the argument stop exists,
// and returns how many there were.
func Paced(args Args, send func(sequence int64) error) (int64, error) {
	rate, err := args.Number("rate", 0)
	if err != nil || rate <= 0 {
		return 0, errors.New("missing rate=")
	}
	seconds, err := args.Number("seconds", 0)
	if err != nil || seconds <= 0 {
		return 0, errors.New("missing seconds=")
	}
	sequence := int64(0)
	start := time.Now()
	for {
		spent := time.Since(start)
		if spent >= time.Duration(seconds)*time.Second || args.stopped() {
			return sequence, nil
		}
		for ; sequence < int64(spent.Seconds()*float64(rate)); sequence++ {
			if err := send(sequence); err != nil {
				return sequence, err
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}
